"""Options that several commands share: the axes, and the folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fabench.accuracy import FORMATS
from fabench.errors import UsageError

_AXES = "Axes (replace the suite's)"


def _axis(name: str, text: str, *short: str) -> object:
    return typer.Option(f"--{name}", *short, help=text, rich_help_panel=_AXES, metavar="VALUES")


SuiteName: TypeAlias = Annotated[str, typer.Argument(help="A suite's name (`fabench list suites`) or the path of a TOML file.")]
N: TypeAlias = Annotated[str | None, _axis("n", "Positions, e.g. 1024..65536x2 or 1024,4096.")]
M: TypeAlias = Annotated[str | None, _axis("m", "Key positions (cross-attention), one number.")]
Image: TypeAlias = Annotated[str | None, _axis("image", "Image sizes, e.g. 32x32,64x64.")]
Video: TypeAlias = Annotated[str | None, _axis("video", "Video sizes, e.g. 64x64x32.")]
Batch: TypeAlias = Annotated[str | None, _axis("batch", "Batch sizes.")]
Heads: TypeAlias = Annotated[str | None, _axis("heads", "Heads, e.g. 1,8.")]
DK: TypeAlias = Annotated[str | None, _axis("d-k", "Key channels per head.")]
DV: TypeAlias = Annotated[str | None, _axis("d-v", "Value channels per head.")]
Dtype: TypeAlias = Annotated[str | None, _axis("dtype", "float32, bfloat16, float16, float64.")]
Mode: TypeAlias = Annotated[str | None, _axis("mode", "fwd, bwd, fwd_bwd.")]
Normalisation: TypeAlias = Annotated[str | None, _axis("normalisation", "softmax, scaling.")]
Scale: TypeAlias = Annotated[str | None, _axis("scale", "1/sqrt(d_k), 1/d_k, 1/n, 1.")]
Mask: TypeAlias = Annotated[str | None, _axis("mask", "none, padding.")]
Scope: TypeAlias = Annotated[str | None, _axis("scope", "core, module, network.")]
Channels: TypeAlias = Annotated[str | None, _axis("channels", "A module's channels.")]
Reprojection: TypeAlias = Annotated[str | None, _axis("reprojection", "true, false: a module's last projection.")]
Residual: TypeAlias = Annotated[str | None, _axis("residual", "true, false: a module's residual.")]
Pool: TypeAlias = Annotated[str | None, _axis("pool", "2 = max-pool K and V 2x2 (non-local block).")]
Network: TypeAlias = Annotated[str | None, _axis("network", "detection, stereo: whole, or block by block at scope module.")]
Positions: TypeAlias = Annotated[
    str | None, _axis("positions", "Where a network has attention, e.g. none,fpn3,fpn1+fpn2,fpn,all.")
]
Backbone: TypeAlias = Annotated[str | None, _axis("backbone", "resnet50, resnet101; for stereo hourglass, basic.")]
Implementation: TypeAlias = Annotated[
    str | None, _axis("implementation", "Names, or all (`fabench list implementations`).", "-i")
]
Device: TypeAlias = Annotated[str | None, _axis("device", "auto, cpu, cuda, cuda:1.")]
Where: TypeAlias = Annotated[
    str | None, typer.Option("--where", help="Keep only cells for which this holds, e.g. 'n >= 4096 and heads in (1, 8)'.")
]
Set: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", help="Replace a setting, e.g. measure.max_s=0.2 or budget.memory=2GiB.", metavar="KEY=VALUE"),
]
Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Wait while another fabench uses the device.")]
MinEffect: TypeAlias = Annotated[float, typer.Option(help="The smallest slow-down that matters (0.05 = 5 %).")]
Alpha: TypeAlias = Annotated[float, typer.Option(help="Chance that any unchanged cell is called slower.")]
Looks: TypeAlias = Annotated[str, typer.Option(help="After how many launch pairs it is decided.")]
Results: TypeAlias = Annotated[Path, typer.Option("--results", help="Folder of run folders.")]
Reports: TypeAlias = Annotated[Path, typer.Option("--reports", help="Folder of reports.")]


def overrides(settings: list[str] | None, **axes: str | None) -> dict[str, str]:
    """What the command line replaces in a suite, by key."""
    chosen = {name: value for name, value in axes.items() if value is not None}
    for item in settings or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise UsageError(f"--set {item[:60]!r} has no value; write for example --set measure.max_s=0.2")
        chosen[key.strip()] = value.strip()
    return chosen


def data_format(task: str, name: str | None, purpose: str) -> str:
    """The format of a task's data set. Raises UsageError for a task or a format that is not known, or not named where there are several."""
    if task not in FORMATS:
        raise UsageError(f"nothing called {task[:40]!r} to {purpose}; there are {', '.join(FORMATS)}")
    if name is None and len(FORMATS[task]) > 1:
        raise UsageError(f"name the data set's format with --format; there are {', '.join(FORMATS[task])}")
    if name is not None and name not in FORMATS[task]:
        raise UsageError(f"{task} has no data sets in the format {name[:40]!r}; there are {', '.join(FORMATS[task])}")
    return name or FORMATS[task][0]


def network_options(settings: list[str] | None) -> dict[str, Any]:
    """What --set says of how a network is built: numbers, true, false, lists, or else text as it stands."""
    return {key: _json_or_text(text) for key, text in overrides(settings).items()}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
