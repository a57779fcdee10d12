"""The contract of an export: one file in this folder, found by its file name (which is its name on the command line).

Each file defines

    write(bundle: Bundle) -> bytes      the whole document; a pure function
    SAYS_ENDINGS: bool                  whether a cell that ended without a time appears in it, with its reason

Names are cell ids. Times are medians with their 95 % interval (`median.median_interval`), and raw samples where the form has room. A
cell without a time is never written as 0: it is written in the form's own words for a failure, or left out and counted by the caller.
A time that no call can have taken (`analysis.evidence`: impossible) is no time.
"""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from fabench.analysis.evidence import Evidence, assess, timed
from fabench.analysis.physics import NO_FACTS, Facts, facts_of
from fabench.errors import UsageError
from fabench.median import median, median_interval
from fabench.schema import Cell, Environment, Record, Status, Timing

__all__ = ["Bundle", "Format", "Outcome", "Point", "document", "formats", "load", "parameters", "point"]

_FOLDER = Path(__file__).parent


class Outcome(StrEnum):
    """How a cell ended for whoever waits for a green light.

    REFUSED: unsupported, a status that the suite expects, or a result that is right with a time that can't be (peaks that were measured
    on a busy machine make such times too: no reason to call the change wrong).
    """

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    REFUSED = "refused"


@dataclass(frozen=True)
class Bundle:
    """What is exported: records with distinct cells, the environments they were measured in, the main one first.

    `expected`: by cell id, why the suite takes the status of its record for no failure. `origins`: by cell id, the environment of its
    record; needed where there are several.
    """

    records: Sequence[Record]
    environments: Sequence[Environment] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[str, Environment] = field(default_factory=dict)

    @property
    def environment(self) -> Environment | None:
        """The main one, None where none is known."""
        return self.environments[0] if self.environments else None

    def origin(self, record: Record) -> Environment | None:
        """The environment that the record was measured in, None where it is not known."""
        return self.environment if len(self.environments) == 1 else self.origins.get(record.cell.id)

    @cached_property
    def _evidence(self) -> dict[str, Evidence]:
        known: dict[tuple[int, str], Facts] = {}
        found = {}
        for record in self.records:
            origin, device = self.origin(record), record.cell.device
            if (id(origin), device) not in known:
                known[id(origin), device] = NO_FACTS if origin is None else facts_of((origin,), device)
            found[record.cell.id] = assess(record, known[id(origin), device])
        return found

    def timed(self, record: Record) -> Timing | None:
        """The record's timing where it may be quoted: not that of a cell that failed later on, nor one that no call can have taken."""
        return timed(record) if self._evidence[record.cell.id].impossible is None else None

    @property
    def measured(self) -> list[tuple[Record, Timing]]:
        """The records with a time to quote."""
        return [(record, timing) for record in self.records if (timing := self.timed(record)) is not None]

    @property
    def untimed(self) -> list[Record]:
        """The others."""
        return [record for record in self.records if self.timed(record) is None]

    def outcome(self, record: Record) -> Outcome:
        """What the record is to a continuous check."""
        if record.status == Status.OK:
            return Outcome.PASSED if self._evidence[record.cell.id].impossible is None else Outcome.REFUSED
        if record.status == Status.SKIPPED:
            return Outcome.SKIPPED
        return Outcome.REFUSED if record.status == Status.UNSUPPORTED or record.cell.id in self.expected else Outcome.FAILED

    def word(self, record: Record) -> str:
        """The status, or what it amounts to for a reader: `out of memory`, `impossible`, `not timed`."""
        if record.status != Status.OK:
            return record.status.replace("_", " ")
        if self._evidence[record.cell.id].impossible is not None:
            return "impossible"
        return "not timed" if timed(record) is None else "ok"

    def ending(self, record: Record) -> str:
        """Why there is no time, and what the suite says to it: `out of memory: in timing: ... (expected: the map does not fit)`."""
        reason = record.reason or self._evidence[record.cell.id].impossible or "the check alone was asked for"
        expected = self.expected.get(record.cell.id)
        return f"{self.word(record)}: {reason}" + (f" (expected: {expected})" if expected else "")

    def counted(self, records: Sequence[Record]) -> str:
        """`2 out of memory, 1 unsupported`, the most frequent first."""
        return ", ".join(f"{count} {word}" for word, count in Counter(map(self.word, records)).most_common())

    def facts(self, record: Record) -> dict[str, Any]:
        """What a reader wants beside the time, base units, without what is unknown. `check_error` is the worst tensor's."""
        origin, evidence = self.origin(record), self._evidence[record.cell.id]
        device = origin.devices.get(record.cell.device) if origin is not None else None
        timing, memory, check = record.timing, record.memory, record.check
        errors = [tensor.error for tensor in check.tensors if tensor.error is not None] if check is not None else []
        found = {
            "device": device.get("name") if isinstance(device, Mapping) else None,
            "clock": None if timing is None else timing.clock,
            "threads": None if timing is None else timing.threads,
            "samples": None if timing is None else len(timing.samples_s),
            "cache": None if timing is None else timing.cache,
            "evidence": evidence.grade,
            "warnings": ", ".join(evidence.codes) or None,
            "peak_bytes": None if memory is None else memory.peak_bytes,
            "delta_bytes": None if memory is None else memory.delta_bytes,
            "saved_bytes": None if memory is None else memory.saved_bytes,
            "energy_j": None if record.telemetry is None else record.telemetry.energy_j,
            "flop": record.flop,
            "check_error": max(errors, default=None),
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Format:
    """A form that another tool reads."""

    write: Callable[[Bundle], bytes]
    says_endings: bool


@cache
def formats() -> tuple[str, ...]:
    """Names of all formats."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[a-z]*.py") if path.stem != "base"))


def load(name: str) -> Format:
    """The format with this name. Raises UsageError for a name that no file has."""
    if name not in formats():
        raise UsageError(f"no format {name[:40]!r}; there are {', '.join(formats())}")
    module = importlib.import_module(f"fabench.export.{name}")
    return Format(module.write, module.SAYS_ENDINGS)


@dataclass(frozen=True, slots=True)
class Point:
    """Median seconds per call, and the ends of its 95 % interval; None where there are too few samples for one."""

    median_s: float
    low_s: float | None
    high_s: float | None


def point(timing: Timing) -> Point:
    """The point of a cell's samples."""
    low, high = median_interval(timing.samples_s)
    closed = math.isfinite(low) and math.isfinite(high)
    return Point(median(timing.samples_s), low if closed else None, high if closed else None)


def parameters(cell: Cell) -> dict[str, Any]:
    """The cell's axes by name, without those that do not apply. `case` is all of them but implementation and device."""
    case = cell.case
    axes = {item.name: getattr(case, item.name) for item in fields(case)}
    known = {name: value for name, value in axes.items() if value is not None}
    return {"implementation": cell.implementation, "device": cell.device, "case": case.label, **known}


def document(value: Any) -> bytes:
    """Strict JSON in ASCII: any text gets through any reader."""
    return (json.dumps(value, allow_nan=False, ensure_ascii=True, indent=1) + "\n").encode("ascii")
