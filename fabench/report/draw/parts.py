"""Parts that charts share: markers, swatches, axes, the frame of a figure, and labels that keep clear of each other."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.report.blocks import Series
from fabench.report.draw.axis import LogAxis, Tick
from fabench.report.draw.markup import Markup, element, join, number
from fabench.report.style import look

__all__ = [
    "Box",
    "colour",
    "dash",
    "horizontal_axis",
    "label",
    "marker",
    "picture",
    "point",
    "shorten",
    "spread",
    "swatch",
    "vertical_axis",
]

_PATHS = {
    "square": "M-4-4H4V4H-4Z",
    "triangle": "M0-5L4.8 3.8H-4.8Z",
    "diamond": "M0-5.4L5.4 0L0 5.4L-5.4 0Z",
    "down": "M0 5L4.8-3.8H-4.8Z",
    "cross": "M-1.8-5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z",
    "circle": "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0Z",
    "missing": "M-3.6-3.6L3.6 3.6M-3.6 3.6L3.6-3.6",
}


class Box:
    """A plot's inner rectangle."""

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        self.left, self.top, self.right, self.bottom = left, top, right, bottom


def colour(style: int) -> str:
    """The class that carries a style's colour."""
    return f"c{look(style).colour}"


def dash(style: int) -> str | None:
    """A style's stroke-dasharray."""
    return " ".join(number(part) for part in look(style).dash) or None


def marker(style: int, x: float, y: float, *, missing: bool = False) -> Markup:
    """A style's marker, or the cross of a missing value."""
    shape = "missing" if missing else look(style).marker
    return element("path", d=_PATHS[shape], transform=f"translate({number(x)} {number(y)})", class_="x" if missing else "m")


def point(style: int, x: float, y: float, title: str, *, missing: bool = False, shown: bool = True) -> Markup:
    """A marker that tells its values on hover and to the keyboard; a larger invisible disc catches the pointer."""
    catch = element("circle", cx=float(x), cy=float(y), r=9, class_="catch")
    mark = marker(style, x, y, missing=missing) if shown else ""
    return element("g", element("title", title), catch, mark, class_=f"pt {colour(style)}")


def swatch(series: Series) -> Markup:
    """A legend's picture: line, dash and marker."""
    line = element("path", d="M1 7H37", class_="l", stroke_dasharray=dash(series.style))
    parts = (line, marker(series.style, 19.0, 7.0))
    return element(
        "svg", *parts, class_=f"swatch {colour(series.style)}", viewBox="0 0 38 14", width=38, height=14, aria_hidden="true"
    )


def label(x: float, y: float, content: object, kind: str = "", anchor: str = "start", **more: str | float | None) -> Markup:
    """Text at a place."""
    return element(
        "text", content, x=float(x), y=float(y), class_=kind or None, text_anchor=None if anchor == "start" else anchor, **more
    )


def shorten(name: str, most: int = 24) -> str:
    """A name that fits beside a line."""
    return name if len(name) <= most else name[: most - 1] + "…"


def picture(width: float, height: float, summary: str, parts: Sequence[object], kind: str = "") -> Markup:
    """The SVG of a chart; what it says is in `summary`."""
    return element(
        "svg",
        *parts,
        class_=f"chart {kind}".strip(),
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=summary,
    )


def horizontal_axis(axis: LogAxis, marks: Sequence[Tick], box: Box, title: str) -> Markup:
    """Grid lines, tick labels and title below a plot."""
    parts: list[object] = []
    for tick in marks:
        x = axis.at(tick.value)
        parts.append(element("path", d=f"M{number(x)} {number(box.top)}V{number(box.bottom)}", class_="rule"))
        parts.append(label(x, box.bottom + 16, tick.label, "tick", "middle"))
    parts.append(element("path", d=f"M{number(box.left)} {number(box.bottom)}H{number(box.right)}", class_="axis"))
    parts.append(label((box.left + box.right) / 2, box.bottom + 34, title, "name", "middle"))
    return join(parts)


def vertical_axis(axis: LogAxis, marks: Sequence[Tick], box: Box) -> Markup:
    """Grid lines and tick labels left of a plot."""
    parts: list[object] = []
    for tick in marks:
        y = axis.at(tick.value)
        parts.append(element("path", d=f"M{number(box.left)} {number(y)}H{number(box.right)}", class_="rule"))
        parts.append(label(box.left - 7, y + 3.8, tick.label, "tick", "end"))
    return join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near `wanted`, at least `gap` apart and inside [low, high] where they fit: clusters are centred on their mean."""
    clusters: list[tuple[float, float, list[int]]] = []
    for index in sorted(range(len(wanted)), key=lambda index: wanted[index]):
        members = [index]
        while True:
            half = gap * (len(members) - 1) / 2
            # Held inside first, compared after: an edge pushes a cluster into the one before it.
            centre = max(min(sum(wanted[member] for member in members) / len(members), high - half), low + half)
            if not clusters or clusters[-1][0] + clusters[-1][1] + gap <= centre - half:
                break
            members = clusters.pop()[2] + members
        clusters.append((centre, half, members))
    places = [0.0] * len(wanted)
    for centre, half, members in clusters:
        for position, member in enumerate(members):
            places[member] = centre - half + gap * position
    return places
