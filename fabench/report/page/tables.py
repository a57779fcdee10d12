"""Tables: the first rows as HTML, all rows as columns that the page's script pages, sorts and filters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fabench.analysis.estimate import Estimate
from fabench.report import words
from fabench.report.blocks import Column, Table, Value
from fabench.report.draw.markup import Markup, element, join

__all__ = ["FIRST_CELLS", "FIRST_ROWS", "pack", "packed_script", "table"]

FIRST_CELLS, FIRST_ROWS = 200, 100
_SMALL = 20
_WIDE = 44


def page_size(found: Table) -> int:
    """Rows on a page."""
    return FIRST_CELLS if found.id == "cells" else FIRST_ROWS


def enhanced(found: Table) -> bool:
    """Whether the script takes the table over."""
    return found.filterable and len(found.rows) > _SMALL


def table(found: Table) -> Markup:
    """Title, note, first rows."""
    size = page_size(found)
    shown = found.rows[:size]
    kinds = [_cell_class(column, [row[index] for row in shown]) for index, column in enumerate(found.columns)]
    heads = [
        element(
            "th",
            column.title,
            scope="col",
            class_="num" if column.numeric else "code" if kind == "code" else None,
            data_cell=kind or None,
        )
        for column, kind in zip(found.columns, kinds, strict=True)
    ]
    body = [
        element("tr", *(_cell(value, column, kind) for value, column, kind in zip(row, found.columns, kinds, strict=True)))
        for row in shown
    ]
    parts: list[object] = [element("h3", found.title, id=f"{found.id}-title")]
    if found.note:
        parts.append(element("p", found.note, class_="note"))
    parts.append(_line(found, len(shown)))
    grid = element("table", element("thead", element("tr", *heads)), element("tbody", *body), aria_labelledby=f"{found.id}-title")
    parts.append(element("div", grid, class_="scroll", tabindex="0", role="region", aria_labelledby=f"{found.id}-title"))
    more: dict[str, Any] = {"data_page": size, "data_rows": len(found.rows), "data_title": found.title} if enhanced(found) else {}
    return element("div", *parts, class_="table", id=found.id, **more)


def _line(found: Table, shown: int) -> Markup:
    total = max(len(found.rows), found.total_rows or 0)
    if not enhanced(found) and shown == total:
        return Markup()
    words_ = f"rows 1 to {shown:,} of {total:,}"
    return element("div", element("span", words_, class_="count"), class_="bar-line")


def _cell_class(column: Column, values: Sequence[Value]) -> str:
    if column.numeric:
        return "num"
    if column.kind == "text":
        return "wide" if any(isinstance(value, str) and len(value) > _WIDE for value in values) else ""
    return column.kind


def _cell(value: Value, column: Column, kind: str) -> Markup:
    if column.kind == "filter" and isinstance(value, str):
        return element("td", element("a", words.plain(value), href=f"#cells?{quote(value)}"), class_=kind)
    good = " good" if column.kind == "status" and value in ("ok", "all ran") else ""
    return element("td", words.show(value, column.kind), class_=(kind + good) or None)


def packed_script(found: Table) -> Markup:
    """All rows of a table as a data block, out of which no value can break: `<` is written as an escape."""
    if not enhanced(found):
        return Markup()
    data = {
        "rows": len(found.rows),
        "columns": [pack(column, [row[at] for row in found.rows]) for at, column in enumerate(found.columns)],
    }
    payload = (
        json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )
    return Markup(f'<script type="application/json" id="{found.id}-data">{payload}</script>\n')


def pack(column: Column, values: Sequence[Value]) -> dict[str, Any]:
    """A column in few bytes: `v` values (with `l`, `h` for intervals), `d` and `i` a dictionary, or `p` and `s` front-coded text."""
    found: dict[str, Any] = {"k": column.kind}
    if any(isinstance(value, Estimate) for value in values):
        for key, name in (("v", "value"), ("l", "low"), ("h", "high")):
            found[key] = [
                _short(getattr(value, name)) if isinstance(value, Estimate) else None if key != "v" else value for value in values
            ]
        return found
    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values):
        return found | {"v": [_short(value) for value in values]}
    texts = [None if value is None else value if isinstance(value, str) else words.show(value, column.kind) for value in values]
    texts = [None if value is None else words.plain(value) for value in texts]
    unique = list(dict.fromkeys(texts))
    if len(unique) * 2 < len(texts) or None in unique:
        places = {value: place for place, value in enumerate(unique)}
        return found | {"d": unique, "i": [places[value] for value in texts]}
    return found | _front_coded([value for value in texts if value is not None])


def _short(value: Any) -> float | int | None:
    """Six digits are more than any reader sees; whole numbers stay exact."""
    if value is None or (isinstance(value, float) and value - value != 0):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _front_coded(texts: Sequence[str]) -> dict[str, Any]:
    lengths, rests, before = [], [], ""
    for value in texts:
        shared = _shared(before, value)
        lengths.append(shared)
        rests.append(value[shared:])
        before = value
    return {"p": lengths, "s": rests}


def _shared(first: str, second: str) -> int:
    """Length of the common start, by halving; 0 beyond ASCII, because JavaScript counts UTF-16 units."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[:middle] == second[:middle]:
            low = middle
        else:
            high = middle - 1
    return low if second[:low].isascii() else 0


def all_packed(found: Sequence[Table]) -> Markup:
    """The data blocks of all tables."""
    return join(packed_script(one) for one in found)
