"""A network as boxes and arrows, with a card at every place for attention: its map, and what a block of either family costs there.

A card is filled where the run has a block, and dashed where it has none. The figures are predictions from sizes alone, in decimal units
like the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabench.report import words
from fabench.report.blocks import NetworkDrawing, Place, Series
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.draw.parts import colour, label
from fabench.report.style import COOL, WARM

__all__ = ["CARD_HEIGHT", "CARD_WIDTH", "Node", "arrow", "card", "key", "shape", "told"]

CARD_WIDTH, CARD_HEIGHT = 320.0, 84.0
_LINE = 15.0
_HEAD = 6.0


def shape(sizes: Sequence[int]) -> str:
    """`224 × 320 × 256`."""
    return " × ".join(f"{size:,}" for size in sizes)


@dataclass(frozen=True, slots=True)
class Node:
    """A box with a heading and small lines under it."""

    left: float
    top: float
    width: float
    height: float
    heading: str
    lines: tuple[str, ...] = ()

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle."""
        return self.left + self.width / 2, self.top + self.height / 2

    def draw(self) -> Markup:
        """The box; its text is centred."""
        x, y = self.centre
        first = y - _LINE * len(self.lines) / 2 + 4
        parts: list[object] = [
            element("rect", x=self.left, y=self.top, width=self.width, height=self.height, rx=5, class_="node"),
            label(x, first, self.heading, "small strong", "middle"),
        ]
        parts += [label(x, first + _LINE * index, line, "tick", "middle") for index, line in enumerate(self.lines, start=1)]
        return join(parts)


def arrow(*places: tuple[float, float], text: str = "", at: tuple[float, float] | None = None) -> Markup:
    """A line through these places with a head at the last; `text` stands at `at`."""
    (x, y), (end_x, end_y) = places[-2:]
    across, down = (end_x > x) - (end_x < x), (end_y > y) - (end_y < y)
    foot = (end_x - across * _HEAD, end_y - down * _HEAD)
    line = "L".join(f"{number(a)} {number(b)}" for a, b in (*places[:-1], foot))
    sides = ((foot[0] + side * down * 4, foot[1] + side * across * 4) for side in (1, -1))
    head = "L".join(f"{number(a)} {number(b)}" for a, b in ((end_x, end_y), *sides))
    parts: list[object] = [element("path", d=f"M{line}", class_="flow"), element("path", d=f"M{head}Z", class_="head")]
    if text and at is not None:
        parts.append(label(*at, text, "tick"))
    return join(parts)


def told(place: Place) -> str:
    """All of a card in a sentence."""
    cost = place.cost
    parts = [f"map {words.show(cost.map_bytes, 'decimal')}"]
    parts += [
        f"{name} {words.show(size, 'decimal')} and {words.show(mac, 'mac')}{f', {missing}' if missing else ''}"
        for name, size, mac, missing in _families(place)
    ]
    who = f"blocks of {', '.join(series.name for series in place.blocks)}" if place.blocks else "no block in this run"
    return f"{cost.position.name}, {shape((*cost.space, cost.position.channels))}, n = {cost.n:,}{_views(place)}: {'; '.join(parts)}; {who}"


def _views(place: Place) -> str:
    return "" if place.cost.position.views == 1 else ", each view"


def _families(place: Place) -> tuple[tuple[str, int, int, str], ...]:
    cost = place.cost
    return (
        ("dot product", cost.dot_product_bytes, cost.dot_product_mac, place.quadratic_missing),
        ("factorized", cost.factorized_bytes, cost.factorized_mac, place.linear_missing),
    )


def card(place: Place, left: float, top: float) -> Markup:
    """The place for attention, with its upper left corner there."""
    cost, right = place.cost, left + CARD_WIDTH - 9
    frame = {"x": left, "y": top, "width": CARD_WIDTH, "height": CARD_HEIGHT, "rx": 5}
    name = cost.position.name
    parts: list[object] = [
        element("title", told(place)),
        element("rect", class_="slot on" if place.blocks else "slot", **frame),
        label(left + 10, top + 18, name, "direct-name"),
        *_squares(place.blocks, left + 18 + 8.4 * len(name), top + 8),
        label(right, top + 18, shape((*cost.space, cost.position.channels)), "small", "end"),
        label(left + 10, top + 37, f"n = {cost.n:,}{_views(place)}", "small"),
        label(right, top + 37, f"n × n map {words.show(cost.map_bytes, 'decimal')}", "small", "end"),
    ]
    for index, (family, size, mac, missing) in enumerate(_families(place)):
        y = top + 56 + 17 * index
        dot = element("circle", cx=left + 13, cy=y - 4, r=3.6, class_="bar")
        parts.append(element("g", dot, class_=f"c{(WARM, COOL)[index][0]}"))
        parts.append(label(left + 21, y, family, "small"))
        parts.append(label(left + 90, y, words.show(size, "decimal"), "small"))
        parts.append(label(left + 147, y, words.show(mac, "mac"), "small"))
        if missing:
            parts.append(label(right, y, missing, "lost", "end"))
    return element("g", *parts, class_="pt")


def _squares(blocks: Sequence[Series], left: float, top: float) -> list[Markup]:
    """A square for each series that has a block here."""
    return [
        element("g", element("rect", x=left + 15 * index, y=top, width=11, height=11, rx=1.5, class_="bar"), class_=colour(one.style))
        for index, one in enumerate(blocks)
    ]  # fmt: skip


def key(left: float, top: float) -> Markup:
    """What filled and dashed cards mean."""
    parts: list[object] = []
    for index, (kind, meaning) in enumerate((("slot on", "filled: this run has a block here"), ("slot", "dashed: it has none"))):
        y = top + 24 * index
        parts.append(element("rect", x=left, y=y, width=30.0, height=15.0, rx=3, class_=kind))
        parts.append(label(left + 40, y + 12, meaning, "small"))
    return join(parts)


def sizes_at(drawing: NetworkDrawing, stride: int) -> tuple[int, int]:
    """Height and width of a map at this stride."""
    return -(-drawing.height // stride), -(-drawing.width // stride)
