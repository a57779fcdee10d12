"""The page of kernel sheets: what would be launched on GPUs that need not be here, and what their machine code says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fabench.analysis.sheets import GPUS, Gpu, bound_s, faults, issue_s
from fabench.report.blocks import Column, Fact, Report, Section, Table, Text, Value
from fabench.report.formats.base import Bundle, load
from fabench.sheet import KernelSheet, SheetFile

__all__ = ["kernel_report", "write_kernels"]

_COLUMNS = (
    Column("kernel"), Column("type"), Column("d", "integer"), Column("tiling"), Column("registers", "count"), Column("spills", "count"), Column("shared", "bytes"),
    Column("of limit", "percent"), Column("occupancy", "percent"), Column("tensor-core instructions", "count"), Column("loads", "count"),
    Column("128-bit loads", "count"), Column("loop instructions", "count"), Column("positions a loop", "count"), Column("read", "bytes"),
    Column("written", "bytes"), Column("FLOP", "flop"),
)  # fmt: skip
_LAST = (Column("binary", "code"), Column("fault"))


def write_kernels(found: SheetFile, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Writes the page in these formats and returns the files. Raises UsageError or StoreError."""
    report, bundle = kernel_report(found), Bundle([], [], [], pd.DataFrame())
    return [path for one in formats for path in load(one)(report, bundle, folder / name)]


def kernel_report(found: SheetFile) -> Report:
    """A section per target. Nothing in it is measured, and every place where that could be forgotten says so."""
    targets = list(dict.fromkeys(one.target for one in found.sheets))
    wrong = [f"{one.key}: {fault}" for one in found.sheets for fault in faults(one)]
    names = ", ".join(dict.fromkeys(one.implementation for one in found.sheets))
    verdict = "No kernel spills, exceeds its shared memory, or reads nothing 128 bits wide."
    facts = (
        Fact(f"{len(found.sheets)}", "kernels compiled"),
        Fact(f"{len(targets)}", "targets"),
        Fact(f"{len(wrong)}", "faults"),
    )
    return Report(
        title=f"kernels of {names}",
        subtitle=f"compiled by Triton {found.triton}, run on nothing",
        setting="",
        headline=f"{_count(len(found.sheets), 'kernel')} for {_count(len(targets), 'target')}: {_count(len(wrong), 'fault')}.",
        verdict=f"{'' if wrong else verdict + ' '}Times are predicted: the least that bandwidth or products allow, never measured.",
        facts=facts,
        sections=tuple(_target(target, [one for one in found.sheets if one.target == target]) for target in targets),
        warnings=tuple(wrong),
    )


def _count(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _target(target: str, sheets: list[KernelSheet]) -> Section:
    gpus = [gpu for gpu in GPUS if gpu.target == target]
    bounds = [(Column(f"{gpu.name}, predicted", "duration"), Column("issue, of that", "percent")) for gpu in gpus]
    rows = [(*_row(one), *(value for gpu in gpus for value in _bounds(one, gpu)), *_end(one)) for one in sheets]
    sizes = ", ".join(dict.fromkeys(f"{one.rows} heads of n = {one.n:,}" for one in sheets))
    note = f"Launched for {sizes}. Issue: the time that the loop's instructions take to be issued, beside the bound; above 100 % it is the bound."
    table = Table(
        f"kernels-{target}", target, (*_COLUMNS, *(one for pair in bounds for one in pair), *_LAST), rows, note, filterable=True
    )
    lead = "Registers, shared memory and instructions as the compiler made them; bytes and products as the plan of the launches counts them."
    return Section(f"target-{target}", target, lead, (table, Text((_peaks(target),), tone="note")))


def _peaks(target: str) -> str:
    said = [
        f"{gpu.name}: {gpu.bytes_per_s / 1e12:.2f} TB/s, {gpu.half_flop_per_s / 1e12:,.0f} TFLOP/s in 16 bit"
        for gpu in GPUS
        if gpu.target == target
    ]
    return "Data sheets: " + "; ".join(said) + "." if said else "No product of this target has its data sheet here."


def _row(one: KernelSheet) -> tuple[Value, ...]:
    kind = one.dtype if one.dtype != "float32" else f"float32, products in {one.precision}"
    limit = None if one.shared_bytes is None or not one.shared_limit_bytes else one.shared_bytes / one.shared_limit_bytes
    return (
        one.kernel, kind, one.d_k, one.tiling or "", one.registers, one.spills, one.shared_bytes, limit, one.occupancy, one.tensor_instructions, one.loads,
        one.wide_loads, one.loop_instructions, one.loop_positions, one.read_bytes, one.written_bytes, one.flop or None,
    )  # fmt: skip


def _bounds(one: KernelSheet, gpu: Gpu) -> tuple[Value, Value]:
    least, issue = bound_s(one, gpu), issue_s(one, gpu)
    return least, None if issue is None else issue / least


def _end(one: KernelSheet) -> tuple[Value, ...]:
    return (one.binary_sha or "", "; ".join(faults(one)) or "none")
