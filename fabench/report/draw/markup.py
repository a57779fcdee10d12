"""Markup by construction: text is escaped unless it already is `Markup`, so that nothing in the data can become an element."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

from fabench.report.words import clean, plain

__all__ = ["Attribute", "Markup", "element", "join", "number", "powers", "text"]

Attribute: TypeAlias = str | int | float | bool | None
_POWER = re.compile(r"\bn\^(-?\d+(?:\.\d+)?)")
_VOID = frozenset({"meta", "br", "input", "col", "wbr"})


class Markup(str):
    """Text that is safe to put between tags as it is."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Any value, cleaned and escaped; Markup is left alone."""
    return value if isinstance(value, Markup) else Markup(escape(plain(value)))


def powers(value: object) -> Markup:
    """`text`, with n^1.98 set as a power."""
    return Markup(_POWER.sub(r"n<sup>\1</sup>", text(value)))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """Parts as one Markup."""
    return Markup(between.join(text(part) for part in parts))


def number(value: float) -> str:
    """A coordinate: at most two decimals, none where it is whole."""
    if not math.isfinite(value):
        raise ValueError(f"a coordinate is {value}")
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = number(value) if isinstance(value, float) else escape(clean(value))
    return f' {name}="{shown}"'


def element(name: str, /, *children: object, **attributes: Attribute) -> Markup:
    """`<name ...>children</name>`; `class_` is class, underscores become hyphens, None and False leave an attribute out."""
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(opening) if name in _VOID else Markup(f"{opening}{join(children)}</{name}>")
