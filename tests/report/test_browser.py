from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from fabench.analysis.estimate import Estimate
from fabench.report import write_report
from fabench.report.blocks import Column, Report, Section, Table, Value
from fabench.report.page.document import document
from tests import synthetic
from tests.report import hostile, networks

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--enable-logging=stderr",
)  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, and there is none here")]


def opened(page: Path, tmp_path: Path, fragment: str = "") -> tuple[str, str]:
    """The document after its script ran, and what the browser's console said."""
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri() + fragment]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    dom = done.stdout.decode("utf-8")
    console = "\n".join(line for line in done.stderr.decode("utf-8", "replace").splitlines() if "CONSOLE" in line)
    return dom[: dom.index('id="fabench-data"')], console


def body(dom: str, table: str) -> list[list[str]]:
    part = dom[dom.index(f'id="{table}"') :]
    part = part[part.index("<tbody>") : part.index("</tbody>")]
    return [[unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in part.split("<tr>")[1:]]


def test_the_script_runs_and_writes_rows_as_python_does(page: Path, tmp_path: Path) -> None:
    dom, console = opened(page, tmp_path, "#cells?--implementation")
    assert 'data-fabench="ready"' in dom and console == ""
    static = page.read_text(encoding="utf-8")
    assert len(body(dom, "cells")) > 100 and body(dom, "cells") == body(static, "cells")
    assert "<button" in dom and 'type="search"' in dom


def test_other_tables_are_written_alike_too(page: Path, tmp_path: Path) -> None:
    dom, _ = opened(page, tmp_path, "#exponents?factorized")
    wanted = [row for row in body(page.read_text(encoding="utf-8"), "exponents") if any("factorized" in cell for cell in row)]
    assert wanted and body(dom, "exponents") == wanted


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = write_report(hostile.records(), [hostile.environment()], tmp_path, "x", ["html"], warnings=hostile.TEXTS)[0]
    dom, console = opened(page, tmp_path, "#cells?script")
    assert 'data-fabench="ready"' in dom and console == ""
    assert "data-hacked" not in dom.replace("document.documentElement.dataset.hacked", "") and "<img" not in dom


LARGE = ("decimal", "mac")
KINDS = (*LARGE, "share", "points", "pixels", "pixels_apart")
VALUES = (0.0, 1.0, 144.0, 999.5, 999.96, 1025.0, 99_995.0, 1.651e12, 20_552_089_600.0, 7.5e17)
SHARES = (0.0, 1.0, 0.97334, 0.005, -0.00316, -0.5, 1e-5, -1e-5, 14.797, -0.000049)


def test_every_kind_of_number_is_written_as_python_writes_it(tmp_path: Path) -> None:
    """A page carries six digits of each value, so shares have no more."""
    pairs = list(zip(VALUES, SHARES, strict=True))
    rows: list[tuple[Value, ...]] = [tuple(large if kind in LARGE else share for kind in KINDS) for large, share in pairs]
    rows += [
        tuple(
            Estimate(large, large * 0.875, large * 1.25) if kind in LARGE else Estimate(share, share - 0.125, share + 0.25)
            for kind in KINDS
        )
        for large, share in pairs
    ]
    rows += rows
    table = Table("numbers", "Numbers", tuple(Column(kind, kind) for kind in KINDS), rows, filterable=True)
    page = tmp_path / "page.html"
    report = Report("t", "", "", "h", "", (), (Section("s", "S", "", (table,)),))
    page.write_text(document(report, '<script type="application/octet-stream" id="fabench-data"></script>'), encoding="utf-8")
    dom, console = opened(page, tmp_path, "#numbers?")
    assert 'data-fabench="ready"' in dom and console == ""
    assert len(body(dom, "numbers")) == len(rows) and body(dom, "numbers") == body(page.read_text(encoding="utf-8"), "numbers")


def test_pages_of_networks_run_too(tmp_path: Path) -> None:
    page = write_report(networks.records(), [synthetic.environment()], tmp_path, "n", ["html"])[0]
    dom, console = opened(page, tmp_path)
    assert 'data-fabench="ready"' in dom and console == ""
    assert dom.count('class="slot on"') == 7 + 1
