"""Errors of disparities, summed pixel by pixel over a whole set.

EPE = mean |predicted - true|. Two outlier rates are in use and are named apart: the plain share of pixels more than 3 px off, and KITTI
2015's D1, which asks for more than 5 % of the true disparity as well. A pixel counts where its true disparity is known and below the
limit (192 for PSMNet on Scene Flow). The mean over batches of the batches' means is another number as soon as batches differ in their
valid pixels: it gives a pixel of an almost empty batch the weight of thousands. It is reported because published loops print it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabench.accuracy import StereoErrors, StereoResult
from fabench.errors import DataError

__all__ = ["DisparityScore", "Floats"]

Floats = NDArray[np.float32] | NDArray[np.float64]

_FAR_PX, _FAR_SHARE = 3.0, 0.05


@dataclass(slots=True)
class _Sums:
    """Sums over pixels: how many, their errors, and how many are outliers by either rule."""

    pixels: int = 0
    error_px: float = 0.0
    over_3px: int = 0
    d1: int = 0

    def add(self, error: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
        far = error > _FAR_PX
        self.pixels += error.size
        self.error_px += float(error.sum())
        self.over_3px += int(far.sum())
        self.d1 += int((far & (error > _FAR_SHARE * truth)).sum())

    def mean(self) -> StereoErrors:
        return StereoErrors(self.error_px / self.pixels, self.over_3px / self.pixels, self.d1 / self.pixels)


class DisparityScore:
    """Adds up batches. `gaps`: a prediction that is not a number is an answer left out, and is counted; otherwise it is a mistake."""

    def __init__(self, max_disparity: float | None = 192.0, gaps: bool = False) -> None:
        self._limit, self._gaps = max_disparity, gaps
        self._all = _Sums()
        self._visible: _Sums | None = None
        self._means: list[StereoErrors] = []
        self._pairs = self._unknown = self._beyond = self._unanswered = self._batch = 0
        self._empty: list[str] = []

    def add(
        self, names: Sequence[str], predicted: Sequence[Floats], truths: Sequence[Floats],
        visible: Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> None:  # fmt: skip
        """A batch: maps [H, W] in pixels, NaN where the truth is unknown; `visible` where pixels are not occluded, which then are summed
        apart as well. Raises DataError for a prediction of another size or not finite."""
        batch = _Sums()
        for name, prediction, truth, seen in zip(names, predicted, truths, visible or [None] * len(names), strict=True):
            if not self._add_pair(
                batch, name, np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64), seen
            ):
                self._empty.append(name)
        self._pairs += len(names)
        self._batch = max(self._batch, len(names))
        if batch.pixels:
            self._means.append(batch.mean())

    def _add_pair(
        self, batch: _Sums, name: str, prediction: NDArray[np.float64], truth: NDArray[np.float64], seen: NDArray[np.bool_] | None
    ) -> bool:
        """Whether the pair has a pixel that counts."""
        if prediction.shape != truth.shape:
            raise DataError(f"{name}: the prediction has the shape {prediction.shape}, its ground truth {truth.shape}")
        known = np.isfinite(truth)
        valid = known if self._limit is None else known & (truth < self._limit)
        self._unknown += int((~known).sum())
        self._beyond += int((known & ~valid).sum())
        answered = valid & np.isfinite(prediction)
        lacking = int(valid.sum() - answered.sum())
        if lacking and not self._gaps:
            raise DataError(f"{name}: the prediction is not finite at {lacking} of {int(valid.sum())} valid pixels")
        self._unanswered += lacking
        error, true = np.abs(prediction[answered] - truth[answered]), truth[answered]
        for sums in (batch, self._all):
            sums.add(error, true)
        if seen is not None:
            self._visible = self._visible or _Sums()
            self._visible.add(error[seen[answered]], true[seen[answered]])
        return bool(answered.any())

    def result(self) -> StereoResult:
        """What was added so far."""
        per_batch = None
        if self._means:
            per_batch = StereoErrors(*(float(np.mean([getattr(mean, name) for mean in self._means])) for name in _NAMES))
        return StereoResult(
            pairs=self._pairs, pixels=self._all.pixels, unknown=self._unknown, beyond=self._beyond, unanswered=self._unanswered,
            empty=tuple(self._empty), max_disparity=self._limit, batch=self._batch,
            per_pixel=self._all.mean() if self._all.pixels else None, per_batch=per_batch,
            non_occluded=self._visible.mean() if self._visible is not None and self._visible.pixels else None,
            non_occluded_pixels=None if self._visible is None else self._visible.pixels,
        )  # fmt: skip


_NAMES = ("epe_px", "over_3px", "d1")
