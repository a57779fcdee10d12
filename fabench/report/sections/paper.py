"""The paper's own figures, what was counted here beside them, and the slips in them."""

from __future__ import annotations

from fabench.analysis.paper import ERRATA, PaperRow, expected
from fabench.report.blocks import Block, Column, Section, Table, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import tabulate

__all__ = ["section"]

_EXPECTED = (
    Column("input"), Column("n", "count"), Column("DP bytes", "count"), Column("FA bytes", "count"), Column("ratio", "ratio"),
    Column("DP operations", "operations"), Column("FA operations", "operations"), Column("ratio", "ratio"), Column("DP true MAC", "operations"),
    Column("FA true MAC", "operations"),
)  # fmt: skip
_COUNTED = (
    Column("input"), Column("implementation"), Column("role"), Column("mode"), Column("paper's bytes", "count"), Column("saved bytes", "count"),
    Column("bytes"), Column("expected FLOP", "count"), Column("counted FLOP", "count"), Column("FLOP"), Column("paper's ratio", "ratio"),
    Column("ratio here", "ratio"), Column("setting"),
)  # fmt: skip


_NOTE = (
    "Equal means to the byte and to the operation; otherwise the difference. Nothing is kept in mode fwd. "
    "factorized keeps its normaliser too, d_k numbers per head."
)


def section(readings: Readings) -> Section | None:
    """The paper's table, the comparison if there are cells that it speaks of, and the errata."""
    blocks: list[Block] = []
    if readings.paper:
        rows = [_row(one) for one in readings.paper]
        blocks.append(tabulate("paper-counted", "Counted here", _COUNTED, rows, _NOTE))
    else:
        blocks.append(
            Text(("No cell of this run is one of the paper's: module scope, c = d_v = 64, d_k = 32, one head, float32.",))
        )
    figures: list[tuple[Value, ...]] = [
        (one.input, one.n, one.dp_bytes, one.fa_bytes, one.bytes_ratio, one.dp_operations, one.fa_operations, one.operations_ratio, one.dp_mac, one.fa_mac)
        for one in expected()
    ]  # fmt: skip
    note = "arXiv 1812.01243 v1, Figure 4: c = d_v = 64, d_k = 32, one head, float32. DP: dot product, FA: factorized. See the errata below."
    blocks.append(Table("paper-expected", "The paper's expected values", _EXPECTED, figures, note))
    errata = tuple(f"Erratum {one.number}: {one.text}" for one in ERRATA)
    blocks.append(Text(errata, bullets=True, tone="warning"))
    lead = "Bytes kept for backward and operations do not depend on the device: they must agree exactly."
    return Section("paper", "The paper's values", lead, tuple(blocks))


def _against(off: int | None) -> str | None:
    """`equal`, or by how much: an implementation may honestly keep more than the formula says."""
    return f"{off:+,}" if off else None if off is None else "equal"


def _row(found: PaperRow) -> tuple[Value, ...]:
    measured = (found.expected_bytes, found.measured_bytes, _against(found.bytes_off))
    counted = (found.expected_flop, found.counted_flop, _against(found.flop_off))
    ratios = (found.expected_ratio if found.measured_ratio else None, found.measured_ratio)
    return (found.input, found.implementation, found.role, found.mode, *measured, *counted, *ratios, found.setting)
