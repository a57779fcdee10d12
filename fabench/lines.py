"""Append-only files of JSON lines: each line synced before the next, none ever edited.

A line that a crash tore, or that something corrupted, costs that line only: reading names it in a warning. A small reserve file keeps
room for the line in hand when the disk fills up.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TypeVar

from fabench.errors import StoreError
from fabench.schema import DecodeError, from_json, to_json

__all__ = ["LineFile", "parse_lines", "reason_of"]

_RESERVE = ".reserve"
_RESERVE_BYTES = 512 * 1024
T = TypeVar("T")


def reason_of(error: OSError) -> str:
    """What went wrong, in words."""
    return error.strerror or type(error).__name__


class LineFile:
    """A file that is being appended to. `again` is the command that goes on after the disk was full."""

    def __init__(self, path: Path, again: str) -> None:
        self.path, self._again = path, again
        self._reserve = path.parent / _RESERVE
        self._descriptor: int | None = None

    def open(self) -> None:
        """Gets ready to append. A torn last line is closed with a line break, not removed. Raises StoreError."""
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")
            self._reserve.write_bytes(b"\0" * _RESERVE_BYTES)
        except OSError as error:
            raise StoreError(
                f"can't write {self.path}: {reason_of(error)}; free space or choose another folder with --results DIR"
            ) from None

    def append(self, value: object, name: str) -> None:
        """Stores one value for good. On a full disk the reserve makes room for it, and StoreError then ends the run."""
        line = (to_json(value) + "\n").encode()
        try:
            self._write(line)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(f"can't write {self.path}: {reason_of(error)}") from None
            kept = self._write_from_reserve(line)
            what = "all records so far are stored" if kept else f"the record of {name} could not be stored, all earlier ones are"
            raise StoreError(f"disk full at {self.path.parent}: {what}; free space, then: {self._again}") from None

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def _write_from_reserve(self, line: bytes) -> bool:
        try:
            self._reserve.unlink()
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
            self._reserve.unlink(missing_ok=True)


def parse_lines(cls: type[T], data: bytes, name: str) -> tuple[list[T], list[str]]:
    """What the lines hold, and a warning for each that can't be read."""
    found: list[T] = []
    bad: list[tuple[int, str]] = []
    lines = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(from_json(cls, line))
        except DecodeError as error:
            torn = number == len(lines)
            bad.append((number, "torn by an interruption" if torn else str(error)[:120]))
    warnings = [f"{name} line {number} is left out: {why}" for number, why in bad[:5]]
    if len(bad) > 5:
        warnings.append(f"{name}: {len(bad) - 5} more lines are left out")
    return found, warnings
