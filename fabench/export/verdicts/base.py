"""Verdicts as their JSON document tells them, and the contract of a form: one file in this folder, found by its file name, which defines

    write(told: Told) -> bytes      the whole text; a pure function

Nothing but the document is known here: what a job prints at once and what another renders from the stored file is the same.

    outcome         JUnit               annotation
    worse           failure             error
    not measured    error               error
    undecided       skipped; failure    warning; error        (the latter with --inconclusive=fail)
    not compared    skipped             none
    fine            passed              none

With --advisory nothing is an error to GitHub, since nothing is meant to stop a change; JUnit tells outcomes and stays the same.
"""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from fabench.codec import DecodeError, decode
from fabench.errors import StoreError, UsageError

__all__ = ["Finding", "Told", "is_verdicts", "load", "read", "renderers"]

_FOLDER = Path(__file__).parent
_FORMATS, _VERSION = ("fabench-gate", "fabench-compare"), 1
_OUTCOMES = ("worse", "not measured", "undecided", "not compared", "fine")


@dataclass(frozen=True, slots=True)
class Finding:
    """A cell, an exponent or a kernel: its `outcome` is one of those above."""

    name: str
    outcome: str
    text: str

    def __post_init__(self) -> None:
        if self.outcome not in _OUTCOMES:
            raise ValueError(f"outcome {self.outcome[:20]!r} is not known")


@dataclass(frozen=True, slots=True)
class Told:
    """What all documents of verdicts have. `title`: what was done, "gate ci"; `columns` and `rows`: the table of all cells."""

    title: str
    headline: str
    exit_code: int
    fail_undecided: bool
    advisory: bool
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def having(self, *outcomes: str) -> list[Finding]:
        """Findings with one of these outcomes."""
        return [one for one in self.findings if one.outcome in outcomes]

    def fails(self, finding: Finding) -> bool:
        """Whether it is to stop a change by itself, or was not measured."""
        return finding.outcome in ("worse", "not measured") or (finding.outcome == "undecided" and self.fail_undecided)


def counted(findings: Sequence[Finding]) -> str:
    """`2 worse, 1 undecided`, the most frequent first."""
    return ", ".join(f"{count} {word}" for word, count in Counter(one.outcome for one in findings).most_common())


def is_verdicts(data: bytes) -> bool:
    """Whether a JSON file's first bytes are those of such a document."""
    return any(f'"{name}"'.encode() in data[:200] for name in _FORMATS)


def read(document: Any, where: str) -> Told:
    """A document, or the bytes of one. Raises StoreError where it is none."""
    try:
        found = json.loads(document) if isinstance(document, bytes) else document
        if not isinstance(found, dict) or found.get("format") not in _FORMATS:
            raise DecodeError("its format is another one")
        if found.get("version") != _VERSION:
            raise DecodeError(f"version {str(found.get('version'))[:20]} is not known here, only {_VERSION}")
        wanted = [field.name for field in fields(Told)]
        return decode(Told, {name: found[name] for name in wanted if name in found})
    except (ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:160]
        raise StoreError(f"{where} holds no verdicts of `fabench gate` or `compare`: {said}") from None


@cache
def renderers() -> tuple[str, ...]:
    """Names of all forms."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("[a-z]*.py") if path.stem != "base"))


def load(name: str) -> Callable[[Told], bytes]:
    """The form with this name. Raises UsageError for a name that no file has."""
    if name not in renderers():
        raise UsageError(f"verdicts are not written as {name[:40]!r}; there are {', '.join(renderers())}")
    write: Callable[[Told], bytes] = importlib.import_module(f"fabench.export.verdicts.{name}").write
    return write
