from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from fabench.report import write_report
from tests.report import hostile

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
