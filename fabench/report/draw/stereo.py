"""PSMNet: both views through one extractor, their cost volume, and 3D convolutions that turn it into disparities."""

from __future__ import annotations

import itertools

from fabench.positions import MAX_DISPARITY
from fabench.report.blocks import NetworkDrawing, Place
from fabench.report.draw.markup import Markup, element
from fabench.report.draw.network import CARD_HEIGHT, CARD_WIDTH, Node, arrow, card, key, shape, sizes_at
from fabench.report.draw.parts import label, picture

__all__ = ["draw"]

WIDTH, HEIGHT = 1180.0, 400.0
_UPPER, _LOWER = 92.0, 292.0
# Stage, its residual blocks, stride, channels.
_STAGES = (
    ("firstconv", "3 layers", 2, 32), ("layer1", "3 blocks", 2, 32), ("layer2", "16 blocks", 4, 64), ("layer3", "3 blocks", 4, 128), ("layer4", "3 blocks", 4, 128),
)  # fmt: skip


def draw(drawing: NetworkDrawing) -> Markup:
    """The drawing as one SVG."""
    places = {place.cost.position.name: place for place in drawing.places}
    fused = Node(1025, _UPPER - 34, 132, 68, "branches, fusion", ("pooled 64, 32, 16, 8", shape((*sizes_at(drawing, 4), 32))))
    parts = [*_extractor(drawing, fused, places["layer4"]), *_matching(drawing, fused, places["volume"])]
    return picture(WIDTH, HEIGHT, drawing.summary or drawing.title, parts, "network")


def _extractor(drawing: NetworkDrawing, fused: Node, place: Place) -> list[Markup]:
    """From the images to features: everything in the frame runs once for each view, with the same weights."""
    images = [
        Node(12, _UPPER - 48 + 52 * index, 106, 44, f"{side} image", (shape((drawing.height, drawing.width, 3)),))
        for index, side in enumerate(("left", "right"))
    ]
    stages = [
        Node(160 + 104 * index, _UPPER - 34, 92, 68, name, (what, shape((*sizes_at(drawing, stride), channels))))
        for index, (name, what, stride, channels) in enumerate(_STAGES)
    ]
    left = stages[-1].right + 18
    frame = element("rect", x=148.0, y=24.0, width=WIDTH - 12 - 148, height=136.0, rx=7, class_="around")
    parts = [
        frame,
        label(160, 44, "feature extraction, shared by both views: once for each, with the same weights", "small strong"),
        *(node.draw() for node in (*images, *stages, fused)),
        card(place, left, _UPPER - CARD_HEIGHT / 2 + 6),
        *(arrow((image.right, image.centre[1]), (148, image.centre[1])) for image in images),
        *(
            arrow((node.right, _UPPER), (after.left, _UPPER))
            for node, after in itertools.pairwise(stages)
        ),
        arrow((stages[-1].right, _UPPER), (left, _UPPER)),
        arrow((left + CARD_WIDTH, _UPPER), (fused.left, _UPPER)),
    ]  # fmt: skip
    return parts


def _matching(drawing: NetworkDrawing, fused: Node, place: Place) -> list[Markup]:
    """From features to disparities."""
    quarter = (MAX_DISPARITY // 4, *sizes_at(drawing, 4))
    top = _LOWER - 36
    volume = Node(12, top, 148, 72, "cost volume", ("left beside shifted right", shape((*quarter, 64))))
    begin = Node(186, top, 128, 72, "dres0, dres1", ("3D convolutions", shape((*quarter, 32))))
    left = begin.right + 26
    kind = "hourglass" if drawing.variant != "basic" else "residual part"
    parts_of = [Node(left + CARD_WIDTH + 26 + 106 * index, top, 90, 72, f"dres{index + 2}", (kind,)) for index in range(3)]
    out = Node(
        parts_of[-1].right + 26,
        top,
        WIDTH - 12 - parts_of[-1].right - 26,
        72,
        "disparities",
        ("4× larger, softmax", "over d, its mean"),
    )
    row = [volume, begin, *parts_of, out]
    down = 198.0
    x = volume.centre[0]
    return [
        *(node.draw() for node in row),
        arrow((fused.centre[0], fused.bottom), (fused.centre[0], down), (x, down), (x, volume.top)),
        label(186, down - 8, "features of both views, joined for every disparity", "tick"),
        arrow((volume.right, _LOWER), (begin.left, _LOWER)),
        arrow((begin.right, _LOWER), (left, _LOWER)),
        card(place, left, _LOWER - CARD_HEIGHT / 2),
        arrow((left + CARD_WIDTH, _LOWER), (parts_of[0].left, _LOWER)),
        *(arrow((node.right, _LOWER), (after.left, _LOWER)) for node, after in itertools.pairwise(row[2:])),
        key(12, 356),
    ]
