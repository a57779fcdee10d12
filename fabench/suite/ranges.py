"""Axis values as people write them: 4096, [1024, 4096], "1024..65536x2" (times 2), "64..512+64" (plus 64), "1024,4096..16384x2".

Images and videos likewise: "64x64", "32x32..256x256x2" and "16x16x8..64x64x32x2" (each side times 2). A range that does not meet its
stop ends below it. All functions raise ValueError with one line that says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from fabench.suite.words import quote

__all__ = ["LARGEST", "MOST_VALUES", "layouts", "whole_numbers"]

T = TypeVar("T")

MOST_VALUES = 10_000
LARGEST = 2**40

_NUMBER_RANGE = re.compile(r"([0-9]+)\s*\.\.\s*([0-9]+)\s*(?:([x+])\s*([0-9]+))?")
_NUMBER = re.compile(r"[0-9]+")
_LAYOUT = re.compile(r"[0-9]+(?:x[0-9]+)*")
_DIGITS = len(str(LARGEST))
_EXAMPLES = {2: ("64x64", "32x32..256x256x2"), 3: ("64x64x32", "16x16x8..64x64x32x2")}


def whole_numbers(value: object) -> list[int]:
    """The positive whole numbers that `value` (a number, a text, or a list of both) stands for, in order, without repeats."""
    return _items(value, _numbers_of_text, _number)


def layouts(value: object, sides: int) -> list[tuple[int, ...]]:
    """The images (2 sides) or videos (3 sides) that `value` (a text or a list of texts) stands for, in order, without repeats."""

    def refuse(item: object) -> tuple[int, ...]:
        raise ValueError(f"{quote(item)} is no layout; write it as {_EXAMPLES[sides][0]!r}")

    return _items(value, lambda text: _layouts_of_text(text, sides), refuse)


def _items(value: object, of_text: Callable[[str], list[T]], of_other: Callable[[object], T]) -> list[T]:
    found: dict[T, None] = {}
    for item in value if isinstance(value, list) else [value]:
        values = (
            [part for text in item.split(",") for part in of_text(text.strip())] if isinstance(item, str) else [of_other(item)]
        )
        found.update(dict.fromkeys(values))
        if len(found) > MOST_VALUES:
            raise ValueError(f"has more than {MOST_VALUES} values; take larger steps")
    if not found:
        raise ValueError("is empty; give at least one value")
    return list(found)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{quote(value)} is no whole number; write for example 1024, [1, 8] or '1024..65536x2'")
    if not 1 <= value <= LARGEST:
        raise ValueError(f"{quote(value)} is out of range; it must lie between 1 and 2^40")
    return value


def _numeral(digits: str) -> int:
    return _number(int(digits) if len(digits) <= _DIGITS else LARGEST + 1)


def _numbers_of_text(text: str) -> list[int]:
    if _NUMBER.fullmatch(text):
        return [_numeral(text)]
    match = _NUMBER_RANGE.fullmatch(text)
    if match is None:
        raise ValueError(f"{quote(text)} is no number or range; write for example 1024, '1024..65536x2' or '64..512+64'")
    start, stop = _numeral(match[1]), _numeral(match[2])
    if match[3] is None:
        raise ValueError(
            f"{quote(text)} has no step; write {start}..{stop}x2 to double or {start}..{stop}+{start} to add {start}"
        )
    if start > stop:
        raise ValueError(f"{quote(text)} starts above its stop; write the smaller number first")
    if match[3] == "x":
        return [sides[0] for sides in _geometric((start,), (stop,), match[4], text)]
    step = int(match[4][:_DIGITS])
    if step < 1:
        raise ValueError(f"{quote(text)} has the step 0; it must be at least 1")
    if (stop - start) // step >= MOST_VALUES:
        raise ValueError(f"{quote(text)} has more than {MOST_VALUES} values; take a larger step")
    return list(range(start, stop + 1, step))


def _geometric(start: tuple[int, ...], stop: tuple[int, ...], digits: str, text: str) -> list[tuple[int, ...]]:
    factor = int(digits[:_DIGITS])
    if factor < 2:
        raise ValueError(f"{quote(text)} has the factor {factor}; it must be at least 2")
    values, current = [], start
    while all(side <= last for side, last in zip(current, stop, strict=True)):
        values.append(current)
        current = tuple(side * factor for side in current)
    return values


def _layouts_of_text(text: str, sides: int) -> list[tuple[int, ...]]:
    one, many = _EXAMPLES[sides]
    first, dots, last = (part.strip() for part in text.partition(".."))
    if not _LAYOUT.fullmatch(first) or (dots and not _LAYOUT.fullmatch(last)):
        raise ValueError(f"{quote(text)} is no layout or range; write for example {one!r} or {many!r}")
    start, stop = first.split("x"), last.split("x")
    if len(start) != sides:
        raise ValueError(f"{quote(text)} has {len(start)} sides, not {sides}; write for example {one!r}")
    if not dots:
        return [tuple(_numeral(side) for side in start)]
    if len(stop) != sides + 1:
        raise ValueError(f"{quote(text)} must end in {sides} sides and a factor; write for example {many!r}")
    begin, end = tuple(map(_numeral, start)), tuple(map(_numeral, stop[:-1]))
    if any(side > limit for side, limit in zip(begin, end, strict=True)):
        raise ValueError(f"{quote(text)} starts above its stop; write the smaller layout first")
    return _geometric(begin, end, stop[-1], text)
