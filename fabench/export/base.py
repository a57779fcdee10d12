"""The contract of an export: one file in this folder, found by its file name (which is its name on the command line).

Each file defines

    write(bundle: Bundle) -> bytes      the whole document; a pure function
    SAYS_ENDINGS: bool                  whether a cell that ended without a time appears in it, with its reason

Names are cell ids. Times are medians with their 95 % interval (`median.median_interval`), and raw samples where the form has room. A
cell without a time is never written as 0: it is written in the form's own words for a failure, or left out and counted by the caller.
"""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from fabench.errors import UsageError
from fabench.median import median, median_interval
from fabench.schema import Cell, Environment, Record, Status, Timing

__all__ = [
    "Bundle",
    "Format",
    "Outcome",
    "Point",
    "counted",
    "document",
    "facts",
    "formats",
    "load",
    "parameters",
    "point",
    "untimed",
    "why",
]

_FOLDER = Path(__file__).parent


class Outcome(StrEnum):
    """How a cell ended for whoever waits for a green light. REFUSED: unsupported, or a status that the suite expects."""

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

    def facts(self, record: Record) -> dict[str, Any]:
        """`facts` of the record in its own environment."""
        return facts(record, self.origin(record))

    def origin(self, record: Record) -> Environment | None:
        """The environment that the record was measured in, None where it is not known."""
        return self.environment if len(self.environments) == 1 else self.origins.get(record.cell.id)

    def outcome(self, record: Record) -> Outcome:
        """What the record is to a continuous check."""
        if record.status == Status.OK:
            return Outcome.PASSED
        if record.status == Status.SKIPPED:
            return Outcome.SKIPPED
        return Outcome.REFUSED if record.status == Status.UNSUPPORTED or record.cell.id in self.expected else Outcome.FAILED

    def ending(self, record: Record) -> str:
        """`why`, and what the suite says to it: `out of memory: in timing: ... (expected: the map does not fit)`."""
        expected = self.expected.get(record.cell.id)
        return why(record) + (f" (expected: {expected})" if expected else "")


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


def timed(record: Record) -> Timing | None:
    """The record's timing where it may be quoted: not that of a cell that failed later on."""
    return record.timing if record.status == Status.OK and record.timing is not None and record.timing.samples_s else None


def untimed(records: Sequence[Record]) -> list[Record]:
    """The records without a time to quote."""
    return [record for record in records if timed(record) is None]


def why(record: Record) -> str:
    """Why a record has no time: `out of memory: in timing: ...`."""
    if record.status == Status.OK:
        return "checked, not timed"
    return f"{record.status.replace('_', ' ')}: {record.reason}"


def counted(records: Sequence[Record]) -> str:
    """`2 out of memory, 1 unsupported`, the most frequent first."""
    names = Counter("not timed" if record.status == Status.OK else record.status.replace("_", " ") for record in records)
    return ", ".join(f"{count} {name}" for name, count in names.most_common())


def parameters(cell: Cell) -> dict[str, Any]:
    """The cell's axes by name, without those that do not apply. `case` is all of them but implementation and device."""
    case = cell.case
    axes = {item.name: getattr(case, item.name) for item in fields(case)}
    known = {name: value for name, value in axes.items() if value is not None}
    return {"implementation": cell.implementation, "device": cell.device, "case": case.label, **known}


def facts(record: Record, environment: Environment | None) -> dict[str, Any]:
    """What a reader wants beside the time, base units, without what is unknown."""
    device = environment.devices.get(record.cell.device) if environment is not None else None
    timing, memory, check = record.timing, record.memory, record.check
    errors = [tensor.error for tensor in check.tensors if tensor.error is not None] if check is not None else []
    found = {
        "device": device.get("name") if isinstance(device, Mapping) else None,
        "clock": None if timing is None else timing.clock,
        "threads": None if timing is None else timing.threads,
        "samples": None if timing is None else len(timing.samples_s),
        "stopped_by": None if timing is None else timing.stopped_by,
        "cache": None if timing is None else timing.cache,
        "peak_bytes": None if memory is None else memory.peak_bytes,
        "delta_bytes": None if memory is None else memory.delta_bytes,
        "saved_bytes": None if memory is None else memory.saved_bytes,
        "energy_j": None if record.telemetry is None else record.telemetry.energy_j,
        "flop": record.flop,
        "check_error": max(errors, default=None),
    }
    return {name: value for name, value in found.items() if value is not None}


def document(value: Any) -> bytes:
    """Strict JSON in ASCII: any text gets through any reader."""
    return (json.dumps(value, allow_nan=False, ensure_ascii=True, indent=1) + "\n").encode("ascii")
