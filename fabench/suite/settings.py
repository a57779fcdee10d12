"""The tables beside the axes: [measure], [budget], [[skip]] and [[expect]]."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields

from fabench.codec import DecodeError, decode
from fabench.errors import SuiteError, UsageError
from fabench.schema import STATUSES, Measure
from fabench.suite.expression import Expression
from fabench.suite.model import Budget, Expected, Skipped
from fabench.suite.words import clean, known, quote
from fabench.units import parse_bytes, parse_duration

__all__ = ["budget", "expectations", "literal", "measure", "skips", "text", "unknown"]

_LONGEST_TEXT = 1000
_MOST_BYTES = 2**62
_MOST_SECONDS = 30 * 86400
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{0,18}\.?[0-9]{1,18}([eE][+-]?[0-9]{1,3})?")
_BUDGET: dict[str, tuple[str, Callable[[str | float], float]]] = {
    "memory": ("memory_bytes", parse_bytes),
    "cell": ("cell_s", parse_duration),
    "total": ("total_s", parse_duration),
}


def unknown(file: str, prefix: str, table: Mapping[str, object], allowed: Mapping[str, object] | tuple[str, ...]) -> None:
    """Raises SuiteError for the first key of `table` that is not allowed."""
    for name in table:
        if name not in allowed:
            raise SuiteError(file, prefix + clean(name), "is not known", known(name, allowed))


def text(file: str, key: str, value: object) -> str:
    """A text that a reader will see: one to a thousand characters."""
    if not isinstance(value, str):
        raise SuiteError(file, key, f"is {quote(value)}", "write a text in quotes")
    if not value.strip() or len(value) > _LONGEST_TEXT:
        raise SuiteError(
            file, key, "is empty" if not value.strip() else f"is longer than {_LONGEST_TEXT} characters", "say it in a sentence"
        )
    return clean(" ".join(value.split()), _LONGEST_TEXT)


def literal(word: str) -> object:
    """The value that the text of an override stands for, as TOML would have it."""
    if word in ("true", "false"):
        return word == "true"
    return int(word) if _WHOLE.fullmatch(word) else float(word) if _DECIMAL.fullmatch(word) else word


def _quantity(file: str, key: str, value: object, read: Callable[[str | float], float]) -> float:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise SuiteError(file, key, f"is {quote(value)}", 'write a text with a unit, for example "200 ms" or "8 GiB"')
    try:
        quantity = read(value)
    except ValueError as error:
        raise SuiteError(file, key, str(error)) from None
    most, name = (_MOST_BYTES, "4 EiB") if read is parse_bytes else (_MOST_SECONDS, "30 days")
    if quantity > most:
        raise SuiteError(file, key, f"is more than {name}", "give less")
    return quantity


def measure(file: str, table: Mapping[str, object], keys: Mapping[str, str]) -> Measure:
    """The [measure] table. `keys` says how each key is named in messages."""
    known_fields = {field.name: field for field in fields(Measure)}
    unknown(file, "measure.", table, known_fields)
    values: dict[str, object] = {}
    for name, value in table.items():
        values[name] = _quantity(file, keys[name], value, parse_duration) if name.endswith("_s") else value
        if isinstance(value, (list, dict)):
            raise SuiteError(file, keys[name], f"is {quote(value)}", "write a single value")
    try:
        return decode(Measure, values)
    except (DecodeError, ValueError) as error:
        name, _, problem = clean(str(error).removeprefix("Measure: ")).partition(" ")
        raise SuiteError(file, keys.get(name, "measure"), problem if name in keys else str(error)) from None


def budget(file: str, table: Mapping[str, object], keys: Mapping[str, str]) -> Budget:
    """The [budget] table."""
    unknown(file, "budget.", table, _BUDGET)
    values: dict[str, float] = {}
    for name, value in table.items():
        field, read = _BUDGET[name]
        values[field] = _quantity(file, keys[name], value, read)
        if values[field] <= 0:
            raise SuiteError(file, keys[name], "is 0, so nothing could run", "give more")
    memory = values.pop("memory_bytes", None)
    return Budget(memory_bytes=None if memory is None else int(memory), **values)


def _when(file: str, key: str, value: object) -> Expression:
    if not isinstance(value, str):
        raise SuiteError(file, key, f"is {quote(value)}", 'write a filter in quotes, for example "n > 65536"')
    try:
        return Expression.parse(value)
    except UsageError as error:
        raise SuiteError(file, key, str(error)) from None


def _rule(file: str, key: str, table: Mapping[str, object], needed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    unknown(file, f"{key}.", table, allowed)
    for name in needed:
        if name not in table:
            raise SuiteError(file, f"{key}.{name}", "is missing", f"a rule needs {' and '.join(needed)}")


def skips(file: str, tables: list[dict[str, object]]) -> tuple[Skipped, ...]:
    """The [[skip]] rules in order."""
    rules = []
    for number, table in enumerate(tables, 1):
        key = f"skip[{number}]"
        _rule(file, key, table, ("when", "reason"), ("when", "reason"))
        rules.append(Skipped(_when(file, f"{key}.when", table["when"]), text(file, f"{key}.reason", table["reason"])))
    return tuple(rules)


def expectations(file: str, tables: list[dict[str, object]]) -> tuple[Expected, ...]:
    """The [[expect]] rules in order."""
    rules = []
    for number, table in enumerate(tables, 1):
        key = f"expect[{number}]"
        _rule(file, key, table, ("status", "reason"), ("status", "when", "reason"))
        status = text(file, f"{key}.status", table["status"])
        if status not in STATUSES:
            raise SuiteError(file, f"{key}.status", f"{quote(status)} is not known", known(status, STATUSES))
        when = _when(file, f"{key}.when", table["when"]) if "when" in table else None
        rules.append(Expected(status, when, text(file, f"{key}.reason", table["reason"])))
    return tuple(rules)
