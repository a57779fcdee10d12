from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fabench.report import Report, write_report
from fabench.report.formats import html
from fabench.report.formats.base import Bundle
from fabench.schema import STATUSES
from tests import synthetic
from tests.report import hostile, networks

VOID = {"meta", "br", "input", "col", "wbr", "link", "img", "hr"}
KNOWN = {
    "html", "head", "meta", "title", "style", "script", "body", "a", "nav", "ul", "li", "header", "p", "b", "h1", "h2", "h3", "dl", "dt", "dd",
    "div", "main", "section", "figure", "figcaption", "span", "sup", "svg", "g", "path", "rect", "circle", "text", "tspan", "table", "thead",
    "tbody", "tr", "th", "td", "details", "summary", "footer",
}  # fmt: skip


class Checker(HTMLParser):
    """Notes what does not nest, and every element, attribute and id."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.styles: list[str] = []
        self.text: list[str] = []
        self._current: dict[str, str | None] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._current = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append((self._current, data))
        elif self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.text.append(data)


@cache
def checked(page: Path) -> Checker:
    found = Checker()
    found.feed(page.read_text(encoding="utf-8"))
    found.close()
    return found


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    return write_report(hostile.records(), [hostile.environment()], folder, hostile.SCRIPT, ["html"], warnings=hostile.TEXTS)[0]


@pytest.fixture(scope="module")
def network_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [*networks.records(), *networks.records("stereo")]
    return write_report(records, [synthetic.environment()], tmp_path_factory.mktemp("networks"), "networks", ["html"])[0]


@pytest.fixture(params=["page", "hostile_page", "network_page"])
def parsed(request: pytest.FixtureRequest) -> Checker:
    return checked(request.getfixturevalue(request.param))


def test_everything_nests_and_nothing_unknown_appears(parsed: Checker) -> None:
    assert parsed.wrong == [] and parsed.open == []
    assert parsed.elements <= KNOWN


def test_no_event_handler_inline_style_or_link_to_elsewhere(parsed: Checker) -> None:
    names = {name for _, name, _ in parsed.attributes}
    assert not {name for name in names if name.startswith("on")} and "style" not in names
    assert not names & {"src", "srcset", "action", "formaction", "xlink:href", "data", "poster", "background"}
    assert all(value.startswith("#") for _, name, value in parsed.attributes if name == "href")
    css = "".join(parsed.styles)
    assert "url(" not in css and "@import" not in css and "http" not in css


def test_ids_are_unique_and_references_lead_somewhere(parsed: Checker) -> None:
    ids = [value for _, name, value in parsed.attributes if name == "id"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z0-9-]+", one) for one in ids)
    assert {value for _, name, value in parsed.attributes if name == "aria-labelledby"} <= set(ids)
    assert {value[1:].partition("?")[0] for _, name, value in parsed.attributes if name == "href"} <= set(ids)


def test_the_policy_allows_this_style_and_script_only(parsed: Checker) -> None:
    policy = next(
        value for tag, name, value in parsed.attributes if tag == "meta" and name == "content" and "default-src" in value
    )
    scripts = [text for attributes, text in parsed.scripts if "type" not in attributes]
    sources = {"style-src": parsed.styles, "script-src": scripts}
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'none'" and parts["base-uri"] == parts["form-action"] == "'none'" and "unsafe" not in policy
    for name, found in sources.items():
        assert len(found) == 1
        assert parts[name] == f"'sha256-{base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()}'"


def test_charts_have_a_name_and_a_table_for_those_who_cannot_see_them(parsed: Checker) -> None:
    pictures = [dict(part) for part in _elements(parsed, "svg")]
    charts = [one for one in pictures if one.get("role") == "img"]
    assert len(charts) >= 4 and all(len(one["aria-label"]) > 20 for one in charts)
    assert all(one.get("aria-hidden") == "true" for one in pictures if one not in charts)
    assert parsed.elements >= {"details", "summary"}


def _elements(parsed: Checker, wanted: str) -> list[list[tuple[str, str]]]:
    """Attributes of each element of a kind; `class` comes first in all that the page writes."""
    found: list[list[tuple[str, str]]] = []
    for tag, name, value in parsed.attributes:
        if tag == wanted:
            if name == "class":
                found.append([])
            found[-1].append((name, value))
    return found


def test_what_matters_can_be_read_without_script(page: Path, report: Report) -> None:
    text = " ".join(checked(page).text)
    for wanted in (
        "overtakes",
        "OUT OF MEMORY",
        "slope 1",
        "slope 2",
        "95 % interval",
        "Erratum 1",
        "copy bandwidth",
        "Synthetic",
    ):
        assert wanted in text
    assert all(status.replace("_", " ") in text for status in STATUSES)
    assert all(fact.label in text for fact in report.facts)


def test_data_blocks_are_json_that_matches_the_rows(page: Path, report: Report) -> None:
    blocks = {
        attributes["id"]: json.loads(text)
        for attributes, text in checked(page).scripts
        if attributes.get("type") == "application/json"
    }
    cells = blocks["cells-data"]
    table = next(block for part in report.sections for block in part.blocks if getattr(block, "id", "") == "cells")
    assert cells["rows"] == len(table.rows) and len(cells["columns"]) == len(table.columns)  # type: ignore[union-attr]


def test_equal_input_gives_equal_bytes(report: Report, bundle: Bundle, page: Path, tmp_path: Path) -> None:
    assert html.write(report, bundle, tmp_path / "again")[0].read_bytes() == page.read_bytes()


def test_two_runs_of_everything_give_equal_bytes(tmp_path: Path) -> None:
    def make(name: str) -> bytes:
        records = synthetic.records(n=(256, 512, 1024), samples=7)
        return write_report(records, [synthetic.environment()], tmp_path / name, "x", ["html"])[0].read_bytes()

    assert make("a") == make("b")


def test_long_tables_are_paged(tmp_path: Path) -> None:
    records = synthetic.many(600, samples=6)
    page = write_report(records, [synthetic.environment()], tmp_path, "long", ["html"])[0]
    text = page.read_text(encoding="utf-8")
    body = text[text.index('id="cells"') : text.index('id="failures-heading"')]
    assert body.count("<tr>") == 201 and "rows 1 to 200 of 600" in body
    assert text.index("</main>") < 1_500_000
