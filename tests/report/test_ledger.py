"""The section "Memory ledger": sums that add up, dashes where there is nothing, and what does not fit shown as such."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fabench.measured import Ledger, Memory
from fabench.report import build
from fabench.report.blocks import Section, Table, Text, Value
from fabench.schema import Record
from tests import synthetic

GPU_LINES = (
    "+ rounding to blocks", "+ free in the allocator", "= reserved by the allocator", "+ context, modules, libraries",
    "= the process on the device", "+ other processes", "= the device",
)  # fmt: skip


def section(records: Sequence[Record]) -> Section | None:
    report = build(records, [synthetic.environment()])
    return next((part for part in report.sections if part.id == "ledger"), None)


def table(part: Section | None, key: str) -> Table:
    assert part is not None
    return next(block for block in part.blocks if isinstance(block, Table) and block.id == key)


def said(part: Section | None) -> str:
    assert part is not None
    return " ".join(line for block in part.blocks if isinstance(block, Text) for line in block.lines)


def rows(found: Table) -> dict[Value, tuple[Value, ...]]:
    return {row[0]: row[1:] for row in found.rows}


def with_ledger(record: Record, **changes: int | None) -> Record:
    assert record.memory is not None and record.memory.ledger is not None
    own = {name: value for name, value in changes.items() if name in Ledger.__dataclass_fields__}
    rest = {name: value for name, value in changes.items() if name not in own}
    book = replace(record.memory.ledger, **own)  # type: ignore[arg-type]
    return replace(record, memory=replace(record.memory, ledger=book, **rest))  # type: ignore[arg-type]


@pytest.fixture
def cpu() -> list[Record]:
    return synthetic.records(("dot_product", "factorized_plain"), n=(256, 1024, 16384), modes=("fwd_bwd",), samples=6)


def test_the_largest_n_of_each_stands_on_top_and_adds_up(cpu: list[Record]) -> None:
    part = section(cpu)
    found = table(part, "ledger-main")
    assert [one.title for one in found.columns] == ["line", "factorized_plain, n = 16,384", "dot_product, n = 1,024"] or [
        one.title for one in found.columns
    ] == ["line", "dot_product, n = 1,024", "factorized_plain, n = 16,384"]
    lines = rows(found)
    added = [name for name in lines if str(name).startswith("+") and name not in GPU_LINES]
    for place in range(2):
        total = sum(int(str(lines[name][place])) for name in ("inputs", *added))
        assert total == lines["= tensors of the process"][place]
    assert "+ not explained by a line" not in lines
    assert "dot_product, n = 1,024: " in said(part) and "kept for backward" in said(part)


def test_on_a_cpu_what_only_a_gpu_has_is_unknown_and_never_zero(cpu: list[Record]) -> None:
    lines = rows(table(section(cpu), "ledger-main"))
    assert all(lines[name] == (None, None) for name in GPU_LINES)
    titles = {one.title for one in table(section(cpu), "ledger").columns}
    assert titles.isdisjoint({"rounding", "cached", "context", "others"})


def test_a_gpus_lines_go_on_to_the_device() -> None:
    found = synthetic.records(("factorized_plain",), n=(256, 512), devices=("cuda",), samples=6)
    record = found[-1]
    assert record.memory is not None and record.memory.reserved_bytes is not None
    tensors = record.memory.peak_bytes
    cached = record.memory.reserved_bytes - tensors - 1000
    found[-1] = with_ledger(
        record, rounding_bytes=1000, cached_bytes=cached, context_bytes=5 * 2**20, others_bytes=7,
        process_bytes=record.memory.reserved_bytes + 5 * 2**20, device_bytes=record.memory.reserved_bytes + 5 * 2**20 + 7,
    )  # fmt: skip
    lines = {name: value for name, (value,) in rows(table(section(found), "ledger-main")).items()}
    number = {name: int(str(value)) for name, value in lines.items()}
    reserved = number["= tensors of the process"] + number["+ rounding to blocks"] + number["+ free in the allocator"]
    assert reserved == number["= reserved by the allocator"]
    assert reserved + number["+ context, modules, libraries"] == number["= the process on the device"]
    assert number["= the process on the device"] + number["+ other processes"] == number["= the device"]
    assert "of the device" in said(section(found))


def test_a_residual_and_an_unexplained_difference_are_shown(cpu: list[Record]) -> None:
    square = 16384 * 16384 * 8 * 4
    place = next(i for i, one in enumerate(cpu) if one.memory and one.cell.case.n == 16384)
    record = cpu[place]
    assert record.memory is not None and record.memory.ledger is not None
    workspace = record.memory.ledger.workspace_bytes + square
    cpu[place] = with_ledger(record, workspace_bytes=workspace, residual_bytes=12345)
    part = section(cpu)
    assert 12345 in rows(table(part, "ledger-main"))["+ not explained by a line"]
    assert "12.1 KiB more than these lines was there" in said(part)
    compared = table(part, "ledger-predicted")
    titles = [one.title for one in compared.columns]
    whole = [row for row in compared.rows if row[titles.index("line")] == "all that graph and call add"]
    (row,) = [row for row in whole if row[titles.index("verdict")] == "unexplained"]
    assert row[0] == "factorized_plain" and int(str(row[titles.index("unexplained")])) > square / 2
    assert "not explained by a line" in [one.title for one in table(part, "ledger").columns]


def test_what_an_opaque_one_keeps_is_said_to_be_unknown(cpu: list[Record]) -> None:
    hidden = [with_ledger(one, saved_bytes=None) if one.memory else one for one in cpu]
    part = section(hidden)
    assert set(rows(table(part, "ledger-main"))["+ kept for backward"]) == {None}
    assert "an unknown part kept for backward" in said(part)


def test_a_first_call_that_took_more_is_told(cpu: list[Record]) -> None:
    assert "first call took" not in said(section(cpu))
    more = [with_ledger(one, first_delta_bytes=one.memory.delta_bytes + 2**20) if one.memory else one for one in cpu]
    assert said(section(more)).count("first call took") == 2


def test_every_ledger_has_a_row_and_without_any_there_is_no_section(cpu: list[Record]) -> None:
    wide = synthetic.records(modes=("fwd", "fwd_bwd"), n=(256, 512), samples=6)
    assert len(table(section(wide), "ledger").rows) == sum(one.memory is not None for one in wide)
    bare = [replace(one, memory=_without(one.memory)) for one in cpu]
    assert section(bare) is None


def _without(memory: Memory | None) -> Memory | None:
    return None if memory is None else replace(memory, ledger=None)
