"""Run folders: `results/<utc>-<suite>-<device>/` with environment.json, suite.toml and records.jsonl.

Records are appended and synced one by one, and never edited (`fabench.lines`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fabench.errors import StoreError
from fabench.lines import LineFile, parse_lines, reason_of
from fabench.schema import DecodeError, Environment, Record, from_json, to_json

__all__ = ["Run", "RunFolder", "find_runs", "read_run"]

_ENVIRONMENT, _SUITE, _RECORDS = "environment.json", "suite.toml", "records.jsonl"


@dataclass(frozen=True)
class Run:
    """A stored run as read: records in measured order, the last one of each cell; warnings name what could not be read."""

    path: Path
    environment: Environment
    suite_text: bytes
    records: tuple[Record, ...]
    warnings: tuple[str, ...]


class RunFolder:
    """A run folder that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = LineFile(path / _RECORDS, f"fabench sweep --resume {path}")

    @classmethod
    def create(cls, results: Path, environment: Environment, suite_text: bytes, device: str) -> RunFolder:
        """A new folder in `results`. Raises StoreError where it can't be written."""
        stamp = re.sub(r"[^0-9TZ]", "", environment.started_at)
        stem = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part) for part in (stamp, environment.suite, device))
        try:
            results.mkdir(parents=True, exist_ok=True)
            path = _fresh(results, stem)
            (path / _SUITE).write_bytes(suite_text)
            (path / _ENVIRONMENT).write_text(to_json(environment) + "\n", encoding="utf-8")
        except OSError as error:
            raise StoreError(
                f"can't write results to {results}: {reason_of(error)}; choose another folder with --results DIR"
            ) from None
        folder = cls(path)
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
