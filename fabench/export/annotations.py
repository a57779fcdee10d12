"""GitHub workflow commands, one a line: an error per failed cell, a warning per cell that was not run or ended as its suite expects.

Unsupported cells say something about the machine, not about the change: they are notices. A step shows ten annotations of a kind, so
ten lines of a kind are written, the last of which counts the rest.
Its documentation: GitHub Actions, "Workflow commands".
"""

from __future__ import annotations

from fabench.export._text import command_data, command_property
from fabench.export.base import Bundle, Outcome
from fabench.schema import Record, Status

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = True
_MOST = 10


def write(bundle: Bundle) -> bytes:
    """Nothing at all where every cell was measured."""
    kinds: dict[str, list[Record]] = {"error": [], "warning": [], "notice": []}
    for record in bundle.records:
        outcome = bundle.outcome(record)
        if outcome is Outcome.FAILED:
            kinds["error"].append(record)
        elif outcome is not Outcome.PASSED:
            kinds["notice" if record.status == Status.UNSUPPORTED else "warning"].append(record)
    lines = [line for kind, records in kinds.items() for line in _lines(kind, records, bundle)]
    return "".join(line + "\n" for line in lines).encode("utf-8")


def _lines(kind: str, records: list[Record], bundle: Bundle) -> list[str]:
    named = records if len(records) <= _MOST else records[: _MOST - 1]
    lines = [f"::{kind} title={command_property(record.cell.id)}::{command_data(bundle.ending(record))}" for record in named]
    if rest := records[len(named) :]:
        lines.append(f"::{kind} title=fabench::{command_data(f'and {len(rest)} more cells: {bundle.counted(rest)}')}")
    return lines
