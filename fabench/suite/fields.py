"""The names that a filter knows: every field of a case, and what follows from a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from fabench.catalogue import implementations
from fabench.places import BACKBONES, NETWORKS, WITHOUT, parse
from fabench.schema import DTYPES, MASKS, MODES, NORMALISATIONS, SCALES, SCOPES, Cell

__all__ = ["CONDITION", "FIELDS", "NUMBER", "TEXT", "Field", "vocabulary"]

NUMBER, TEXT, CONDITION = "number", "text", "condition"

_NUMBERS = ("n", "m", "batch", "heads", "d_k", "d_v", "channels", "pool")
_TEXTS = ("dtype", "mode", "normalisation", "scale", "mask", "scope", "space", "network", "positions", "backbone", "image")
_CONDITIONS = ("reprojection", "residual")
_WORDS: dict[str, Sequence[str]] = {
    "dtype": DTYPES, "mode": MODES, "normalisation": NORMALISATIONS, "scale": SCALES, "mask": MASKS, "scope": SCOPES,
    "family": ("quadratic", "linear"), "network": NETWORKS,
    "backbone": [backbone for network in NETWORKS for backbone in BACKBONES[network]],
}  # fmt: skip


class Field(NamedTuple):
    """A name's kind, and how to read it off a cell (None where the cell has none)."""

    kind: str
    read: Callable[[Cell], Any]


def _family(cell: Cell) -> str | None:
    facts = implementations().get(cell.implementation)
    return facts.family if facts else None


def _function(cell: Cell) -> str | None:
    facts = implementations().get(cell.implementation)
    return facts.computes.get(cell.case.normalisation) if facts else None


def _modules(cell: Cell) -> int | None:
    """How many blocks are inserted."""
    network, positions = cell.case.network, cell.case.positions
    return None if network is None or positions is None else len(parse(network, positions))


FIELDS: dict[str, Field] = {
    "implementation": Field(TEXT, attrgetter("implementation")),
    "device": Field(TEXT, attrgetter("device")),
    "family": Field(TEXT, _family),
    "function": Field(TEXT, _function),
    **{name: Field(NUMBER, attrgetter(f"case.{name}")) for name in _NUMBERS},
    "tokens": Field(NUMBER, lambda cell: cell.case.batch * cell.case.n),
    "d_k_total": Field(NUMBER, lambda cell: cell.case.heads * cell.case.d_k),
    "d_v_total": Field(NUMBER, lambda cell: cell.case.heads * cell.case.d_v),
    **{name: Field(TEXT, attrgetter(f"case.{name}")) for name in _TEXTS},
    "modules": Field(NUMBER, _modules),
    **{name: Field(CONDITION, attrgetter(f"case.{name}")) for name in _CONDITIONS},
}


def vocabulary(name: str) -> Sequence[str] | None:
    """All that a text field can be, or None where it is free."""
    if name == "implementation":
        return [*implementations(), WITHOUT]
    if name == "function":
        return sorted({function for facts in implementations().values() for function in facts.computes.values()})
    return _WORDS.get(name)
