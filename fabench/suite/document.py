"""A suite's TOML, read: every mistake is one line that names file, key and mend. Tables of a list are counted from 1: `grid[2].heads`."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from fabench.errors import SuiteError
from fabench.schema import Cell
from fabench.suite import axes, settings
from fabench.suite.axes import AXES, HELD, MODULE_ONLY, NETWORK_ONLY, OF_POSITIONS, Level
from fabench.suite.expression import Expression
from fabench.suite.grid import MOST_CELLS, Grid
from fabench.suite.model import Suite
from fabench.suite.words import clean, known, quote

__all__ = ["MOST_BYTES", "asked_again", "parse"]

MOST_BYTES = 2**18

_KEYS = ("title", "description", "axes", "grid", "hold", "skip", "expect", "measure", "budget")
# Axes that may change nothing: why, and what to do about it. The first that fits is said.
_UNUSED = (
    (NETWORK_ONLY, "belongs to a network, which is not asked for", "drop it, or set network and scope = 'network'"),
    (MODULE_ONLY, "belongs to scope module, which is not asked for", "drop it, or set scope = 'module'"),
    (OF_POSITIONS, "follows from the positions of the network", "drop it, or give a [[grid]] without network"),
)
_DEEPEST = 8
_MOST_RULES = 1000


def asked_again(text: bytes, name: str, asked: Iterable[str]) -> Suite:
    """The suite of a stored run: its text, and what was asked for beside (`Suite.asked`). Raises SuiteError, UsageError."""
    beside = dict(item.partition("=")[::2] for item in asked)
    where = beside.pop("where", None)
    return parse(text, name, beside, where)


def parse(text: bytes, name: str, overrides: Mapping[str, str] | None = None, where: str | None = None) -> Suite:
    """The suite that `text` states. `overrides` replace axes, held totals and settings (`measure.max_s`); `where` filters its cells.

    Raises SuiteError for a mistake in the text or the overrides, UsageError for one in the filter.
    """
    overrides = dict(overrides or {})
    file = clean(name) + ".toml"
    document = _document(file, text)
    settings.unknown(file, "", document, _KEYS)
    condition = None if where is None else Expression.parse(where)
    axes_given = {key: value for key, value in overrides.items() if key in AXES or key in HELD}
    measure = settings.measure(file, *_table_of_settings(file, document, overrides, "measure"))
    budget = settings.budget(file, *_table_of_settings(file, document, overrides, "budget"))
    _refuse_unknown(file, overrides.keys() - axes_given.keys())
    replacing = axes.level(file, "override ", _only(axes_given, AXES), _only(axes_given, HELD), "override ")
    return Suite(
        name=name,
        title=settings.text(file, "title", document.get("title", name)),
        description=settings.text(file, "description", document.get("description", name)),
        text=text,
        sha=_sha(text, overrides, where),
        overrides=overrides,
        where=where,
        measure=measure,
        budget=budget,
        cells=_cells(file, _grids(file, document, replacing)),
        skips=settings.skips(file, _tables(file, document, "skip")),
        expectations=settings.expectations(file, _tables(file, document, "expect")),
        _filter=condition,
    )


def _sha(text: bytes, overrides: Mapping[str, str], where: str | None) -> str:
    asked = json.dumps([sorted(overrides.items()), where])
    return hashlib.sha256(text + b"\0" + asked.encode()).hexdigest()


def _document(file: str, text: bytes) -> dict[str, Any]:
    if len(text) > MOST_BYTES:
        raise SuiteError(file, "", f"is larger than {MOST_BYTES} bytes", "split it")
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SuiteError(file, "", f"is no UTF-8 (byte {error.start})", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(file, "", f"is no TOML: {clean(str(error))}") from None
    except (ValueError, RecursionError):
        raise SuiteError(file, "", "is no TOML: a number or a nesting is too large") from None
    _bound(file, "", document, 0)
    return document


def _bound(file: str, key: str, value: object, depth: int) -> None:
    """Refuses what no suite needs and what later code would stumble over: deep nesting, numbers that are huge or not finite."""
    if depth > _DEEPEST:
        raise SuiteError(file, clean(key), "is nested too deeply", "see the example suites")
    if isinstance(value, dict):
        for name, item in value.items():
            _bound(file, f"{key}.{name[:40]}" if key else name[:40], item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _bound(file, key, item, depth + 1)
    elif isinstance(value, int) and value.bit_length() > 63:
        raise SuiteError(file, clean(key), f"is {quote(value)}", "write a number below 2^63")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SuiteError(file, clean(key), f"is {value}", "write a finite number")


def _table(file: str, key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SuiteError(file, key, f"is {quote(value)}", f"write it as a table, [{key}]")
    return value


def _tables(file: str, document: Mapping[str, object], name: str) -> list[dict[str, Any]]:
    """The tables [[name]] in order."""
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise SuiteError(file, name, f"is {quote(value)}", f"write each as a table, [[{name}]]")
    if len(value) > _MOST_RULES:
        raise SuiteError(file, name, f"occurs more than {_MOST_RULES} times", "join some of them")
    return value


def _only(given: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    return {name: given[name] for name in names if name in given}


def _table_of_settings(
    file: str, document: Mapping[str, Any], overrides: Mapping[str, str], table: str
) -> tuple[dict[str, object], dict[str, str]]:
    """The values of [measure] or [budget] with overrides in place, and the key of each."""
    values = dict(_table(file, table, document.get(table, {})))
    keys = {name: f"{table}.{clean(name)}" for name in values}
    for key, value in overrides.items():
        prefix, dot, name = key.partition(".")
        if dot and prefix == table:
            values[name] = settings.literal(value.strip())
            keys[name] = f"override {table}.{clean(name)}"
    return values, keys


def _refuse_unknown(file: str, rest: Iterable[str]) -> None:
    for key in sorted(rest):
        if not key.startswith(("measure.", "budget.")):
            raise SuiteError(file, f"override {clean(key)}", "is not known", known(key, [*AXES, *HELD, "measure.*", "budget.*"]))


def _grids(file: str, document: Mapping[str, Any], replacing: Level) -> list[Grid]:
    """Every grid with its merged axes; a suite without [[grid]] has one."""
    shared = _level(file, "", _table(file, "axes", document.get("axes", {})), document.get("hold", {}))
    tables = _tables(file, document, "grid")
    own: list[tuple[str, Level]] = [] if tables else [("axes", {})]
    for number, table in enumerate(tables, 1):
        rest = {name: value for name, value in table.items() if name != "hold"}
        own.append((f"grid[{number}]", _level(file, f"grid[{number}].", rest, table.get("hold", {}))))
    for key, given in own:
        _refuse_unused(file, [Grid(file, key, axes.merge([shared, given]))], given)
    _refuse_unused(file, [Grid(file, key, axes.merge([shared, given])) for key, given in own], shared)
    grids = [Grid(file, key, axes.merge([shared, given, replacing])) for key, given in own]
    _refuse_unused(file, grids, replacing)
    return grids


def _level(file: str, prefix: str, table: Mapping[str, object], hold: object) -> Level:
    held = _table(file, f"{prefix}hold", hold)
    return axes.level(file, prefix or "axes.", table, held, f"{prefix}hold.")


def _refuse_unused(file: str, grids: list[Grid], given: Level) -> None:
    for names, problem, mend in _UNUSED:
        for name in names:
            if name in given and not any(grid.uses(name) for grid in grids):
                raise SuiteError(file, given[name].key, problem, mend)


def _cells(file: str, grids: list[Grid]) -> tuple[Cell, ...]:
    cells: dict[Cell, None] = {}
    for grid in grids:
        for cell in grid.cells():
            cells[cell] = None
            if len(cells) > MOST_CELLS:
                raise SuiteError(
                    file, grid.key, f"makes more than {MOST_CELLS} cells with the grids before it", "give its axes fewer values"
                )
    if not cells:
        raise SuiteError(
            file,
            "",
            "asks for no cell",
            "implementation none is a network without attention, at scope network and positions none",
        )
    return tuple(cells)
