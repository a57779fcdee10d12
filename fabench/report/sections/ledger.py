"""The memory ledger: what the bytes are at a call's peak, from the inputs up to the device, beside the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabench.analysis.ledger import Line, lines_of
from fabench.measured import Ledger, Memory
from fabench.report import words
from fabench.report.blocks import Block, Column, Section, Table, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import main_first, tabulate
from fabench.schema import Record

__all__ = ["section"]

_MOST_REASONS = 3
_LINES: tuple[tuple[str, str], ...] = (
    ("output", "output_bytes"),
    ("saved", "saved_bytes"),
    ("workspace", "workspace_bytes"),
    ("rounding", "rounding_bytes"),
    ("cached", "cached_bytes"),
    ("context", "context_bytes"),
    ("others", "others_bytes"),
)
_WHAT = {
    "inputs": "inputs and weights",
    "given": "mask and upstream gradient",
    "output": "output and gradients",
    "saved": "kept for backward, inputs among it",
    "working": "all that graph and call add",
}


@dataclass(frozen=True)
class _Cell:
    """A record that has a ledger, and its reading."""

    record: Record
    memory: Memory
    book: Ledger
    setting: str
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        return self.record.cell.implementation

    @property
    def n(self) -> int:
        return self.record.cell.case.n

    def line(self, name: str) -> Line | None:
        return next((one for one in self.lines if one.name == name), None)


def section(readings: Readings) -> Section | None:
    """The largest n of each implementation in the main setting, from the bottom up; then every cell."""
    cells = main_first(readings, _cells(readings))
    if not cells:
        return None
    blocks: list[Block] = []
    largest: dict[str, _Cell] = {}
    for cell in cells:
        if cell.setting == readings.main and (cell.name not in largest or cell.n >= largest[cell.name].n):
            largest[cell.name] = cell
    if largest:
        shown = sorted(largest.values(), key=lambda cell: readings.styles[cell.name])
        blocks += [Text(tuple(_said(cell) for cell in shown), bullets=True), _stack(shown, readings.main or "")]
        compared = _compared(shown)
        if compared is not None:
            blocks.append(compared)
    blocks.append(_all(cells))
    lead = (
        "What the bytes are at the moment of the call's peak. From inputs to workspace they are the process's tensors, as the code asked "
        "for them; then what allocator, process and device hold around them, which a CPU does not have. Predictions are arithmetic from "
        "the shapes alone."
    )
    return Section("ledger", "Memory ledger", lead, tuple(blocks))


def _cells(readings: Readings) -> list[_Cell]:
    found = []
    for record, setting in zip(readings.records, readings.frame["setting"].tolist(), strict=True):
        memory = record.memory
        if memory is not None and memory.ledger is not None:
            found.append(_Cell(record, memory, memory.ledger, setting, lines_of(record) or ()))
    return found


def _tensors(book: Ledger) -> int:
    """All of the process's tensors, the residual included."""
    held = book.input_bytes + book.parameter_bytes + book.given_bytes
    return held + book.output_bytes + (book.saved_bytes or 0) + book.workspace_bytes + book.residual_bytes


def _show(value: int | None) -> str:
    return words.show(value, "bytes")


def _said(cell: _Cell) -> str:
    """The ledger in a sentence."""
    book, held = cell.book, cell.book.input_bytes + cell.book.parameter_bytes + cell.book.given_bytes
    gradients = cell.record.cell.case.needs_gradients
    parts = [
        f"{_show(book.output_bytes)} output{' and gradients' if gradients else ''}" if book.output_bytes else "no output yet"
    ]
    if gradients:
        parts.append(
            "an unknown part kept for backward" if book.saved_bytes is None else f"{_show(book.saved_bytes)} kept for backward"
        )
    parts.append(f"{_show(book.workspace_bytes)} workspace")
    added = _tensors(book) - held - book.residual_bytes
    text = (
        f"{cell.name}, n = {cell.n:,}: {_show(held)} is given, and at the peak there is {_show(added)} more: {', '.join(parts)}."
    )
    if book.residual_bytes:
        text += f" {_show(abs(book.residual_bytes))} {'more' if book.residual_bytes > 0 else 'less'} than these lines was there."
    if cell.memory.process_bytes is not None:
        text += f" The process held {_show(cell.memory.process_bytes)} of the device."
    first = cell.memory.first_delta_bytes
    if first is not None and first > cell.memory.delta_bytes:
        text += f" The process's first call took {_show(first)}, a later one {_show(cell.memory.delta_bytes)}."
    return words.plain(text)


def _stack(cells: Sequence[_Cell], setting: str) -> Table:
    """Lines from the bottom up with sums between them, a column for each implementation."""
    rows: list[tuple[str, Callable[[_Cell], int | None]]] = [
        ("inputs", lambda cell: cell.book.input_bytes),
        ("+ parameters", lambda cell: cell.book.parameter_bytes),
        ("+ mask and upstream gradient", lambda cell: cell.book.given_bytes),
        ("+ output and gradients", lambda cell: cell.book.output_bytes),
        ("+ kept for backward", lambda cell: cell.book.saved_bytes),
        ("+ workspace", lambda cell: cell.book.workspace_bytes),
    ]
    if any(cell.book.residual_bytes for cell in cells):
        rows.append(("+ not explained by a line", lambda cell: cell.book.residual_bytes))
    rows += [
        ("= tensors of the process", lambda cell: _tensors(cell.book)),
        ("+ rounding to blocks", lambda cell: cell.book.rounding_bytes),
        ("+ free in the allocator", lambda cell: cell.book.cached_bytes),
        ("= reserved by the allocator", lambda cell: cell.memory.reserved_bytes),
        ("+ context, modules, libraries", lambda cell: cell.book.context_bytes),
        ("= the process on the device", lambda cell: cell.memory.process_bytes),
        ("+ other processes", lambda cell: cell.book.others_bytes),
        ("= the device", lambda cell: cell.memory.device_bytes),
    ]
    columns = (Column("line"), *(Column(f"{cell.name}, n = {cell.n:,}", "bytes") for cell in cells))
    values: list[tuple[Value, ...]] = [(title, *(read(cell) for cell in cells)) for title, read in rows]
    note = f"At the largest n of each: {setting}. A dash is what there is none of here, or what nothing tells."
    return Table("ledger-main", "At the peak, from the bottom up", columns, values, words.plain(note))


def _compared(cells: Sequence[_Cell]) -> Table | None:
    """Measured beside predicted, line by line, with what explains the difference."""
    columns = (
        Column("implementation"), Column("n", "count"), Column("line"), Column("measured", "bytes"), Column("predicted", "bytes"),
        Column("difference", "bytes"), Column("verdict"), Column("unexplained", "bytes"), Column("what may explain it"),
    )  # fmt: skip
    rows: list[tuple[Value, ...]] = [
        (
            cell.name, cell.n, _WHAT[line.name], line.measured_bytes, line.predicted_bytes, line.difference_bytes, line.verdict,
            line.unexplained_bytes or None, _reasons(line),
        )
        for cell in cells
        for line in cell.lines
    ]  # fmt: skip
    if not rows:
        return None
    note = (
        "A rule gives a reason with the most bytes it may account for, from the shapes alone. Explained: all applying rules together reach "
        "the difference. Nearly: they miss it by 1 % of the prediction or 4 KiB at most. Unexplained: by more."
    )
    return Table("ledger-predicted", "Predicted beside measured", columns, rows, note)


def _reasons(line: Line) -> str:
    """The rules that reach furthest in the direction of the difference."""
    positive = (line.difference_bytes or 0) > 0
    reach = [(one.high_bytes if positive else -one.low_bytes, one.text) for one in line.explaining]
    told = [
        f"{text} (up to {'' if positive else '−'}{_show(size)})" for size, text in sorted(reach, reverse=True)[:_MOST_REASONS]
    ]
    left = len(reach) - len(told)
    return words.plain("; ".join(told) + (f"; {left} more" if left else ""))


def _all(cells: Sequence[_Cell]) -> Table:
    """Every cell with a ledger; lines that nobody has are left out."""
    names = [(title, name) for title, name in _LINES if any(getattr(cell.book, name) is not None for cell in cells)]
    residual = any(cell.book.residual_bytes for cell in cells)
    columns = [Column("implementation"), Column("n", "count"), Column("inputs and weights", "bytes"), Column("given", "bytes")]
    columns += [Column(title, "bytes") for title, _ in names]
    columns += [Column("not explained by a line", "bytes")] if residual else []
    columns += [Column("tensors", "bytes"), Column("graph and call", "bytes"), Column("predicted", "bytes"), Column("verdict")]
    columns += [Column("first call", "bytes"), Column("setting")]
    rows: list[tuple[Value, ...]] = []
    for cell in cells:
        book, working = cell.book, cell.line("working")
        row: list[Value] = [cell.name, cell.n, book.input_bytes + book.parameter_bytes, book.given_bytes]
        row += [getattr(book, name) for _, name in names]
        row += [book.residual_bytes] if residual else []
        row += [_tensors(book)]
        row += [None, None, None] if working is None else [working.measured_bytes, working.predicted_bytes, working.verdict]
        rows.append((*row, cell.memory.first_delta_bytes, cell.setting))
    return tabulate(
        "ledger", "Every cell's ledger", columns, rows, "First call: what the process's very first call took.", place=2
    )
