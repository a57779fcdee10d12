"""Run folders: `results/<utc>-<suite>-<device>/` with environment.json, suite.toml and records.jsonl; and gates', with gate.json and pairs.jsonl.

Records are appended and synced one by one, and never edited (`fabench.lines`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fabench.errors import StoreError
from fabench.lines import LineFile, parse_lines, reason_of
from fabench.paired import GateRun, Paired
from fabench.schema import DecodeError, Environment, Record, from_json, to_json

__all__ = ["Gate", "GateFolder", "Run", "RunFolder", "find_gates", "find_runs", "read_gate", "read_run"]

_ENVIRONMENT, _SUITE, _RECORDS = "environment.json", "suite.toml", "records.jsonl"
_GATE, _PAIRS = "gate.json", "pairs.jsonl"


@dataclass(frozen=True)
class Run:
    """A stored run as read: records in measured order, the last one of each cell; warnings name what could not be read."""

    path: Path
    environment: Environment
    suite_text: bytes
    records: tuple[Record, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Gate:
    """A stored gate as read: the last `Paired` of each cell and pair, in measured order."""

    path: Path
    run: GateRun
    suite_text: bytes
    pairs: tuple[Paired, ...]
    warnings: tuple[str, ...]


class RunFolder:
    """A run folder that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path / _RECORDS, f"fabench sweep --resume {path}")

    @classmethod
    def create(cls, results: Path, environment: Environment, suite_text: bytes, device: str) -> RunFolder:
        """A new folder in `results`. Raises StoreError where it can't be written."""
        heads = {_SUITE: suite_text, _ENVIRONMENT: to_json(environment).encode() + b"\n"}
        folder = cls(_create(results, environment, (environment.suite, device), heads))
        folder.open()
        return folder

    def open(self) -> None:
        """Gets ready to append. Raises StoreError."""
        self._lines.open()

    def append(self, record: Record) -> None:
        """Stores one record for good. Raises StoreError."""
        self._lines.append(record, record.cell.id)

    def close(self) -> None:
        """Closes the file."""
        self._lines.close()


class GateFolder:
    """A gate's folder that is being written: `gate.json`, `suite.toml` and `pairs.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path / _PAIRS, f"fabench gate --resume {path}")

    @classmethod
    def create(cls, results: Path, run: GateRun, suite_text: bytes, kind: str) -> GateFolder:
        """A new folder in `results`; `kind` is a part of its name. Raises StoreError where it can't be written."""
        heads = {_SUITE: suite_text, _GATE: to_json(run).encode() + b"\n"}
        folder = cls(_create(results, run.environment, (kind, run.environment.suite), heads))
        folder.open()
        return folder

    def open(self) -> None:
        """Gets ready to append. Raises StoreError."""
        self._lines.open()

    def append(self, found: Paired) -> None:
        """Stores a cell's turns for good. Raises StoreError."""
        self._lines.append(found, found.cell.id)

    def close(self) -> None:
        """Closes the file."""
        self._lines.close()


def read_gate(path: Path) -> Gate:
    """A gate's folder as stored. Raises StoreError where it is none; unreadable lines become warnings."""
    try:
        run = from_json(GateRun, (path / _GATE).read_bytes())
        suite_text = (path / _SUITE).read_bytes()
        data = (path / _PAIRS).read_bytes() if (path / _PAIRS).exists() else b""
    except OSError as error:
        raise StoreError(f"{path} is no gate's folder ({_GATE}: {reason_of(error)}); give one that a gate wrote") from None
    except DecodeError as error:
        raise StoreError(f"{path / _GATE} can't be read: {str(error)[:160]}") from None
    pairs, warnings = parse_lines(Paired, data, str(path / _PAIRS))
    latest = {(found.cell.id, found.pair): found for found in pairs}
    return Gate(path, run, suite_text, tuple(latest.values()), tuple(warnings))


def find_gates(results: Path) -> Sequence[Path]:
    """The gates' folders in `results`, oldest first."""
    try:
        return sorted(path.parent for path in results.glob(f"*/{_GATE}"))
    except OSError:
        return []


def _create(results: Path, environment: Environment, names: Sequence[str], files: Mapping[str, bytes]) -> Path:
    """A new folder called by time and `names`, with `files`."""
    stamp = re.sub(r"[^0-9TZ]", "", environment.started_at)
    stem = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in (stamp, *names))
    try:
        results.mkdir(parents=True, exist_ok=True)
        path = _fresh(results, stem)
        for name, data in files.items():
            (path / name).write_bytes(data)
    except OSError as error:
        raise StoreError(
            f"can't write results to {results}: {reason_of(error)}; choose another folder with --results DIR"
        ) from None
    return path


def _fresh(results: Path, stem: str) -> Path:
    for attempt in range(1, 1000):
        path = results / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise StoreError(f"{results} has a thousand runs called {stem}; choose another folder with --results DIR")


def read_run(path: Path) -> Run:
    """A run folder as stored. Raises StoreError where it is none; unreadable lines become warnings."""
    try:
        environment = from_json(Environment, (path / _ENVIRONMENT).read_bytes())
        suite_text = (path / _SUITE).read_bytes() if (path / _SUITE).exists() else b""
        data = (path / _RECORDS).read_bytes() if (path / _RECORDS).exists() else b""
    except OSError as error:
        raise StoreError(
            f"{path} is no run folder ({_ENVIRONMENT}: {reason_of(error)}); give a folder that a sweep wrote"
        ) from None
    except DecodeError as error:
        raise StoreError(f"{path / _ENVIRONMENT} can't be read: {str(error)[:160]}") from None
    records, warnings = parse_lines(Record, data, str(path / _RECORDS))
    latest = {record.cell.id: record for record in records}
    return Run(path, environment, suite_text, tuple(latest.values()), tuple(warnings))


def find_runs(results: Path) -> Sequence[Path]:
    """The run folders in `results`, oldest first."""
    try:
        return sorted(path.parent for path in results.glob(f"*/{_ENVIRONMENT}"))
    except OSError:
        return []
