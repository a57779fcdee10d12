"""Errors that a user can cause. Each is one line that says what is wrong and how to mend it.

    FabenchError
    ├── UsageError          a wrong word on the command line or in a suite            exit 2
    │   └── SuiteError      a mistake in a suite's TOML: names file, key and mend     exit 2
    ├── StoreError          results that can't be read or written                     exit 4
    ├── DataError           a data set or weights that can't be read                  exit 4
    ├── WorkerError         the measuring side can't be started or does not answer    exit 4
    ├── TrainingError       a training that can't go on: its loss is not finite       exit 1
    └── NotComparable       suite, code or environment differ                         exit 5

The exit codes have one meaning each across all commands (`ExitCode`).
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "DataError", "ExitCode", "FabenchError", "NotComparable", "StoreError", "SuiteError", "TrainingError", "UsageError", "WorkerError",
]  # fmt: skip


class ExitCode(IntEnum):
    """What a command's exit status says, the same for every command."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    UNDECIDED = 3
    NOT_MEASURED = 4
    NOT_COMPARABLE = 5
    INTERRUPTED = 130


class FabenchError(Exception):
    """Base of all errors with a message for the user: one line, no traceback."""

    exit_code = ExitCode.FAILED


class UsageError(FabenchError):
    """Asked in a way that can't be answered."""

    exit_code = ExitCode.USAGE


class SuiteError(UsageError):
    """A mistake in a suite: file, key, and how to mend it."""

    def __init__(self, file: str, key: str, problem: str, mend: str = "") -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(f"{where}: {problem}" + (f"; {mend}" if mend else ""))


class StoreError(FabenchError):
    """Results that can't be read or written."""

    exit_code = ExitCode.NOT_MEASURED


class DataError(FabenchError):
    """A data set or weights that can't be read: names the file, and what is wrong with it."""

    exit_code = ExitCode.NOT_MEASURED


class WorkerError(FabenchError):
    """The measuring side can't be started, or ended without an answer."""

    exit_code = ExitCode.NOT_MEASURED


class TrainingError(FabenchError):
    """A training that can't go on."""


class NotComparable(FabenchError):
    """Suite, code or environment differ from the one that results were measured with."""

    exit_code = ExitCode.NOT_COMPARABLE
