"""Verdicts as Markdown for a CI step summary: headline, what is worse or open in sentences, and the table of all cells, below 1 MiB.

GitHub drops a step's summary above 1 MiB whole, so sentences and rows are cut before that, and the text says how many.
"""

from __future__ import annotations

from collections.abc import Sequence

from fabench.export._text import markdown
from fabench.export.step_summary import MOST_BYTES
from fabench.export.verdicts.base import Told

__all__ = ["write"]

_LONGEST = 600


def write(told: Told) -> bytes:
    """All of it; where it is too long, sentences have a third of the room and the table has the rest."""
    worse = told.having("worse")
    advisory = f"\n\nAdvisory: the exit code would be {told.exit_code}, it is 0." if told.advisory and told.exit_code else ""
    head = f"## fabench {markdown(told.title)}: {'worse' if worse else 'nothing worse'}\n\n{markdown(told.headline, _LONGEST)}{advisory}"
    sentences = [f"- {markdown(one.text, _LONGEST)}" for one in (*worse, *told.having("not measured", "undecided"))]
    remarks = [f"- {markdown(line, _LONGEST)}" for line in told.remarks]
    table = ["| " + " | ".join(markdown(value) for value in row) + " |" for row in told.rows]
    parts = [
        head,
        _cut(sentences, MOST_BYTES // 3, "sentences"),
        _cut(remarks, MOST_BYTES // 10, "remarks"),
        "| "
        + " | ".join(map(markdown, told.columns))
        + " |\n|"
        + " --- |" * len(told.columns)
        + "\n"
        + _cut(table, MOST_BYTES // 2, "rows"),
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode("utf-8")


def _cut(lines: Sequence[str], most_bytes: int, what: str) -> str:
    kept, used = 0, 0
    for line in lines:
        used += len(line.encode()) + 1
        if used > most_bytes:
            break
        kept += 1
    cut = f"\n\n*{kept} of {len(lines)} {what}; the JSON document has the rest.*" if kept < len(lines) else ""
    return "\n".join(lines[:kept]) + cut
