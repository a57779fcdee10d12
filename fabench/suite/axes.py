"""The axes of a suite: which there are, how each is written, and which of them replace each other.

Values come in levels ([axes] and [hold], then a [[grid]] and its [grid.hold], then overrides); a later level replaces an earlier one.
Some keys are two ways to say one thing (n or image; batch or the held number of tokens): a later level's key then drops the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fabench.catalogue import implementations
from fabench.errors import SuiteError
from fabench.places import BACKBONES, NETWORKS, POSITIONS, WITHOUT
from fabench.schema import DTYPES, MASKS, MODES, NORMALISATIONS, SCALES, SCOPES
from fabench.suite.ranges import layouts, whole_numbers
from fabench.suite.words import clean, known, quote

__all__ = ["AXES", "GROUPS", "HELD", "MODULE_ONLY", "NETWORK_ONLY", "OF_POSITIONS", "Axis", "Level", "level", "merge"]

_DEVICE = re.compile(r"[a-z]+(:[0-9]{1,4})?")


class Axis(NamedTuple):
    """The values of one axis, and the key that gave them (for messages)."""

    key: str
    values: Sequence[Any]


Level = Mapping[str, Axis]


def _words(value: object) -> list[str]:
    """A text (with commas between several) or a list of texts."""
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("is empty; give at least one value")
    found: dict[str, None] = {}
    for item in items:
        if not isinstance(item, str):
            raise ValueError(f"{quote(item)} is no text; put it into quotes")
        found[item.strip()] = None
    return list(found)


def _one_of(allowed: Sequence[str]) -> Callable[[object], list[str]]:
    def read(value: object) -> list[str]:
        words = _words(value)
        for word in words:
            if word not in allowed:
                raise ValueError(f"{quote(word)} is not known; {known(word, allowed)}")
        return words

    return read


def _implementations(value: object) -> list[str]:
    names = list(implementations())
    return names if _words(value) == ["all"] else _one_of([*names, WITHOUT])(value)


def _places(value: object) -> list[str]:
    """Choices of positions, each of names joined by "+"; whether a network has them is seen once it is known."""
    names = list(dict.fromkeys(position.name for network in NETWORKS for position in POSITIONS[network]))
    words = _words(value)
    _one_of([*names, "fpn", "all", WITHOUT])([part.strip() for word in words for part in word.split("+")])
    return words


def _devices(value: object) -> list[str]:
    words = _words(value)
    for word in words:
        if not _DEVICE.fullmatch(word):
            raise ValueError(f"{quote(word)} is no device; write for example auto, cpu or cuda:0")
    return words


def _booleans(value: object) -> list[bool]:
    items: list[object] = []
    for item in value if isinstance(value, list) else [value]:
        items.extend(_words(item) if isinstance(item, str) else [item])
    written: dict[object, bool] = {"true": True, "false": False}
    found = [item if isinstance(item, bool) else written.get(item) if isinstance(item, str) else None for item in items]
    if not found or None in found:
        raise ValueError("must be true, false or [true, false]")
    return list(dict.fromkeys(item for item in found if item is not None))


def _numbers_or(word: str) -> Callable[[object], list[Any]]:
    """Whole numbers, or the name of another axis that this one equals (given as None)."""

    def read(value: object) -> list[Any]:
        items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
        if word not in items:
            return whole_numbers(value)
        return [part for item in items for part in ([None] if item == word else whole_numbers(item))]

    return read


def _layouts(sides: int) -> Callable[[object], list[tuple[int, ...]]]:
    return lambda value: layouts(value, sides)


Reader = Callable[[object], Sequence[Any]]

AXES: dict[str, Reader] = {
    "implementation": _implementations,
    "device": _devices,
    "n": whole_numbers,
    "image": _layouts(2),
    "video": _layouts(3),
    "m": _numbers_or("n"),
    "batch": whole_numbers,
    "heads": whole_numbers,
    "d_k": whole_numbers,
    "d_v": _numbers_or("d_k"),
    "dtype": _one_of(DTYPES),
    "mode": _one_of(MODES),
    "normalisation": _one_of(NORMALISATIONS),
    "scale": _one_of(SCALES),
    "mask": _one_of(MASKS),
    "scope": _one_of(SCOPES),
    "channels": whole_numbers,
    "reprojection": _booleans,
    "residual": _booleans,
    "pool": whole_numbers,
    "network": _one_of(NETWORKS),
    "backbone": _one_of([backbone for network in NETWORKS for backbone in BACKBONES[network]]),
    "positions": _places,
}
HELD: dict[str, Reader] = {"tokens": whole_numbers, "d_k_total": whole_numbers, "d_v_total": whole_numbers}
MODULE_ONLY = ("channels", "reprojection", "residual", "pool")
NETWORK_ONLY = ("network", "backbone", "positions")
# What a network's positions decide, or what its blocks come in one form of.
OF_POSITIONS = ("channels", "reprojection", "residual", "m", "d_v", "d_v_total", "normalisation", "scale", "mask")
GROUPS = (("n", "image", "video"), ("batch", "tokens"), ("d_k", "d_k_total"), ("d_v", "d_v_total"))


def _read(file: str, key: str, value: object, reader: Reader) -> Axis:
    try:
        return Axis(key, reader(value))
    except ValueError as error:
        raise SuiteError(file, key, str(error)) from None


def level(file: str, prefix: str, axes: Mapping[str, object], held: Mapping[str, object], held_prefix: str) -> Level:
    """One level as written. Raises SuiteError for an unknown key, a wrong value, or two keys that say the same thing."""
    found: dict[str, Axis] = {}
    for given, readers, where in ((axes, AXES, prefix), (held, HELD, held_prefix)):
        for name, value in given.items():
            key = where + clean(name)
            if name not in readers:
                raise SuiteError(file, key, "is not known", known(name, readers))
            found[name] = _read(file, key, value, readers[name])
    for group in GROUPS:
        if len(said := [name for name in group if name in found]) > 1:
            raise SuiteError(file, found[said[1]].key, f"says the same as {found[said[0]].key}", "keep one of them")
    return found


def merge(levels: Iterable[Level]) -> Level:
    """What holds in the end: of each axis, or group of axes that say the same, the last level's."""
    merged: dict[str, Axis] = {}
    for given in levels:
        for group in GROUPS:
            if any(name in given for name in group):
                for name in group:
                    merged.pop(name, None)
        merged.update(given)
    return merged
