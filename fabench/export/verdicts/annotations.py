"""Verdicts as GitHub workflow commands, one a line; see `base` for what becomes of an outcome.

A step shows ten annotations of a kind, so ten lines of a kind are written, the last of which counts the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from fabench.export._text import command_data, command_property
from fabench.export.verdicts.base import Finding, Told, counted

__all__ = ["write"]

_MOST = 10


def write(told: Told) -> bytes:
    """Nothing at all where nothing is worse or open."""
    kinds: dict[str, list[Finding]] = {"error": [], "warning": []}
    for finding in told.findings:
        if finding.outcome in ("worse", "not measured", "undecided"):
            kinds["error" if told.fails(finding) and not told.advisory else "warning"].append(finding)
    lines = [line for kind, findings in kinds.items() for line in _lines(kind, findings)]
    return "".join(line + "\n" for line in lines).encode("utf-8")


def _lines(kind: str, findings: Sequence[Finding]) -> list[str]:
    named = findings if len(findings) <= _MOST else findings[: _MOST - 1]
    lines = [f"::{kind} title={command_property(one.name)}::{command_data(one.text)}" for one in named]
    if rest := findings[len(named) :]:
        lines.append(f"::{kind} title=fabench::{command_data(f'and {len(rest)} more: {counted(rest)}')}")
    return lines
