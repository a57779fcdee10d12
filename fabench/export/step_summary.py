"""Markdown for a CI step summary (`>> $GITHUB_STEP_SUMMARY`): what failed, what was measured, what was not, below 1 MiB.

GitHub drops a step's summary above 1 MiB whole, so rows are cut before that, and the text says how many.
"""

from __future__ import annotations

from collections.abc import Sequence

from fabench.export._text import markdown
from fabench.export.base import Bundle, Outcome, point
from fabench.schema import Record, Timing
from fabench.units import format_bytes, format_duration

__all__ = ["MOST_BYTES", "SAYS_ENDINGS", "write"]

SAYS_ENDINGS = True
# What is left of 1 MiB is for what other steps of the job write.
MOST_BYTES = 900_000
_SHARE = 3


def write(bundle: Bundle) -> bytes:
    """Headline and up to three tables."""
    failed = [record for record in bundle.records if bundle.outcome(record) is Outcome.FAILED]
    measured = bundle.measured
    rest = [record for record in bundle.records if bundle.timed(record) is None and bundle.outcome(record) is not Outcome.FAILED]
    parts = [_head(bundle, failed, len(measured), rest)]
    if failed:
        parts.append(_table("Failed", ("Cell", "Why"), [(record.cell.id, bundle.ending(record)) for record in failed]))
    if measured:
        columns = ("Cell", "Median", "95 % interval", "Peak memory", "Error")
        parts.append(_table("Measured", columns, [_measured(record, timing, bundle) for record, timing in measured]))
    if rest:
        parts.append(_table("Without a time", ("Cell", "Why"), [(record.cell.id, bundle.ending(record)) for record in rest]))
    return ("\n\n".join(parts) + "\n").encode("utf-8")


def _head(bundle: Bundle, failed: Sequence[Record], measured: int, rest: Sequence[Record]) -> str:
    environment = bundle.environment
    suite = "" if environment is None or not environment.suite else f": {markdown(environment.suite)}"
    verdict = f"{len(failed)} failed ({bundle.counted(failed)})" if failed else "nothing failed"
    others = f", {len(rest)} without a time ({bundle.counted(rest)})" if rest else ""
    where = "" if environment is None else "\n\nOn " + markdown(_where(bundle))
    return f"## fabench{suite}\n\n**{verdict}**, {measured} measured{others}{where}"


def _where(bundle: Bundle) -> str:
    environment = bundle.environment
    assert environment is not None
    names = [bundle.facts(record).get("device") for record in bundle.records]
    devices = list(dict.fromkeys(str(name) for name in names if name is not None))
    torch = environment.packages.get("torch")
    known = [*devices, None if torch is None else f"torch {torch}", environment.commit, environment.started_at]
    return ", ".join(str(item) for item in known if item)


def _measured(record: Record, timing: Timing, bundle: Bundle) -> tuple[str, ...]:
    middle, known = point(timing), bundle.facts(record)
    interval = "" if middle.low_s is None else f"{format_duration(middle.low_s)} to {format_duration(middle.high_s)}"
    error = "" if "check_error" not in known else f"{known['check_error']:.2g}"
    return record.cell.id, format_duration(middle.median_s), interval, format_bytes(known.get("peak_bytes")), error


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of at most its share of the bytes."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    used = 0
    for row in rows:
        line = "| " + " | ".join(markdown(value) for value in row) + " |"
        used += len(line.encode()) + 1
        if used > MOST_BYTES // _SHARE - 1000:
            break
        lines.append(line)
    shown = len(lines) - 2
    cut = f"\n\n*{shown} of {len(rows)} rows; `fabench report` has the rest.*" if shown < len(rows) else ""
    return f"### {title}\n\n" + "\n".join(lines) + cut
