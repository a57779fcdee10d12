"""fabench inspect: what a kernel's machine code says, for GPUs that need not be here, and whether it got worse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fabench.analysis.sheets import GPUS, Gpu, bound_s, faults, issue_s, matched, worse
from fabench.catalogue import implementations
from fabench.cli._console import notes, safe
from fabench.codec import DecodeError, encode
from fabench.errors import ExitCode, StoreError, UsageError, WorkerError
from fabench.schema import Case, from_json
from fabench.sheet import KERNEL_TYPES, KernelSheet, SheetFile
from fabench.suite.ranges import whole_numbers
from fabench.sweep.compile import compiled
from fabench.units import format_bytes, format_duration

__all__ = ["command"]

_TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120", "gfx942")
# A range without a step, which a suite's axis refuses, because there it could mean anything.
_OPEN_RANGE = re.compile(r"(\d+\.\.\d+)(?![\dx+])")


def command(
    implementation: Annotated[str, typer.Argument(help="An implementation with kernels of its own.")] = "triton_factorized",
    target: Annotated[str, typer.Option(help="GPUs to compile for.")] = "sm_80,sm_90,sm_100,sm_120,gfx942",
    dtype: Annotated[str, typer.Option(help="bf16, fp16, fp32, tf32.")] = "bf16",
    d: Annotated[str, typer.Option("--d", help="Channels per head, e.g. 64,128 or 32..256, which doubles.")] = "64",
    n: Annotated[int, typer.Option(help="Positions.", min=1)] = 65536,
    heads: Annotated[int, typer.Option(help="Heads.", min=1)] = 8,
    batch: Annotated[int, typer.Option(help="Batch size.", min=1)] = 4,
    mode: Annotated[str, typer.Option(help="fwd, or fwd_bwd.")] = "fwd_bwd",
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Compile what tuning may choose, not what is launched.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One sheet per line on standard output.")] = False,
    baseline: Annotated[Path | None, typer.Option(help="Compare with the sheets in this file.")] = None,
    fail_on_worse: Annotated[bool, typer.Option("--fail-on-worse", help="Exit with 1 where a kernel got worse.")] = False,
    reports: Annotated[
        Path | None, typer.Option("--reports", help="Also write a page, kernels.html and kernels.md, to this folder.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the sheets to this file, to be a baseline.")] = None,
) -> int:
    """Compile every kernel that a case launches, for GPUs that need not be here, and read its machine code."""
    if fail_on_worse and baseline is None:
        raise UsageError("--fail-on-worse compares with a baseline; name one with --baseline FILE")
    before = None if baseline is None else _read(baseline)
    if candidates and (baseline is not None or write is not None):
        raise UsageError("--candidates is for a look; a baseline holds what is launched")
    found = _compile(
        implementation,
        _chosen("target", target, _TARGETS),
        _chosen("dtype", dtype, tuple(KERNEL_TYPES)),
        d,
        (n, heads, batch, mode),
        candidates,
    )
    if as_json:
        for sheet in found.sheets:
            typer.echo(encode(sheet))
    else:
        _print(found.sheets)
    if write is not None:
        _write(write, found)
    if reports is not None:
        from fabench.report.kernels import write_kernels

        for path in write_kernels(found, reports, "kernels", ("html", "markdown")):
            notes.print(f"report:  {safe(path)}")
    failed = [
        f"{sheet.key}{f' {sheet.tiling}' if candidates else ''}: {fault}" for sheet in found.sheets for fault in faults(sheet)
    ]
    for line in failed:
        notes.print(f"[red]fault[/] {safe(line)}")
    poorer = [] if before is None else _compared(before, found)
    return ExitCode.FAILED if failed or (poorer and fail_on_worse) else ExitCode.FINE


def _chosen(name: str, text: str, allowed: Sequence[str]) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in allowed:
            raise UsageError(f"--{name} {word[:40]!r} is not known; there are {', '.join(allowed)}")
    if not words:
        raise UsageError(f"--{name} is empty; there are {', '.join(allowed)}")
    return words


def _compile(
    implementation: str, targets: list[str], types: list[str], d: str, sizes: tuple[int, int, int, str], candidates: bool
) -> SheetFile:
    if implementation not in implementations():
        raise UsageError(f"no implementation {implementation[:40]!r}; there are {', '.join(implementations())}")
    n, heads, batch, mode = sizes
    try:
        widths = whole_numbers(_OPEN_RANGE.sub(r"\1x2", d))
    except ValueError as error:
        raise UsageError(f"--d: {error}") from None
    if mode not in ("fwd", "fwd_bwd"):
        raise UsageError(f"--mode {mode[:20]!r} is not known; there are fwd, fwd_bwd")
    sheets: list[KernelSheet] = []
    compiler = ""
    for target in targets:
        for word in types:
            name, precision = KERNEL_TYPES[word]
            cases = [Case(n=n, m=n, batch=batch, heads=heads, d_k=width, d_v=width, dtype=name, mode=mode) for width in widths]
            for item in compiled(implementation, target, precision, cases, candidates):
                if isinstance(item, KernelSheet):
                    sheets.append(item)
                else:
                    compiler = item
    if not sheets:
        raise WorkerError(f"{implementation} launched nothing for {', '.join(targets)}")
    return SheetFile(compiler, tuple(sheets))


def _read(path: Path) -> SheetFile:
    try:
        return from_json(SheetFile, path.read_bytes())
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror}; write one with --write FILE") from None
    except DecodeError as error:
        raise StoreError(f"{path} is no file of kernel sheets: {error}") from None


def _write(path: Path, found: SheetFile) -> None:
    head = encode(found).partition('"sheets":[')[0]
    lines = ",\n".join(encode(sheet) for sheet in found.sheets)
    try:
        path.write_text(f'{head}"sheets":[\n{lines}\n],"version":{found.version}}}\n', encoding="utf-8")
    except OSError as error:
        raise StoreError(f"can't write {path}: {error.strerror}; choose another file") from None


def _print(sheets: Sequence[KernelSheet]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("kernel", "target", "type", "d", "tiling", "registers", "spills", "shared", "occupancy", "tensor", "128-bit loads", "loop", "bytes", "GFLOP", "least time, predicted", "binary")  # fmt: skip
    table = Table(*columns, box=None, pad_edge=False)
    for one in sheets:
        bounds = ", ".join(_bound(one, gpu) for gpu in GPUS if gpu.target == one.target)
        kind = f"{one.dtype}:{one.precision}" if one.dtype == "float32" else one.dtype
        cells = (
            one.kernel, one.target, kind, f"{one.d_k}", one.tiling or "-", _text(one.registers), _text(one.spills),
            "-" if one.shared_bytes is None else format_bytes(one.shared_bytes), "-" if one.occupancy is None else f"{one.occupancy:.0%}",
            _text(one.tensor_instructions), f"{_text(one.wide_loads)}/{_text(one.loads)}",
            "-" if one.loop_instructions is None else f"{one.loop_instructions}/{one.loop_positions}",
            format_bytes(one.read_bytes + one.written_bytes), f"{one.flop / 1e9:.1f}", bounds or "-", one.binary_sha or safe(one.reason),
        )  # fmt: skip
        table.add_row(*cells)
    Console(width=None if Console().is_terminal else 240).print(table)


def _bound(one: KernelSheet, gpu: Gpu) -> str:
    least, issue = bound_s(one, gpu), issue_s(one, gpu)
    return f"{gpu.name} {format_duration(least)}" + ("" if issue is None else f" (issue {issue / least:.0%})")


def _text(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _compared(before: SheetFile, now: SheetFile) -> list[str]:
    """Says what got worse, what is new, and that another compiler may be why."""
    pairs, unknown = matched(before.sheets, now.sheets)
    if before.triton != now.triton:
        notes.print(f"[yellow]note:[/] the baseline was compiled by Triton {safe(before.triton)}, this by {safe(now.triton)}")
    if not pairs:
        raise UsageError("the baseline knows none of these kernels; compile what it holds, or write a new one with --write FILE")
    if unknown:
        notes.print(f"{len(unknown)} of {len(now.sheets)} kernels are not in the baseline")
    lines = [f"{one.key}: {change}" for old, one in pairs for change in worse(old, one)]
    for line in lines:
        notes.print(f"[red]worse[/] {safe(line)}")
    if not lines:
        notes.print(f"{len(pairs)} kernels, none worse than the baseline")
    return lines
