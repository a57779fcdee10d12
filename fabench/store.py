"""Run folders: `results/<utc>-<suite>-<device>/` with environment.json, suite.toml and records.jsonl.

Records are appended and synced one by one, and never edited. A line that a crash tore, or that something corrupted, costs that line only:
reading names it in a warning. A small reserve file keeps room for the record in hand when the disk fills up.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fabench.errors import StoreError
from fabench.schema import DecodeError, Environment, Record, from_json, to_json

__all__ = ["Run", "RunFolder", "find_runs", "read_run"]

_ENVIRONMENT, _SUITE, _RECORDS, _RESERVE = "environment.json", "suite.toml", "records.jsonl", ".reserve"
_RESERVE_BYTES = 512 * 1024


@dataclass(frozen=True)
class Run:
    """A stored run as read: records in measured order, the last one of each cell; warnings name what could not be read."""

    path: Path
    environment: Environment
    suite_text: bytes
    records: tuple[Record, ...]
    warnings: tuple[str, ...]


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


class RunFolder:
    """A run folder that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

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
                f"can't write results to {results}: {_reason(error)}; choose another folder with --results DIR"
            ) from None
        folder = cls(path)
        folder.open()
        return folder

    def open(self) -> None:
        """Gets ready to append. A torn last line is closed with a line break, not removed."""
        records = self.path / _RECORDS
        try:
            self._descriptor = os.open(records, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
            (self.path / _RESERVE).write_bytes(b"\0" * _RESERVE_BYTES)
        except OSError as error:
            raise StoreError(
                f"can't write {records}: {_reason(error)}; free space or choose another folder with --results DIR"
            ) from None

    def append(self, record: Record) -> None:
        """Stores one record for good. On a full disk the reserve makes room for it, and StoreError then ends the sweep."""
        line = (to_json(record) + "\n").encode()
        try:
            self._write(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(f"can't write {self.path / _RECORDS}: {_reason(error)}") from None
            kept = self._write_from_reserve(line)
            what = (
                "all records so far are stored"
                if kept
                else f"the record of {record.cell.id} could not be stored, all earlier ones are"
            )
            raise StoreError(f"disk full at {self.path}: {what}; free space, then: fabench sweep --resume {self.path}") from None

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def _write_from_reserve(self, line: bytes) -> bool:
        try:
            (self.path / _RESERVE).unlink()
            self._write(b"\n" + line)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Closes the file and gives the reserve back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with contextlib.suppress(OSError):
            (self.path / _RESERVE).unlink(missing_ok=True)


def _fresh(results: Path, stem: str) -> Path:
    for attempt in range(1, 1000):
        path = results / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise StoreError(f"{results} has a thousand runs called {stem}; choose another folder with --results DIR")


def _parse_lines(data: bytes, name: str) -> tuple[list[Record], list[str]]:
    records: list[Record] = []
    bad: list[tuple[int, str]] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(from_json(Record, line))
        except DecodeError as error:
            torn = number == len(lines)
            bad.append((number, "torn by an interruption" if torn else str(error)[:120]))
    warnings = [f"{name} line {number} is left out: {why}" for number, why in bad[:5]]
    if len(bad) > 5:
        warnings.append(f"{name}: {len(bad) - 5} more lines are left out")
    return records, warnings


def read_run(path: Path) -> Run:
    """A run folder as stored. Raises StoreError where it is none; unreadable lines become warnings."""
    try:
        environment = from_json(Environment, (path / _ENVIRONMENT).read_bytes())
        suite_text = (path / _SUITE).read_bytes() if (path / _SUITE).exists() else b""
        data = (path / _RECORDS).read_bytes() if (path / _RECORDS).exists() else b""
    except OSError as error:
        raise StoreError(
            f"{path} is no run folder ({_ENVIRONMENT}: {_reason(error)}); give a folder that a sweep wrote"
        ) from None
    except DecodeError as error:
        raise StoreError(f"{path / _ENVIRONMENT} can't be read: {str(error)[:160]}") from None
    records, warnings = _parse_lines(data, str(path / _RECORDS))
    latest = {record.cell.id: record for record in records}
    return Run(path, environment, suite_text, tuple(latest.values()), tuple(warnings))


def find_runs(results: Path) -> Sequence[Path]:
    """The run folders in `results`, oldest first."""
    try:
        return sorted(path.parent for path in results.glob(f"*/{_ENVIRONMENT}"))
    except OSError:
        return []
