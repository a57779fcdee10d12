"""The whole page: one file that needs nothing else, under a policy that allows its own style and script and nothing more."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from fabench import __version__
from fabench.report.blocks import Fact, Report, Table
from fabench.report.draw.markup import Markup, element, powers
from fabench.report.page.blocks import section
from fabench.report.page.tables import all_packed
from fabench.report.style import PALETTE

__all__ = ["document"]

_READ_BACK = " The records are inside this file: fabench reads it back."


def document(report: Report, data: str, readable: bool = True) -> str:
    """The page. `data` is the element that `data.embed` made; `readable`: there are records in it, which the page says."""
    style, script = _style(), _resource("page.js")
    tables = [block for part in report.sections for block in part.blocks if isinstance(block, Table)]
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        _navigation(report),
        _header(report),
        element("main", *(section(part) for part in report.sections), id="main"),
        element("footer", f"Written by fabench {__version__}." + (_READ_BACK if readable else "")),
        Markup(f"\n<script>{script}</script>\n"),
        all_packed(tables),
        Markup(data),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{report.title} · fabench"),
        Markup(f"<style>{style}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _policy(style: str, script: str) -> str:
    parts = (
        "default-src 'none'",
        f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(parts)


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")


def _resource(name: str) -> str:
    return (resources.files("fabench.report.page") / name).read_text(encoding="utf-8")


def _style() -> str:
    """The style sheet, with the palette for both grounds; print is always light."""
    light = "".join(f"--c{index}:{pair[0]};" for index, pair in enumerate(PALETTE))
    dark = "".join(f"--c{index}:{pair[1]};" for index, pair in enumerate(PALETTE))
    classes = "".join(f".c{index}{{--c:var(--c{index})}}" for index in range(len(PALETTE)))
    ground = (
        "--bg:#0f1217;--card:#161a21;--ink:#e9ebef;--muted:#a0a9b8;--line:#2c333e;--grid:#252b35;--faint:#1d222b;"
        "--mark:#c6cedb;--warn:#ff9f6b;--focus:#7ab8ff;--on:#1b2a3a;"
    )
    return f"{_resource('page.css')}:root{{{light}}}{classes}@media screen and (prefers-color-scheme:dark){{:root{{{ground}{dark}}}}}"


def _navigation(report: Report) -> Markup:
    links = (element("li", element("a", part.title, href=f"#section-{part.id}")) for part in report.sections)
    return element("nav", element("ul", *links), aria_label="Sections")


def _header(report: Report) -> Markup:
    parts: list[object] = [
        element("p", element("b", report.title), " · ", report.subtitle, class_="eyebrow"),
        element("h1", powers(report.headline)),
    ]
    if report.verdict:
        parts.append(element("p", powers(report.verdict), class_="verdict"))
    if report.setting:
        parts.append(element("p", "Setting: ", report.setting, class_="setting"))
    if report.facts:
        parts.append(element("dl", *map(_fact, report.facts), class_="facts"))
    if report.warnings:
        lines = element("ul", *(element("li", line) for line in report.warnings[:50]))
        parts.append(element("div", element("b", "Warnings"), lines, class_="warnings"))
    return element("header", *parts, class_="top")


def _fact(fact: Fact) -> Markup:
    return element("div", element("dt", fact.label), element("dd", powers(fact.value)), class_=fact.family or None)
