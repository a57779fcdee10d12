"""What an evaluation says: errors of disparities, average precision of detections. Nothing here says how fast anything was.

The evaluating process writes these as JSON, and the parent, which holds no torch, reads them back (`fabench.codec`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["FORMATS", "CocoScores", "DetectionResult", "Evaluation", "StereoErrors", "StereoResult"]

# Formats of data sets that a task's networks are evaluated on: names of modules in fabench/data/.
FORMATS = {"detection": ("coco",), "stereo": ("sceneflow", "kitti", "middlebury")}


@dataclass(frozen=True, slots=True)
class StereoErrors:
    """Means of one kind, per pixel or per batch.

    `epe_px`: end-point error, |predicted - true| in pixels. `over_3px`: share of pixels that are more than 3 px off.
    `d1`: share of pixels that are outliers by KITTI 2015's rule, more than 3 px off and more than 5 % of the true disparity.
    """

    epe_px: float
    over_3px: float
    d1: float


@dataclass(frozen=True, slots=True)
class StereoResult:
    """Disparity errors over a set of pairs.

    `per_pixel`: every valid pixel of the set counts alike: the figure to quote. `per_batch`: the mean over batches of `batch` pairs of
    each batch's own mean, as training loops often print it; it depends on `batch`. Both are None where no pixel is valid.
    `pixels`: valid ones, which count; of the others, `unknown` have no ground truth, `beyond` a true disparity of at least
    `max_disparity`, and `unanswered` no prediction (only where the method may leave gaps). `empty`: pairs without a pixel that counts;
    they are in no mean. `non_occluded`: per pixel too, over those `non_occluded_pixels` that both cameras see, where the set's masks were
    asked for; None otherwise.
    """

    pairs: int
    pixels: int
    unknown: int
    beyond: int
    unanswered: int
    empty: tuple[str, ...]
    max_disparity: float | None
    batch: int
    per_pixel: StereoErrors | None
    per_batch: StereoErrors | None
    non_occluded: StereoErrors | None = None
    non_occluded_pixels: int | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know before quoting a number, one sentence each."""
        said = []
        if self.empty:
            shown = ", ".join(self.empty[:3]) + (f" and {len(self.empty) - 3} more" if len(self.empty) > 3 else "")
            said.append(f"{len(self.empty)} of {self.pairs} pairs have no valid pixel and count in no mean: {shown}")
        if self.unanswered:
            share = self.unanswered / (self.pixels + self.unanswered)
            said.append(f"{share:.1%} of the pixels with ground truth have no prediction; the errors are of the others")
        if self.per_pixel is not None and self.per_batch is not None and _shown(self.per_pixel) != _shown(self.per_batch):
            said.append(
                f"the mean of batches of {self.batch} is not the mean of pixels (EPE {self.per_batch.epe_px:.3f} px "
                f"instead of {self.per_pixel.epe_px:.3f} px): compare only figures of one kind"
            )
        return tuple(said)


def _shown(errors: StereoErrors) -> tuple[str, str, str]:
    return f"{errors.epe_px:.3f}", f"{errors.over_3px:.4f}", f"{errors.d1:.4f}"


@dataclass(frozen=True, slots=True)
class CocoScores:
    """COCO's twelve figures, 0 to 1, as pycocotools computes them. None where the set has no object that the figure is about.

    `ap`: mean over IoU 0.50, 0.55 .. 0.95 and over categories, at most 100 detections per image. `ar_1`, `ar_10`, `ar_100`: average
    recall at that many detections per image. Small is under 32 x 32 pixels, large over 96 x 96.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar_1: float | None
    ar_10: float | None
    ar_100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None


@dataclass(frozen=True, slots=True)
class DetectionResult:
    """Average precision over a set of images. `instances`: objects of the ground truth without crowds. `masks`: None without any predicted.

    `unknown`: detections of categories that the set does not have; they count nowhere.
    """

    images: int
    instances: int
    crowds: int
    empty_images: int
    detections: int
    unknown: int
    boxes: CocoScores
    masks: CocoScores | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know before quoting a number, one sentence each."""
        said = []
        if self.instances == 0:
            said.append("the set has no objects, so there is no average precision")
        if self.unknown:
            said.append(f"{self.unknown} of {self.detections} detections are of categories that the set does not have")
        if self.detections == 0 and self.instances:
            said.append("nothing was detected in any image")
        return tuple(said)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: what was evaluated on what, and what came out: `stereo` or `detection`, by the task.

    `weights_sha`: SHA-256 of the checkpoint's bytes. `build`: what the network was built with. `limit`: only so many of the set's first
    pairs or images were taken; None is all of them.
    """

    task: str
    format: str
    data: str
    split: str | None
    weights: str
    weights_sha: str
    build: dict[str, Any]
    device: str
    limit: int | None = None
    stereo: StereoResult | None = None
    detection: DetectionResult | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know before quoting a number, one sentence each."""
        found = (
            []
            if self.limit is None
            else [f"only the first {self.limit} of the set were taken: quote no figure of this as the set's"]
        )
        for result in (self.stereo, self.detection):
            found += [] if result is None else result.warnings
        return tuple(found)
