"""Where a label can stand: on nothing if possible, else where it covers least."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["LETTER", "Area", "Ground", "width_of"]

LETTER = 6.5
_STEP = 6.0


def width_of(text: str, letter: float = LETTER) -> float:
    """About how wide a label is."""
    return letter * len(text)


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def meets(self, other: Area) -> bool:
        """Whether two rectangles overlap."""
        return self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom


@dataclass
class Ground:
    """What is taken already: points along curves, and areas of labels."""

    points: list[tuple[float, float]] = field(default_factory=list)
    areas: list[Area] = field(default_factory=list)

    def add_curve(self, places: Sequence[tuple[float, float]]) -> None:
        """A polyline, as points a few units apart."""
        for (x, y), (x2, y2) in itertools.pairwise(places):
            steps = max(1, math.ceil(math.hypot(x2 - x, y2 - y) / _STEP))
            self.points += [(x + (x2 - x) * step / steps, y + (y2 - y) * step / steps) for step in range(steps)]
        self.points += places[-1:]

    def cost(self, area: Area) -> int:
        """How much `area` would cover; another label counts most."""
        return sum(area.holds(*point) for point in self.points) + sum(60 for other in self.areas if area.meets(other))

    def take(self, candidates: Iterable[Area]) -> Area:
        """The first candidate that covers nothing, or the one that covers least; it is taken from then on."""
        found: Area | None = None
        least = math.inf
        for area in candidates:
            cost = self.cost(area)
            if cost < least:
                found, least = area, cost
            if cost == 0:
                break
        if found is None:
            raise ValueError("a label needs a place to try")
        self.areas.append(found)
        return found
