"""The contract of a format: one file in this folder, found by its file name (which is its name on the command line).

Each file defines

    write(report: Report, bundle: Bundle, stem: Path) -> list[Path]     writes `stem` with its own endings, gives what it wrote

All writing goes through `save`: a file appears whole or not at all, and what goes wrong is one line.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias, cast

import pandas as pd

from fabench.analysis.evidence import Evidence
from fabench.errors import StoreError, UsageError
from fabench.report.blocks import Report
from fabench.schema import Environment, Record

__all__ = ["Bundle", "Write", "formats", "load", "safe_name", "save", "with_ending"]

_FOLDER = Path(__file__).parent
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


@dataclass(frozen=True)
class Bundle:
    """What a report was made from, and the evidence of each record."""

    records: Sequence[Record]
    environments: Sequence[Environment]
    evidence: Sequence[Evidence]
    frame: pd.DataFrame


Write: TypeAlias = Callable[[Report, Bundle, Path], list[Path]]


@cache
def formats() -> tuple[str, ...]:
    """Names of all formats."""
    names = (path.stem for path in _FOLDER.glob("*.py"))
    return tuple(sorted(name for name in names if not name.startswith("_") and name != "base"))


def load(name: str) -> Write:
    """How the format `name` is written. Raises UsageError for a name that no file has."""
    if name not in formats():
        raise UsageError(f"no format {name[:40]!r}; there are {', '.join(formats())}")
    return cast(Write, importlib.import_module(f"fabench.report.formats.{name}").write)


def safe_name(name: str) -> str:
    """A file name made of `name` that stays in its folder on every system."""
    cleaned = _UNSAFE.sub("-", name).strip(".-")[:100] or "report"
    return f"_{cleaned}" if _RESERVED.fullmatch(cleaned) else cleaned


def with_ending(stem: Path, ending: str) -> Path:
    """`stem` followed by `ending`, dots in the stem kept."""
    return stem.with_name(stem.name + ending)


def save(path: Path, content: str | bytes) -> Path:
    """Writes a file whole: beside its place first, then moved there. Raises StoreError."""
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise StoreError(
            f"can't write {path}: {error.strerror or type(error).__name__}; free space or choose another folder"
        ) from None
    return path


@cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
