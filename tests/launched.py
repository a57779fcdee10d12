"""Runs of one suite as they are stored: the same cells, launch after launch, with a known truth and a known spread between launches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fabench.analysis.launches import Launch
from fabench.schema import Environment, Record, Status
from fabench.store import RunFolder
from tests import synthetic

__all__ = ["changed", "environment", "floor", "launches", "run", "store", "stored"]

IMPLEMENTATIONS = ("factorized_plain", "sdpa")
SIZES = (1024, 2048, 4096)


def environment(minute: int = 0, commit: str = "a" * 12, **changes: Any) -> Environment:
    return replace(
        synthetic.environment(), started_at=f"2025-01-01T{minute // 60:02d}:{minute % 60:02d}:00Z", commit=commit, **changes
    )


def floor(share: float, name: str = "cpu") -> dict[str, Any]:
    """Devices whose noise sheet says that two launches of the same work differ by `share` at most."""
    devices = {key: dict(value) for key, value in synthetic.environment().devices.items()}
    devices[name]["noise"] = {"classes": {"0.002": {"floor": share}}}
    return devices


def run(
    seed: int = 0, spread: float = 0.02, factors: Mapping[str, float] | None = None, sizes: Sequence[int] = SIZES, **more: Any
) -> dict[str, Record]:
    """One launch of the suite. `factors` slow implementations down; `spread` is that of a launch's log medians."""
    found = synthetic.records(IMPLEMENTATIONS, n=sizes, seed=seed, noise=0.01, between=spread, failures=False, **more)
    slow = factors or {}
    return {record.cell.id: _slower(record, slow.get(record.cell.implementation, 1.0)) for record in found}


def _slower(record: Record, factor: float) -> Record:
    if record.timing is None or factor == 1.0:
        return record
    samples = tuple(factor * sample for sample in record.timing.samples_s)
    witness = record.timing.witness
    if witness is not None:
        witness = replace(witness, samples_s=tuple(factor * sample for sample in witness.samples_s))
    seconds = {name: factor * getattr(record.timing, name) for name in ("cpu_s", "wall_s", "first_call_s")}
    return replace(record, timing=replace(record.timing, samples_s=samples, witness=witness, **seconds))


def launches(
    count: int, seed: int = 0, minute: int = 0, commit: str = "a" * 12, devices: Any = None, **more: Any
) -> list[Launch]:
    """`count` launches, a minute apart."""
    kept = {} if devices is None else {"devices": devices}
    return [
        Launch(f"run {minute + index}", environment(minute + index, commit, **kept), run(1000 * seed + index, **more))
        for index in range(count)
    ]


def changed(launch: Launch, cell: str, **fields: Any) -> Launch:
    """The launch with one record that says otherwise; a status other than ok takes its time away."""
    record = launch.records[cell]
    if fields.get("status", Status.OK) != Status.OK:
        fields = {"reason": "for a reason", "timing": None, "memory": None, "flop": None, **fields}
    return replace(launch, records={**launch.records, cell: replace(record, **fields)})


def store(folder: Path, found: Environment, records: Mapping[str, Record]) -> Path:
    """A run folder."""
    made = RunFolder.create(folder, found, b"", "cpu")
    for record in records.values():
        made.append(record)
    made.close()
    return made.path


def stored(folder: Path, found: Sequence[Launch]) -> list[Path]:
    """Run folders of these launches."""
    return [store(folder, one.environment, one.records) for one in found]
