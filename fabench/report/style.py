"""What a series looks like, in every format: Okabe and Ito's colours, warm for quadratic time, cool for linear, grey for unknown.

Colour never stands alone: dash and marker differ too. Families take turns, so that many series come before a look returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["COOL", "DASHES", "GREY", "MARKERS", "PALETTE", "WARM", "Look", "assign", "diverging", "ink_on", "look"]


@dataclass(frozen=True, slots=True)
class Look:
    """Index into the palette, dash pattern (user units of a 2 wide line; () is solid) and marker."""

    colour: int
    dash: tuple[float, ...]
    marker: str


# (on a light ground, on a dark one). The first three are warm, the next three cool; the last is for what has no family.
PALETTE = (
    ("#d55e00", "#ff8a3d"), ("#cc79a7", "#e79cc4"), ("#e69f00", "#f0b429"),
    ("#0072b2", "#4fb0f0"), ("#009e73", "#2ccf9f"), ("#56b4e9", "#8fd0ff"),
    ("#6b7280", "#a3acb9"),
)  # fmt: skip
WARM, COOL, GREY = (0, 1, 2), (3, 4, 5), (6,)
DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 2.5), (9, 3, 2, 3), (13, 4), (4, 2))
MARKERS = ("circle", "square", "diamond", "triangle", "down", "cross")
_GROUPS: dict[str | None, int] = {"linear": 0, "quadratic": 1}
_COLOURS = (COOL, WARM, GREY)


def assign(families: Mapping[str, str | None]) -> dict[str, int]:
    """A style number for each name, stable in the order of names: equal input, equal look."""
    counts = [0, 0, 0]
    styles = {}
    for name, family in families.items():
        group = _GROUPS.get(family, 2)
        styles[name] = 3 * counts[group] + group
        counts[group] += 1
    return styles


def look(style: int) -> Look:
    """The look of a style number. Families take turns at dashes and markers, so that no two of them share either."""
    position, group = divmod(style, 3)
    turn = 2 * position + group
    marker = MARKERS[(turn + turn // len(MARKERS)) % len(MARKERS)]
    return Look(_COLOURS[group][position % len(_COLOURS[group])], DASHES[turn % len(DASHES)], marker)


def _mix(first: str, second: str, share: float) -> str:
    pairs = zip((1, 3, 5), (1, 3, 5), strict=True)
    return "#" + "".join(
        f"{round(int(first[a : a + 2], 16) * (1 - share) + int(second[b : b + 2], 16) * share):02x}" for a, b in pairs
    )


def diverging(position: float) -> str:
    """-1 warm, 0 nearly white, 1 cool; for ratios, linear in their logarithm."""
    position = max(-1.0, min(1.0, position))
    return _mix("#f4f2ee", "#0a639b" if position > 0 else "#c25200", abs(position) ** 0.8)


def _luminance(colour: str) -> float:
    parts = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(colour: str) -> str:
    """Black or white, whichever contrasts more (WCAG relative luminance)."""
    ground = _luminance(colour)
    return "#ffffff" if 1.05 / (ground + 0.05) > (ground + 0.05) / 0.05 else "#000000"


def used(styles: Iterable[int]) -> list[int]:
    """Palette indices that these styles need."""
    return sorted({look(style).colour for style in styles})
