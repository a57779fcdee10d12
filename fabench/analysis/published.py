"""The paper's accuracy with attention in networks. Its own figures, from its own training on its own data: none was measured here.

Sources: "v1", arXiv 1812.01243 v1 (4 December 2018), Mask R-CNN on MS-COCO 2017 and PSMNet on Scene Flow; "blog", the first author's
post of 2 December 2019. AP in percent, box and mask; EPE in pixels. d_k = 64, one head and a ResNet-50 where nothing else is said.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DETECTION", "NOTES", "STEREO", "Detection", "Stereo", "retuning_share"]


@dataclass(frozen=True, slots=True)
class Detection:
    """AP with attention at `positions` (as `fabench.places` writes them). `family`: "linear", "quadratic", None without attention.

    `box`, `mask`: None where it ran out of memory.
    """

    positions: str
    family: str | None
    box: float | None
    mask: float | None
    source: str = "v1"


@dataclass(frozen=True, slots=True)
class Stereo:
    """End-point error in pixels of PSMNet as `what` says; None where it ran out of memory."""

    what: str
    positions: str
    family: str | None
    epe_px: float | None
    source: str = "v1"


DETECTION: tuple[Detection, ...] = (
    Detection("none", None, 39.4, 35.1),
    Detection("res3", "linear", 40.2, 36.0),
    Detection("res3", "quadratic", 40.3, 35.9),
    Detection("res4", "linear", 39.1, 34.8),
    Detection("fpn1", "linear", 39.9, 35.8),
    Detection("fpn2", "linear", 39.7, 35.7),
    Detection("fpn3", "linear", 39.7, 35.5),
    Detection("fpn4", "linear", 39.7, 35.4),
    Detection("fpn5", "linear", 39.6, 35.3),
    Detection("fpn", "linear", 40.6, 36.2),
    Detection("fpn", "quadratic", None, None, "blog"),
    Detection("all", "linear", 41.2, 36.7),
    Detection("all", "quadratic", None, None, "blog"),
)
STEREO: tuple[Stereo, ...] = (
    Stereo("PSMNet as published", "none", None, 1.09),
    Stereo("the paper's re-tuned baseline", "none", None, 0.513),
    Stereo("factorized after layer4", "layer4", "linear", 0.477),
    Stereo("non-local after layer4, batch 1, 12 GB (TITAN Xp)", "layer4", "quadratic", None),
)
NOTES: dict[str, tuple[str, ...]] = {
    "detection": (
        "d_k = 32, 64 and 128: box AP 40.4, 40.6 and 40.3 (v1).",
        "Heads: 1, 2, 4 and 8 at all seven positions, box AP 41.2, 41.0, 40.7 and 40.7 (v1); 1, 8 and 32 at res3, 40.2, 40.3 and 40.4 (blog).",
        "Normalisation at res3: none NaN, scaling 40.2 / 35.9, softmax 40.2 / 36.0 (blog).",
        "Backbones with all seven: ResNet-50 41.2 / 36.7, ResNet-101 43.1 / 37.9, ResNeXt-101 44.9 / 39.5 (v1; box 45.9 in its Table 5).",
    ),
    "stereo": (),
}  # fmt: skip


def retuning_share() -> float:
    """The share of the way from the published error to the one with attention that re-tuning alone goes."""
    published, tuned, attended = (one.epe_px for one in STEREO[:3])
    assert published is not None and tuned is not None and attended is not None
    return (published - tuned) / (published - attended)
