"""Stored results as the command line names them: run folders, reports, pytest-benchmark files of ours, and several of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabench.cli._console import notes, safe
from fabench.codec import DecodeError
from fabench.environment import differing
from fabench.errors import NotComparable, StoreError, UsageError
from fabench.lines import reason_of
from fabench.schema import Environment, Record, from_json
from fabench.sheet import SheetFile
from fabench.store import find_runs, read_run

__all__ = ["SIDE", "Stored", "between", "of_one_code", "read", "read_sheets"]

SIDE = "A run folder, an HTML or JSON report, a pytest-benchmark file of fabench, a comma list of these, or a folder of runs."
_KERNELS = "kernels.json"
# What a change is about, and so may differ between two sides that are compared.
_CODE = ("fabench", "suite", "suite_hash", "code_hash")
# What only reads results, long after they were measured.
_READING = ("packages.pandas", "packages.scipy", "packages.matplotlib")


@dataclass(frozen=True)
class Stored:
    """One run: its records by cell id. `kernels`: sheets that lie in its folder, if any."""

    name: str
    environment: Environment
    records: Mapping[str, Record]
    kernels: Path | None = None


def read(text: str) -> list[Stored]:
    """All runs that `text` names, in its order. Raises StoreError, and NotComparable for a file that mixes environments."""
    parts = [text] if Path(text).exists() else [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError("an empty name where a run was expected; name a run folder or a report")
    return [run for part in parts for run in _read(Path(part))]


def _read(path: Path) -> list[Stored]:
    if path.is_file():
        return _launches(path, *_file(path))
    inside = [] if (path / "environment.json").exists() else find_runs(path)
    return [_folder(run) for run in (inside or [path])]


def _folder(path: Path) -> Stored:
    run = read_run(path)
    for warning in run.warnings:
        notes.print(f"[yellow]warning:[/] {safe(warning)}")
    sheets = path / _KERNELS
    records = {record.cell.id: record for record in run.records}
    return Stored(str(path), run.environment, records, sheets if sheets.is_file() else None)


def _file(path: Path) -> tuple[list[Record], list[Environment]]:
    try:
        head = path.read_bytes()[:1000] if path.suffix.lower() == ".json" else b""
    except OSError as error:
        raise StoreError(f"can't read {path}: {reason_of(error)}") from None
    if head and b'"fabench-report"' not in head:
        from fabench.export import pytest_benchmark

        return pytest_benchmark.read(path.read_bytes(), str(path))
    from fabench.report import read_report

    return read_report(path)


def _launches(path: Path, records: Sequence[Record], environments: Sequence[Environment]) -> list[Stored]:
    """A file of several runs does not say which record is whose: the k-th record of a cell is taken for the k-th run's."""
    if not environments or not records:
        raise StoreError(f"{path}: no {'records' if environments else 'environment'}, so there is nothing to compare")
    for other in environments[1:]:
        if found := _fields(environments[0], other):
            raise NotComparable(
                f"{path} holds runs that differ in {found[0][0]}, and not which record is whose: give their run folders"
            )
    runs: list[dict[str, Record]] = []
    for record in records:
        turn = sum(record.cell.id in run for run in runs)
        if turn == len(runs):
            runs.append({})
        runs[turn][record.cell.id] = record
    return [Stored(str(path), environments[min(turn, len(environments) - 1)], run) for turn, run in enumerate(runs)]


def _fields(old: Environment, new: Environment) -> list[tuple[str, Any, Any]]:
    return [one for one in differing(old, new) if one[0] not in _READING]


def of_one_code(side: str, runs: Sequence[Stored]) -> None:
    """Raises NotComparable where runs are no launches of the same thing."""
    for run in runs[1:]:
        if found := _fields(runs[0].environment, run.environment):
            name, old, new = found[0]
            raise NotComparable(
                f"{side}: {runs[0].name} and {run.name} are no launches of the same thing: {name} is {old} and {new}"
            )


def between(old: Environment, new: Environment) -> list[tuple[str, Any, Any]]:
    """What of the environments differs beside the code that is compared."""
    return [one for one in _fields(old, new) if one[0] not in _CODE]


def read_sheets(path: Path) -> SheetFile:
    """Kernel sheets. Raises StoreError."""
    try:
        return from_json(SheetFile, path.read_bytes())
    except OSError as error:
        raise StoreError(f"can't read {path}: {reason_of(error)}; write one with `fabench inspect --write FILE`") from None
    except DecodeError as error:
        raise StoreError(f"{path} is no file of kernel sheets: {' '.join(str(error).split())[:160]}") from None
