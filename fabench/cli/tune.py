"""fabench tune: times the candidates of each fused kernel on this GPU, and keeps what is faster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from fabench.cli._console import notes, safe
from fabench.errors import ExitCode, UsageError
from fabench.sheet import KERNEL_TYPES
from fabench.sweep.tune import answers
from fabench.units import format_duration

__all__ = ["command"]


def command(
    dtype: Annotated[str, typer.Option(help="bf16, fp16, fp32, tf32.")] = "bf16",
    d: Annotated[int, typer.Option("--d", help="Channels per head.", min=1, max=256)] = 64,
    n: Annotated[int, typer.Option(help="Positions.", min=1)] = 65536,
    heads: Annotated[int, typer.Option(help="Heads.", min=1)] = 8,
    batch: Annotated[int, typer.Option(help="Batch size.", min=1)] = 4,
    form: Annotated[str, typer.Option(help="softmax, or scaling.")] = "softmax",
    write: Annotated[
        Path | None, typer.Option(help="Keep the choice in this file, to be pinned with FABENCH_TILINGS=FILE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every timing as a JSON line on standard output.")] = False,
) -> int:
    """Time the candidates of each fused kernel on this GPU and keep what is faster."""
    if dtype not in KERNEL_TYPES:
        raise UsageError(f"--dtype {dtype[:20]!r} is not known; there are {', '.join(KERNEL_TYPES)}")
    if form not in ("softmax", "scaling"):
        raise UsageError(f"--form {form[:20]!r} is not known; there are softmax, scaling")
    name, precision = KERNEL_TYPES[dtype]
    request = {
        "dtype": name, "precision": precision, "d": d, "n": n, "heads": heads, "batch": batch, "softmax": form == "softmax",
        "file": None if write is None else str(write),
    }  # fmt: skip
    _show(answers(request), as_json)
    return ExitCode.FINE


def _show(lines: Iterator[dict[str, Any]], as_json: bool) -> None:
    for line in lines:
        if as_json:
            typer.echo(json.dumps(line))
            continue
        if line["event"] == "written":
            notes.print(f"kept in {safe(line['file'])}; what was found is used from now on, and recorded with each cell")
            continue
        rows, d_k, d_v, warps, stages = line["tiling"]
        tiling = f"{line['kernel']:16} {rows}x{d_k}x{d_v}, {warps} warps, {stages} stages"
        if line["event"] == "timed":
            notes.print(
                f"{tiling}: {format_duration(line['seconds'])}{'' if line['reason'] is None else ', ' + safe(line['reason'])}"
            )
        else:
            notes.print(f"[bold]{tiling}[/]: chosen{', as it was' if line['fixed'] else ''}")
