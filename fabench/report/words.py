"""How a value is written, for every format: one function per question, none of which escapes anything."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable

from fabench import units
from fabench.analysis.estimate import Estimate
from fabench.report.blocks import Value
from fabench.schema import Case, Cell, Record

__all__ = [
    "DASH",
    "clean",
    "exponent",
    "integer",
    "interval",
    "plain",
    "reproduce_with",
    "show",
    "show_estimate",
    "status_words",
    "title_of",
]

DASH = "–"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_LONGEST = 2000
_SIGNED = ("points", "pixels_apart")
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def clean(text: object) -> str:
    """`text` without control characters, direction marks and lone surrogates: safe to show, not yet escaped."""
    return _CONTROL.sub(" ", str(text))


def plain(text: object) -> str:
    """`clean`, and of bounded length."""
    cleaned = clean(text)
    return cleaned if len(cleaned) <= _LONGEST else cleaned[: _LONGEST - 1] + "…"


def integer(value: float) -> str:
    """A whole number with thousands separated: `16,384`."""
    return f"{value:,.0f}"


def _number(value: float) -> str:
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1e6:
        return f"{value:,.0f}" if size >= 999.5 else f"{value:.3g}"
    return f"{value:.2e}"


def _percent(value: float) -> str:
    size = abs(value)
    return f"{100 * value:.{0 if size >= 0.1 else 1 if size >= 0.01 else 2}f} %"


def exponent(value: float) -> str:
    """An exponent, with two decimals: 1.98."""
    return f"{value:.2f}"


def _decimal(value: float, unit: str) -> str:
    """Four digits and a decimal prefix, as the paper prints: 20.55 GB, 1.651 T MAC."""
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s * 0.99995), (1.0, ""))
    shown = value / scale
    decimals = 0 if not prefix else max(0, 3 - math.floor(math.log10(abs(shown) * 1.00005)))
    return f"{shown:,.{decimals}f} {f'{prefix}{unit}'.strip()}"


def _signed(value: float, decimals: int) -> str:
    """With its sign, none where it rounds to nothing."""
    shown = f"{value:+.{decimals}f}"
    return shown[1:] if float(shown) == 0 else shown.replace("-", "−")


_SCALARS: dict[str, Callable[[float], str]] = {
    "count": integer,
    "integer": lambda value: f"{value:.0f}",
    "number": _number,
    "exponent": exponent,
    "duration": units.format_duration,
    "bytes": units.format_bytes,
    "ratio": units.format_ratio,
    "percent": _percent,
    "flops": lambda value: units.format_rate(value, "FLOP/s"),
    "bandwidth": lambda value: units.format_rate(value, "B/s"),
    "flop": lambda value: units.format_count(value, "FLOP"),
    "operations": units.format_count,
    "share": lambda value: f"{100 * value:.2f} %",
    "points": lambda value: f"{_signed(100 * value, 2)} points",
    "pixels": lambda value: f"{value:.3f} px",
    "pixels_apart": lambda value: f"{_signed(value, 3)} px",
    "decimal": lambda value: _decimal(value, "B"),
    "mac": lambda value: _decimal(value, " MAC"),
}


def show(value: Value, kind: str) -> str:
    """`value` as a reader wants it; unknown is a dash."""
    if value is None:
        return DASH
    if isinstance(value, Estimate):
        return show_estimate(value, kind)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if isinstance(value, float) and not math.isfinite(value):
            return DASH
        return _SCALARS[kind](value) if kind in _SCALARS else plain(value)
    return status_words(value) if kind == "status" else plain(value)


def interval(value: Estimate, kind: str) -> str:
    """The two ends; a unit that both share is written once: `1.20–1.31 ms`; `−0.31 to +0.02 px` where there is a sign."""
    low, high = show(value.low, kind), show(value.high, kind)
    between = " to " if kind in _SIGNED or low.startswith("-") else DASH
    head, _, unit = low.partition(" ")
    if unit and high.endswith(" " + unit):
        return f"{head}{between}{high}"
    return f"{low}{between}{high}"


def show_estimate(value: Estimate, kind: str) -> str:
    """`1.25 ms (1.20–1.31 ms)`."""
    return f"{show(value.value, kind)} ({interval(value, kind)})"


def status_words(status: str) -> str:
    """`out of memory` for out_of_memory."""
    return plain(status).replace("_", " ")


def title_of(name: str) -> str:
    """The first letter large."""
    return name[:1].upper() + name[1:]


def reproduce_with(suite: str) -> Callable[[Record], str]:
    """The command that measures a cell again: the suite, with every axis set to the cell's value."""
    start = f"fabench sweep {shlex.quote(clean(suite)) if suite else 'quick'}"
    return lambda record: f"{start} {_options(record.cell)}"


def _options(cell: Cell) -> str:
    case = cell.case
    values: dict[str, object] = {
        "implementation": shlex.quote(clean(cell.implementation)),
        "device": shlex.quote(clean(cell.device)),
    }
    values |= {
        name.replace("_", "-"): getattr(case, name) for name in ("batch", "heads", "d_k", "dtype", "mode", "scope", "pool")
    }
    values |= _of_attention(case) if case.network is None else _of_network(case)
    return " ".join(f"--{name} {value}" for name, value in values.items() if value is not None)


def _of_attention(case: Case) -> dict[str, object]:
    values: dict[str, object] = {
        "d-v": case.d_v,
        "normalisation": case.normalisation,
        "scale": shlex.quote(case.scale),
        "mask": case.mask,
    }
    values["channels"] = case.channels
    values |= {
        name: None if flag is None else str(flag).lower()
        for name, flag in (("reprojection", case.reprojection), ("residual", case.residual))
    }
    # What changes from cell to cell comes last, so that a list of commands stays small when it is compressed.
    size = {None: "n", 1: "image"}.get(None if case.space is None else case.space.count("x"), "video")
    return values | {"m": case.m if case.m != case.n else None, size: case.space or case.n}


def _of_network(case: Case) -> dict[str, object]:
    """Widths and maps follow from the positions; of a block alone `image` is what its network gets."""
    image = case.space if case.scope == "network" else case.image
    return {"network": case.network, "backbone": case.backbone, "positions": case.positions, "image": image}
