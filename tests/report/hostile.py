"""Texts that try to be more than text."""

from __future__ import annotations

from dataclasses import replace

from fabench.schema import Cell, Environment, Record
from tests import synthetic

SCRIPT = "</script><script>document.documentElement.dataset.hacked='yes'</script>"
TEXTS = (
    SCRIPT,
    "<img src=x onerror=\"document.documentElement.dataset.hacked='yes'\">",
    "]]></title></svg><svg onload=alert(1)>",
    "\" onmouseover=\"document.documentElement.dataset.hacked='yes'",
    "javascript:alert(1)",
    '=HYPERLINK("http://example.com","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "| a | b |\n|---|---|\n[link](http://example.com) ![x](http://example.com/x.png) `code` **bold** @someone",
    "\u202eright to left\u2066 and \x00 null \x1b[31m",
    "$\\frac{1}{2}$ 100 % {x} \\input{/etc/passwd}",
    "../../../../tmp/escape",
    "x" * 5000,
)


def records() -> list[Record]:
    """A sweep whose names, functions and reasons are hostile."""
    names = dict(zip(("dot_product", "sdpa", "factorized_plain", "factorized_looped", "experimental"), TEXTS, strict=False))
    found = []
    for index, record in enumerate(synthetic.records(n=(256, 512, 1024, 2048, 8192, 16384), samples=7)):
        text = TEXTS[index % len(TEXTS)]
        cell = Cell(names[record.cell.implementation], record.cell.device, record.cell.case)
        found.append(replace(record, cell=cell, function=text, reason=None if record.status == "ok" else text))
    return found


def environment() -> Environment:
    """An environment whose every text is hostile."""
    known = {f"{SCRIPT}{index}": text for index, text in enumerate(TEXTS)}
    plain = synthetic.environment()
    return replace(
        plain, host=known, packages=known, settings=known, suite=SCRIPT, commit=SCRIPT, devices={**plain.devices, SCRIPT: known}
    )
