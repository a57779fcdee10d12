"""Every cell with the command that measures it again; and those that gave no time, with reasons.

A time that is impossible is no time here: its status says so, and its reason names it beside what it would claim.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fabench.analysis.frame import IMPOSSIBLE
from fabench.report import words
from fabench.report.blocks import Block, Column, Section, Table, Text, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import tabulate
from fabench.schema import STATUSES

__all__ = ["counts", "failures", "section"]

# (title, kind, column of the frame)
_COLUMNS = (
    ("implementation", "text", "implementation"), ("status", "status", "status"), ("evidence", "grade", "grade"), ("n", "count", "n"),
    ("m", "count", "m"), ("space", "text", "space"), ("device", "text", "device"), ("batch", "integer", "batch"), ("heads", "integer", "heads"),
    ("d_k", "integer", "d_k"), ("d_v", "integer", "d_v"), ("channels", "integer", "channels"), ("dtype", "text", "dtype"),
    ("mode", "text", "mode"), ("normalisation", "text", "normalisation"), ("scale", "text", "scale"), ("mask", "text", "mask"),
    ("scope", "text", "scope"), ("function", "text", "function"),
    ("time", "duration", "time_s"), ("95 % low", "duration", "time_low_s"), ("95 % high", "duration", "time_high_s"),
    ("warnings", "text", "warnings"), ("samples", "integer", "samples"), ("stopped by", "text", "stopped_by"), ("clock", "text", "clock"),
    ("cache", "text", "cache"), ("launch", "duration", "launch_s"), ("first call", "duration", "first_call_s"),
    ("compile", "duration", "compile_s"), ("autotune", "duration", "autotune_s"),
    ("memory", "bytes", "delta_bytes"), ("predicted", "bytes", "predicted_delta_bytes"), ("saved", "bytes", "saved_bytes"),
    ("FLOP", "flop", "flop"), ("error", "number", "error"), ("allowed", "number", "tolerance"), ("reason", "text", "reason"),
    ("configuration", "text", "configuration"),
)  # fmt: skip
_ALWAYS = {"implementation", "status", "grade", "warnings", "n", "time_s", "delta_bytes"}
_IMPOSSIBLE = IMPOSSIBLE.upper()


def section(readings: Readings) -> Section | None:
    """One table of all records. Columns that say the same everywhere are said once, above it."""
    if not readings.records:
        return None
    total = len(readings.records)
    columns, values, constant = [], [], []
    for title, kind, name in _COLUMNS:
        found = _statuses(readings) if name == "status" else [_clean(value) for value in readings.frame[name].tolist()]
        if name == "m" and found == [_clean(value) for value in readings.frame["n"].tolist()]:
            constant.append("m = n")
            continue
        same = found.count(found[0]) == total
        if same and total > 1 and name not in _ALWAYS:
            if found[0] not in (None, 0, ""):
                constant.append(f"{title} {words.show(found[0], kind)}")
            continue
        columns.append(Column(title, kind))
        values.append(found)
    columns.append(Column("measure it again", "code"))
    values.append([words.plain(readings.reproduce(record)) for record in readings.records])
    note = "The same for every cell: " + ", ".join(constant) + "." if constant else ""
    table = Table("cells", "Every cell", tuple(columns), list(zip(*values, strict=True)), note, filterable=True)
    return Section("cells", "Every cell", "Medians with 95 % intervals. Sort by a column's head, filter by any text.", (table,))


def _statuses(readings: Readings) -> list[Value]:
    """The status of each cell; IMPOSSIBLE where its time can't be."""
    return [
        record.status if evidence.impossible is None else _IMPOSSIBLE
        for record, evidence in zip(readings.records, readings.evidence, strict=True)
    ]


def _clean(value: object) -> Value:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, (str, int, float)) else str(value)


def counts(readings: Readings) -> list[tuple[str, int]]:
    """How many cells ended in which way, all statuses that occur, in the order of the schema."""
    found = Counter(record.status for record in readings.records)
    return [(status, found[status]) for status in STATUSES if found[status]]


def failures(readings: Readings) -> Section | None:
    """Cells without a time, equal reasons together."""
    if not readings.records:
        return None
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    columns_ = (readings.frame[name].tolist() for name in ("implementation", "setting", "reason", "n"))
    for status, *rest, n in zip(_statuses(readings), *columns_, strict=True):
        if status != "ok":
            groups.setdefault((str(status), *rest), []).append(n)
    summary = ", ".join(f"{count:,} {words.status_words(status)}" for status, count in counts(readings))
    blocks: list[Block] = []
    if groups:
        columns = (
            Column("status", "status"),
            Column("implementation"),
            Column("n"),
            Column("cells", "count"),
            Column("reason"),
            Column("setting"),
        )
        order = {status: index for index, status in enumerate((_IMPOSSIBLE, *STATUSES))}
        rows: list[tuple[Value, ...]] = [
            (status, name, _sizes(sizes), len(sizes), reason, setting)
            for (status, name, setting, reason), sizes in sorted(
                groups.items(), key=lambda item: (order[item[0][0]] == order["skipped"], order[item[0][0]])
            )
        ]
        blocks.append(tabulate("failures", "Cells without a time", columns, rows, place=2))
    else:
        blocks.append(Text(("Every cell gave a time.",)))
    return Section("failures", "Failures and skips", f"Of {len(readings.records):,} cells: {summary}.", tuple(blocks))


def _sizes(sizes: Sequence[int]) -> str:
    known = sorted(set(sizes))
    return ", ".join(f"{n:,}" for n in known) if len(known) <= 8 else f"{len(known)} sizes, {known[0]:,} to {known[-1]:,}"
