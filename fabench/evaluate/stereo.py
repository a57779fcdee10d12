"""Disparity errors of anything that maps two views to a disparity: a network, OpenCV's matcher, a constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fabench.accuracy import StereoResult
from fabench.data.files import Image
from fabench.data.stereo import Pairs
from fabench.metrics.stereo import DisparityScore, Floats

__all__ = ["StereoPredict", "evaluate_stereo"]

# Left views, right views (RGB [H, W, 3] of 8 bit, of one pair as large as each other) -> a disparity [H, W] in pixels for each left view.
StereoPredict: TypeAlias = Callable[[Sequence[Image], Sequence[Image]], Sequence[Floats]]


def evaluate_stereo(
    predict: StereoPredict, pairs: Pairs, *, batch: int = 1, max_disparity: float | None = 192.0, gaps: bool = False,
    limit: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> StereoResult:  # fmt: skip
    """Errors over `pairs`, or the first `limit` of them, `batch` at a time.

    Pixels count where the truth is known and below `max_disparity` (None: all known ones). `gaps`: predictions may be NaN where there is
    no answer. Where pairs say which pixels are not occluded, those are summed apart as well. `progress` is called with the number done and the total. Raises DataError for a broken pair or a prediction of no use.
    """
    score = DisparityScore(max_disparity, gaps)
    total = len(pairs) if limit is None else min(limit, len(pairs))
    for start in range(0, total, batch):
        some = [pairs[index] for index in range(start, min(start + batch, total))]
        predicted = predict([pair.left for pair in some], [pair.right for pair in some])
        score.add([pair.name for pair in some], predicted, [pair.disparity for pair in some], [pair.visible for pair in some])
        if progress is not None:
            progress(start + len(some), total)
    return score.result()
