"""Mask R-CNN: the backbone from top to bottom, the feature pyramid from bottom to top, and the heads that read its levels."""

from __future__ import annotations

from fabench.report.blocks import NetworkDrawing, Place
from fabench.report.draw.markup import Markup, element
from fabench.report.draw.network import CARD_HEIGHT, CARD_WIDTH, Node, arrow, card, key, shape, sizes_at
from fabench.report.draw.parts import label, picture

__all__ = ["draw"]

WIDTH, HEIGHT = 1180.0, 634.0
_STAGE, _FIRST, _LEVEL, _SECOND, _HEADS = 10.0, 170.0, 512.0, 672.0, 1016.0
_BOX, _BOX_HEIGHT, _TOP, _PITCH = 136.0, 58.0, 126.0, 101.0
# torchvision's stage, the paper's name, other papers' name, stride, channels.
_STAGES = (
    ("layer1", "res1", "C2", 4, 256), ("layer2", "res2", "C3", 8, 512), ("layer3", "res3", "C4", 16, 1024), ("layer4", "res4", "C5", 32, 2048),
)  # fmt: skip
# The paper's name, other papers' name, torchvision's key, stride.
_LEVELS = (
    ("fpn1", "P2", "'0'", 4), ("fpn2", "P3", "'1'", 8), ("fpn3", "P4", "'2'", 16), ("fpn4", "P5", "'3'", 32), ("fpn5", "P6", "'pool'", 64)
)  # fmt: skip
_PYRAMID_CHANNELS = 256
_NAMES = {"resnet50": "ResNet-50", "resnet101": "ResNet-101"}


def draw(drawing: NetworkDrawing) -> Markup:
    """The drawing as one SVG."""
    places = {place.cost.position.name: place for place in drawing.places}
    stages = [_stage(drawing, row) for row in range(len(_STAGES))]
    levels = [_level(drawing, row) for row in range(len(_LEVELS))]
    parts: list[object] = [
        *_begin(drawing, stages[0]),
        *(node.draw() for node in (*stages, *levels)),
        *_downwards(stages, places),
        *_pyramid(stages, levels, places),
        *_heads(levels, places),
        key(_STAGE, _row(4) + 24),
    ]
    return picture(WIDTH, HEIGHT, drawing.summary or drawing.title, parts, "network")


def _row(row: int) -> float:
    """The top of a row's cards."""
    return _TOP + _PITCH * row


def _middle(row: int) -> float:
    return _row(row) + CARD_HEIGHT / 2


def _box(left: float, row: int, heading: str, *lines: str) -> Node:
    return Node(left, _middle(row) - _BOX_HEIGHT / 2, _BOX, _BOX_HEIGHT, heading, lines)


def _stage(drawing: NetworkDrawing, row: int) -> Node:
    name, ours, theirs, stride, channels = _STAGES[row]
    return _box(_STAGE, row, f"{name} = {ours}", f"{theirs}, stride {stride}", shape((*sizes_at(drawing, stride), channels)))


def _level(drawing: NetworkDrawing, row: int) -> Node:
    ours, theirs, key_, stride = _LEVELS[row]
    return _box(
        _LEVEL,
        row,
        f"{ours} = level {key_}",
        f"{theirs}, stride {stride}",
        shape((*sizes_at(drawing, stride), _PYRAMID_CHANNELS)),
    )


def _begin(drawing: NetworkDrawing, first: Node) -> list[Markup]:
    """Image and stem, and the names of the columns."""
    image = Node(_STAGE, 8, _BOX, 42, "image", (shape((drawing.height, drawing.width, 3)),))
    stem = Node(_STAGE, 68, _BOX, 42, "stem", ("7×7, pooled to stride 4",))
    x = first.centre[0]
    notes = (
        "The paper counts ResNet's stages from res1, so that its res3 is torchvision's layer3 (C4) and its res4 is layer4 (C5).",
        "fpn1 to fpn5 are P2 to P6. Attention follows the last block of a stage, and the output of a level.",
    )
    return [
        image.draw(),
        stem.draw(),
        arrow((x, image.bottom), (x, stem.top)),
        arrow((x, stem.bottom), (x, first.top)),
        *(label(_FIRST, 24 + 17 * index, note, "tick") for index, note in enumerate(notes)),
        label(_FIRST, 92, _NAMES.get(drawing.variant, drawing.variant), "small strong"),
        label(_LEVEL, 92, "feature pyramid", "small strong"),
        label(_HEADS, 92, "heads", "small strong"),
    ]


def _downwards(stages: list[Node], places: dict[str, Place]) -> list[Markup]:
    """From stage to stage: what follows layer3 reads what its attention gives."""
    x = stages[0].centre[0]
    parts = [arrow((x, stages[row].bottom), (x, stages[row + 1].top)) for row in (0, 1)]
    turn = (_row(2) + CARD_HEIGHT + stages[3].top) / 2
    parts.append(arrow((_FIRST + 24, _row(2) + CARD_HEIGHT), (_FIRST + 24, turn), (x, turn), (x, stages[3].top)))
    for row in (2, 3):
        parts.append(card(places[_STAGES[row][1]], _FIRST, _row(row)))
        parts.append(arrow((stages[row].right, _middle(row)), (_FIRST, _middle(row))))
    return parts


def _pyramid(stages: list[Node], levels: list[Node], places: dict[str, Place]) -> list[Markup]:
    """Laterals, the way down the pyramid, which is drawn upwards, and a card behind each level."""
    x = levels[0].centre[0]
    parts: list[Markup] = []
    for row, stage in enumerate(stages):
        start = stage.right if row < 2 else _FIRST + CARD_WIDTH
        text = "1×1 to 256 channels" if row < 2 else ""
        parts.append(arrow((start, _middle(row)), (_LEVEL, _middle(row)), text=text, at=(_FIRST + 90, _middle(row) - 7)))
    for row in range(3):
        parts.append(
            arrow((x, levels[row + 1].top), (x, levels[row].bottom), text="2×, added", at=(x + 8, levels[row].bottom + 24))
        )
    parts.append(arrow((x, levels[3].bottom), (x, levels[4].top), text="subsampled", at=(x + 8, levels[3].bottom + 24)))
    for row, level in enumerate(levels):
        parts.append(arrow((level.right, _middle(row)), (_SECOND, _middle(row))))
        parts.append(card(places[_LEVELS[row][0]], _SECOND, _row(row)))
    return parts


def _heads(levels: list[Node], places: dict[str, Place]) -> list[Markup]:
    """What reads the levels."""
    top, bottom = _row(0), _row(4) + CARD_HEIGHT
    width, inner = WIDTH - 10 - _HEADS, 116.0
    frame = element("rect", x=_HEADS, y=top, width=width, height=bottom - top, rx=7, class_="around")
    texts = (
        ("proposals (RPN)", ("fpn1 to fpn5",)),
        ("RoIAlign", ("fpn1 to fpn4",)),
        ("boxes, classes", ("2 dense layers",)),
        ("masks", ("4 convolutions",)),
    )
    room = (bottom - top) / len(texts)
    nodes = [
        Node(_HEADS + (width - inner) / 2, top + room * (index + 0.5) - 29, inner, 58, heading, lines)
        for index, (heading, lines) in enumerate(texts)
    ]
    parts = [frame, *(node.draw() for node in nodes)]
    x = nodes[0].centre[0]
    parts += [arrow((x, nodes[at].bottom), (x, nodes[at + 1].top)) for at in (0, 1)]
    side = nodes[2].right + 8
    parts.append(
        arrow(
            (nodes[1].right, nodes[1].centre[1]),
            (side, nodes[1].centre[1]),
            (side, nodes[3].centre[1]),
            (nodes[3].right, nodes[3].centre[1]),
        )
    )
    parts += [arrow((_SECOND + CARD_WIDTH, _middle(row)), (_HEADS, _middle(row))) for row in range(len(levels))]
    return parts
