"""JUnit XML, as CI servers read it: a suite with a test case per cell.

A cell that failed is a failure with its status as type; one that is unsupported, was skipped, or ended as its suite expects is skipped,
with the reason. A test case's `time` is what the cell took on the wall, as for any test; what was measured is in its output.
There is no one standard; this keeps to what the schema of Jenkins' xUnit plugin (junit-10.xsd) and GitLab accept.
"""

from __future__ import annotations

from fabench.export._text import xml
from fabench.export.base import Bundle, Outcome, point
from fabench.schema import Record

__all__ = ["SAYS_ENDINGS", "write"]

SAYS_ENDINGS = True


def write(bundle: Bundle) -> bytes:
    """One test suite, all records as its cases."""
    environment = bundle.environment
    name = xml("fabench" if environment is None or not environment.suite else f"fabench.{environment.suite}")
    outcomes = [bundle.outcome(record) for record in bundle.records]
    failed = outcomes.count(Outcome.FAILED)
    skipped = len(outcomes) - failed - outcomes.count(Outcome.PASSED)
    wall_s = sum(record.phases_s.get("total", 0.0) for record in bundle.records)
    stamp = "" if environment is None else f' timestamp="{xml(environment.started_at.removesuffix("Z"))}"'
    counts = f'tests="{len(outcomes)}" failures="{failed}" errors="0"'
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="fabench" {counts} time="{wall_s:.3f}">',
        f'<testsuite name="{name}" {counts} skipped="{skipped}" time="{wall_s:.3f}"{stamp}>',
        *(_case(record, outcome, name, bundle) for record, outcome in zip(bundle.records, outcomes, strict=True)),
        "</testsuite>",
        "</testsuites>",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _case(record: Record, outcome: Outcome, suite: str, bundle: Bundle) -> str:
    wall_s = record.phases_s.get("total")
    time = "" if wall_s is None else f' time="{wall_s:.3f}"'
    return f'<testcase classname="{suite}" name="{xml(record.cell.id)}"{time}>{_ending(record, outcome, bundle)}{_output(record, bundle)}</testcase>'


def _ending(record: Record, outcome: Outcome, bundle: Bundle) -> str:
    if outcome is Outcome.PASSED:
        return ""
    if outcome is Outcome.FAILED:
        reason, kind = xml(bundle.ending(record)), xml(bundle.word(record).replace(" ", "_"))
        return f'<failure type="{kind}" message="{reason}">{xml(_errors(record)) or reason}</failure>'
    return f'<skipped message="{xml(bundle.ending(record))}"/>'


def _errors(record: Record) -> str:
    """Per tensor of a failed check its error and what was allowed."""
    tensors = record.check.tensors if record.check is not None else ()
    shown = (
        f"{one.name}: {'not finite' if one.error is None else f'{one.error:.3g}'}, allowed {one.tolerance:.3g}" for one in tensors
    )
    return "; ".join(shown)


def _output(record: Record, bundle: Bundle) -> str:
    lines = []
    timing = bundle.timed(record)
    if timing is not None:
        middle = point(timing)
        lines.append(f"median_s: {middle.median_s:.9g}")
        if middle.low_s is not None and middle.high_s is not None:
            lines.append(f"interval_s: {middle.low_s:.9g} {middle.high_s:.9g}")
    lines += [f"{name}: {value}" for name, value in bundle.facts(record).items()]
    return f"<system-out>{chr(10).join(map(xml, lines))}</system-out>" if lines else ""
