"""How far the times can be trusted: grades, every warning with its cells and what to do, the clocks that were used, and what went on beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from fabench.analysis.doubts import Code, Doubt
from fabench.analysis.evidence import GRADES, Evidence, timed
from fabench.analysis.physics import share
from fabench.measured import GpuLook
from fabench.report import words
from fabench.report.blocks import Block, Column, Section, Table, Value
from fabench.report.readings import Readings
from fabench.schema import Record
from fabench.units import format_count, format_rate

__all__ = ["alarms", "section"]

_MEANING = {
    "A": "every rule passed, and what could hide a fault is known",
    "B": "good, with the reservation that its warnings say",
    "C": "the size is right, the digits are not",
    "D": "not a measurement of this work",
}
_WARNINGS = (
    Column("warning", "filter"), Column("leaves at best", "grade"), Column("cells", "count"), Column("for example"), Column("what to do"),
    Column("which"),
)  # fmt: skip
_MOST_NAMES, _MOST_SIZES, _MOST_REASONS = 3, 5, 20


def alarms(readings: Readings) -> list[str]:
    """What has to be said before anything else."""
    found = Counter(doubt.code for evidence in readings.evidence for doubt in evidence.warnings)
    said = []
    if found[Code.SCRIPTED]:
        said.append(f"Cells from a scripted device: {found[Code.SCRIPTED]:,}. Their times are written, not measured.")
    if found[Code.IMPOSSIBLE]:
        said.append(f"Cells with an IMPOSSIBLE time, which is used nowhere: {found[Code.IMPOSSIBLE]:,}. See Evidence.")
    return said


def section(readings: Readings) -> Section | None:
    """Counts of grades, warnings, clocks, telemetry."""
    grades = Counter(evidence.grade for evidence in readings.evidence)
    total = sum(grades[grade] for grade in GRADES)
    if not total:
        return None
    blocks: list[Block] = [_grades(grades, total)]
    blocks += [table for table in (_warnings(readings), _clocks(readings), _ladder(readings), _telemetry(readings)) if table]
    lead = "Each time has a grade, the best that its warnings leave; cells without a time have none. What is judged stands in the method."
    return Section("evidence", "Evidence", lead, tuple(blocks))


def _grades(grades: Counter[str | None], total: int) -> Table:
    columns = (Column("grade", "grade"), Column("cells", "count"), Column("share", "percent"), Column("meaning"))
    rows: list[tuple[Value, ...]] = [(grade, grades[grade], grades[grade] / total, _MEANING[grade]) for grade in GRADES]
    note = f"{grades[None]:,} cells gave no time and have no grade." if grades[None] else ""
    return Table("grades", "Grades", columns, rows, note)


def _warnings(readings: Readings) -> Table | None:
    """One row per warning, the gravest and most frequent first."""
    groups: dict[Code, list[tuple[Record, Doubt, str]]] = {}
    for record, evidence in zip(readings.records, readings.evidence, strict=True):
        for doubt in evidence.warnings:
            groups.setdefault(doubt.code, []).append((record, doubt, _example(record, evidence, doubt)))
    if not groups:
        return None
    worst = {code: max(members, key=lambda member: member[1].grade) for code, members in groups.items()}
    order = sorted(groups, key=lambda code: (-GRADES.index(worst[code][1].grade), -len(groups[code])))
    rows: list[tuple[Value, ...]] = [
        (
            code.value, worst[code][1].grade, len(groups[code]), worst[code][2], code.advice,
            _which([record for record, _, _ in groups[code]]),
        )
        for code in order
    ]  # fmt: skip
    return Table("evidence", "Warnings", _WARNINGS, rows, "A warning's name leads to its cells.")


def _example(record: Record, evidence: Evidence, doubt: Doubt) -> str:
    """What was seen at a cell; where its time can't be, no number of it stands without the word."""
    mark = "" if evidence.impossible is None else " (IMPOSSIBLE)"
    return words.plain(f"{record.cell.implementation}, n = {record.cell.case.n:,}{mark}: {doubt.text}")


def _which(records: Sequence[Record]) -> str:
    """`dot_product n = 16, 32; sdpa_flash n = 64 to 4,096 (7 sizes)`."""
    names: dict[str, set[int]] = {}
    for record in records:
        names.setdefault(record.cell.implementation, set()).add(record.cell.case.n)
    parts = [f"{name} n = {_sizes(sorted(sizes))}" for name, sizes in list(names.items())[:_MOST_NAMES]]
    parts += [f"{len(names) - _MOST_NAMES} more implementations"] if len(names) > _MOST_NAMES else []
    return words.plain("; ".join(parts))


def _sizes(sizes: Sequence[int]) -> str:
    if len(sizes) <= _MOST_SIZES:
        return ", ".join(f"{n:,}" for n in sizes)
    return f"{sizes[0]:,} to {sizes[-1]:,} ({len(sizes)} sizes)"


def _clocks(readings: Readings) -> Table | None:
    found: Counter[tuple[str, ...]] = Counter()
    for timing in filter(None, map(timed, readings.records)):
        second = "none" if timing.witness is None else timing.witness.clock
        how = "" if timing.witness is None else "around the same calls" if timing.witness.paired else "samples of its own"
        found[timing.clock, second, how, timing.cache] += 1
    columns = (Column("clock"), Column("second clock"), Column("how"), Column("cache"), Column("cells", "count"))
    rows: list[tuple[Value, ...]] = [(*map(words.plain, names), count) for names, count in found.most_common()]
    return Table("clocks", "Clocks", columns, rows)


def _ladder(readings: Readings) -> Table | None:
    """Better clocks that did not fit."""
    found: Counter[tuple[str, str, str]] = Counter()
    for timing in filter(None, map(timed, readings.records)):
        for reason in timing.ladder:
            better, _, why = reason.partition(": ")
            found[better, why, timing.clock] += 1
    if not found:
        return None
    columns = (Column("better clock"), Column("why it did not fit"), Column("used instead"), Column("cells", "count"))
    rows: list[tuple[Value, ...]] = [(*map(words.plain, names), count) for names, count in found.most_common(_MOST_REASONS)]
    return Table("ladder", "Clocks that did not fit", columns, rows, total_rows=len(found))


def _telemetry(readings: Readings) -> Table | None:
    """Ranges over the cells of each device."""
    rows: list[tuple[Value, ...]] = []
    for device in dict.fromkeys(record.cell.device for record in readings.records):
        cells = [record for record in readings.records if record.cell.device == device and timed(record) is not None]
        for what, show, read in _READ:
            values = [list(read(record)) for record in cells]
            every = sorted(value for found in values for value in found)
            if every:
                rows.append((device, what, show(every[0]), show(every[-1]), sum(bool(found) for found in values)))
        reasons = Counter(reason for record in cells for reason in {r for look in _looks(record) for r in look.reasons or ()})
        rows += [(device, f"clocks held down: {words.plain(name)}", None, None, count) for name, count in reasons.most_common()]
    if not rows:
        return None
    columns = (Column("device"), Column("what"), Column("lowest"), Column("highest"), Column("cells", "count"))
    return Table(
        "telemetry", "What went on beside", columns, rows, "Read before, between and after samples, never inside a timed window."
    )


def _looks(record: Record) -> Sequence[GpuLook]:
    return () if record.telemetry is None else record.telemetry.looks


def _looked(name: str) -> Callable[[Record], Iterator[float]]:
    return lambda record: (value for look in _looks(record) if look.at_s >= 0 and (value := getattr(look, name)) is not None)


def _told(name: str) -> Callable[[Record], Iterator[float]]:
    return lambda record: (value for value in (getattr(record.telemetry, name, None),) if value is not None)


def _of_host(name: str) -> Callable[[Record], Iterator[float]]:
    """A share of the processor time that there was."""

    def read(record: Record) -> Iterator[float]:
        load = record.telemetry.host if record.telemetry is not None else None
        part = None if load is None else share(getattr(load, name), load.wall_s * load.processors)
        if part is not None:
            yield part

    return read


def _frequency(record: Record) -> Iterable[float]:
    load = record.telemetry.host if record.telemetry is not None else None
    return () if load is None else load.frequency_hz or ()


def _own_time(record: Record) -> Iterator[float]:
    part = None if record.timing is None else share(record.timing.cpu_s, record.timing.wall_s)
    if part is not None:
        yield part


def _counted(name: str) -> Callable[[Record], Iterable[float]]:
    return lambda record: getattr(record.timing, name) or ()


def _hertz(value: float) -> str:
    return format_rate(value, "Hz")


def _percent(value: float) -> str:
    return words.show(value, "percent")


_READ: tuple[tuple[str, Callable[[float], str], Callable[[Record], Iterable[float]]], ...] = (
    ("SM clock", _hertz, _looked("sm_hz")),
    ("memory clock", _hertz, _looked("memory_hz")),
    ("power", lambda value: format_count(value, "W"), _looked("power_w")),
    ("temperature", lambda value: f"{value:.0f} °C", _looked("temperature_c")),
    ("energy per call", lambda value: format_count(value, "J"), _told("energy_j")),
    ("other processes on the device", words.integer, _told("foreign_processes")),
    ("uncorrected memory errors", words.integer, _told("ecc_errors")),
    ("processor's frequency", _hertz, _frequency),
    ("own processor time, of wall time", _percent, _own_time),
    ("others' processor time, of what there was", _percent, _of_host("others_cpu_s")),
    ("taken by the hypervisor", _percent, _of_host("steal_s")),
    ("page faults per sample", words.integer, _counted("minor_faults")),
    ("involuntary switches per sample", words.integer, _counted("involuntary_switches")),
)
