"""`fabench evaluate`: what a network with the user's weights is worth on a data set on the user's disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from fabench.accuracy import FORMATS, CocoScores, DetectionResult, Evaluation, StereoErrors, StereoResult
from fabench.cli._console import notes, safe
from fabench.cli._options import data_format, network_options
from fabench.codec import encode
from fabench.environment import available_bytes
from fabench.errors import ExitCode, UsageError
from fabench.sweep.evaluate import evaluated

__all__ = ["command"]

_WITH_MASKS = ("kitti", "middlebury")
_SHARE = 0.8  # of the free memory that an evaluation on a CPU may take


def command(
    task: Annotated[str, typer.Argument(help=f"{' or '.join(FORMATS)}.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the data set.")],
    weights: Annotated[Path, typer.Option("--weights", metavar="FILE", help="A checkpoint; it is loaded without running code.")],
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="sceneflow, kitti, middlebury; coco for detection.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Part of the set; without it its test part.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1.")] = "auto",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pairs or images at a time.")] = 1,
    max_disparity: Annotated[
        float | None,
        typer.Option("--max-disparity", help="Count pixels below this true disparity; without it the network's own."),
    ] = None,
    non_occluded: Annotated[
        bool, typer.Option("--non-occluded", help="Also the errors where both cameras see the point (kitti, middlebury).")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first so many.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="How the network is built, e.g. where=fpn, attention.d_k=64 or backbone=resnet101."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one line of JSON on standard output.")] = False,
) -> int:
    """Evaluate a network: COCO's average precision, or the errors of its disparities."""
    name = data_format(task, format_name, "evaluate")
    if max_disparity is not None and not 0 < max_disparity < math.inf:
        raise UsageError(f"--max-disparity is {max_disparity:g}, must be a number of pixels above 0")
    if non_occluded and name not in _WITH_MASKS:
        raise UsageError(f"{name} does not say which pixels are occluded; --non-occluded is for {' and '.join(_WITH_MASKS)}")
    free = available_bytes()
    request = {
        "task": task, "format": name, "data": str(data), "split": split, "weights": str(weights), "device": device, "batch": batch,
        "max_disparity": max_disparity, "non_occluded": non_occluded, "limit": limit, "options": network_options(settings),
        "memory_bytes": None if free is None else int(free * _SHARE),
    }  # fmt: skip
    found = evaluated(request, _tell)
    if as_json:
        typer.echo(encode(found))
    else:
        for line in _lines(found):
            typer.echo(safe(line))
    for warning in found.warnings:
        notes.print(f"[yellow]warning:[/] {safe(warning)}")
    counted = found.stereo.pixels if found.stereo is not None else found.detection.instances if found.detection is not None else 0
    return ExitCode.FINE if counted else ExitCode.NOT_MEASURED


def _tell(done: int, total: int) -> None:
    if notes.is_terminal:
        notes.print(f"{done} of {total}", end="\n" if done == total else "\r", overflow="crop", no_wrap=True)


def _lines(found: Evaluation) -> list[str]:
    if found.stereo is not None:
        return _stereo(found.stereo)
    return [] if found.detection is None else _detection(found.detection)


def _stereo(found: StereoResult) -> list[str]:
    pixels = "known" if found.max_disparity is None else f"true disparity below {found.max_disparity:g} px"
    left_out = f"{found.unknown:,} without ground truth" + (f", {found.beyond:,} beyond the limit" if found.beyond else "")
    return [
        f"{found.pairs} pairs, {found.pixels:,} pixels ({pixels}); left out: {left_out}",
        *([f"per pixel of the set   {_errors(found.per_pixel)}"] if found.per_pixel is not None else []),
        *(
            [f"not occluded           {_errors(found.non_occluded)}   {found.non_occluded_pixels:,} pixels"]
            if found.non_occluded
            else []
        ),
        *([f"per batch of {found.batch:<9} {_errors(found.per_batch)}"] if found.per_batch is not None else []),
    ]


def _errors(means: StereoErrors) -> str:
    return f"EPE {means.epe_px:.3f} px   > 3 px {means.over_3px:.2%}   D1 (> 3 px and > 5 %) {means.d1:.2%}"


def _detection(found: DetectionResult) -> list[str]:
    crowds = f" and {found.crowds} crowds" if found.crowds else ""
    head = f"{found.images} images, {found.instances} objects{crowds}, {found.detections} detections"
    scores = [("box", found.boxes), *([("mask", found.masks)] if found.masks is not None else [])]
    return [head, *(f"{kind:<4}   {_scores(values)}" for kind, values in scores)]


def _scores(values: CocoScores) -> str:
    shown = (
        ("AP", values.ap), ("AP50", values.ap50), ("AP75", values.ap75), ("small", values.ap_small), ("medium", values.ap_medium),
        ("large", values.ap_large), ("AR100", values.ar_100),
    )  # fmt: skip
    return "   ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in shown)
