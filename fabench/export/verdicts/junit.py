"""Verdicts as JUnit XML: a suite with a test case per cell, exponent and worse kernel; see `base` for what becomes of an outcome.

A case has no `time`: what a verdict took is no test's duration. Its sentence is the failure's message, or stands in its output.
"""

from __future__ import annotations

from fabench.export._text import xml
from fabench.export.verdicts.base import Finding, Told

__all__ = ["write"]

_HEADLINE_LONGEST = 4000


def write(told: Told) -> bytes:
    """One test suite, all findings as its cases."""
    name = xml(f"fabench.{'.'.join(told.title.split())}")
    kinds = [_kind(one, told) for one in told.findings]
    counts = f'tests="{len(kinds)}" failures="{kinds.count("failure")}" errors="{kinds.count("error")}"'
    output = "\n".join(xml(line, _HEADLINE_LONGEST) for line in (told.headline, *told.remarks))
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuites name="fabench" {counts}>',
        f'<testsuite name="{name}" {counts} skipped="{kinds.count("skipped")}">',
        *(_case(one, kind, name) for one, kind in zip(told.findings, kinds, strict=True)),
        f"<system-out>{output}</system-out>",
        "</testsuite>",
        "</testsuites>",
    ]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _kind(finding: Finding, told: Told) -> str:
    if finding.outcome == "not measured":
        return "error"
    if told.fails(finding):
        return "failure"
    return "passed" if finding.outcome == "fine" else "skipped"


def _case(finding: Finding, kind: str, suite: str) -> str:
    text = xml(finding.text)
    if kind == "passed":
        ending = f"<system-out>{text}</system-out>"
    elif kind == "skipped":
        ending = f'<skipped message="{text}"/>'
    else:
        ending = f'<{kind} type="{xml(finding.outcome.replace(" ", "_"))}" message="{text}">{text}</{kind}>'
    return f'<testcase classname="{suite}" name="{xml(finding.name)}">{ending}</testcase>'
