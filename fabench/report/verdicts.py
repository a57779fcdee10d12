"""What a gate and a comparison say alike: names of cells, findings, and the frame of the one JSON document that all else is rendered from.

A finding is one line of a verdict: its `name` (a cell's id, or what else was compared), its `outcome` and its `text`.

    worse          slower, or more of what is counted
    not measured   a crash, a wrong result, a side that does not run: no verdict on speed
    undecided      the interval reaches over the smallest change that matters
    not compared   one side does not have it, or neither can do it: nothing to say
    fine           equivalent, faster, or as before
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fabench import __version__
from fabench.case import SHORT_DTYPE
from fabench.report import words

__all__ = ["Ending", "Finding", "frame", "names", "percent", "together"]

VERSION = 1
_MANY = 4


class _Named(Protocol):
    @property
    def cell(self) -> str: ...
    @property
    def implementation(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def mode(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verdict; see above."""

    name: str
    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Ending:
    """How the command ends: the exit code that the verdicts mean, whether undecided ones fail, and whether it exits with 0 all the same."""

    exit_code: int
    fail_undecided: bool = False
    advisory: bool = False


def names(cells: Sequence[_Named]) -> dict[str, str]:
    """Short names by cell id, `factorized, n=4096, fp32, fwd`; the id itself where two cells would have the same."""
    taken = Counter(map(_short, cells))
    return {cell.cell: words.plain(_short(cell) if taken[_short(cell)] == 1 else cell.cell) for cell in cells}


def _short(cell: _Named) -> str:
    return f"{cell.implementation}, n={cell.n}, {SHORT_DTYPE.get(cell.dtype, cell.dtype)}, {cell.mode}"


def percent(share: float) -> str:
    """`8.1 %`, without a sign."""
    return f"{100 * abs(share):.1f} %"


def together(reasons: Sequence[str | None]) -> dict[str, int]:
    """Reasons that many cells have in common, and how many: said once."""
    counts = Counter(reason for reason in reasons if reason is not None)
    return {reason: count for reason, count in counts.items() if count >= _MANY}


def frame(
    kind: str, title: str, headline: str, ending: Ending, findings: Sequence[Finding], remarks: Sequence[str],
    columns: Sequence[str], rows: Sequence[Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    """What every document of verdicts has, as plain JSON values. `columns` and `rows`: the table of all cells, as it is shown."""
    return {
        "format": kind, "version": VERSION, "fabench": __version__, "title": title, "headline": headline,
        "exit_code": int(ending.exit_code), "fail_undecided": ending.fail_undecided, "advisory": ending.advisory,
        "findings": [{"name": one.name, "outcome": one.outcome, "text": words.plain(one.text)} for one in findings],
        "remarks": list(remarks), "columns": list(columns), "rows": [list(row) for row in rows],
    }  # fmt: skip
