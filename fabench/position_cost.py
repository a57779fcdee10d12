"""What a block at each position of a real network must cost, from the sizes alone: predictions, never measurements.

The paper's table of positions (arXiv 1812.01243 v1; detection at 896 x 1280, d_k = 64, one head) follows from it line by line. Its
bytes are v1's memory count, (2 d_k + 3 C) n floats and the map or context; its operations are without the reprojection, which the
modules of its networks do have: `reprojection=True` counts that as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fabench import cost, positions
from fabench.positions import MAX_DISPARITY, Attention, Position
from fabench.schema import Case

__all__ = ["BlocksCost", "PositionCost", "at", "of_network", "table"]


@dataclass(frozen=True, slots=True)
class PositionCost:
    """One position, both families side by side. MACs are true multiply-accumulates of a forward pass over the batch.

    `space`: sizes of the position axes, n their product. `map_bytes`: one n x n map. `dot_product_bytes`, `factorized_bytes`: v1's
    memory count, what a backward pass needs, without weights. `parameters`: of either block.
    """

    position: Position
    space: tuple[int, ...]
    n: int
    map_bytes: int
    dot_product_bytes: int
    factorized_bytes: int
    dot_product_mac: int
    factorized_mac: int
    parameters: int


def at(
    position: Position, attention: Attention, height: int, width: int, *,
    batch: int = 1, dtype: str = "float32", reprojection: bool = False, max_disparity: int = MAX_DISPARITY,
) -> PositionCost:  # fmt: skip
    """The costs at one position for an input of this size in pixels; `attention.implementation` plays no part.

    Raises UsageError for channels that the heads don't divide.
    """
    asked = positions.case(
        position, attention, height, width, batch=batch, dtype=dtype, reprojection=reprojection, max_disparity=max_disparity
    )
    quadratic, linear = cost.of(asked, 2, 2), cost.of(asked, 1, 1)
    return PositionCost(
        position=position, space=asked.dimensions, n=asked.n, map_bytes=positions.map_bytes(asked),
        dot_product_bytes=_bytes(asked, 2), factorized_bytes=_bytes(asked, 1),
        dot_product_mac=quadratic.mac, factorized_mac=linear.mac, parameters=positions.parameters(position, attention),
    )  # fmt: skip


def _bytes(asked: Case, order: int) -> int:
    """v1's count is what a module with reprojection keeps for backward, less the convolutions' weights."""
    kept = cost.of(replace(asked, mode="fwd_bwd", reprojection=True), order, order).saved_bytes
    assert kept is not None
    assert asked.channels is not None
    return kept - asked.element_bytes * asked.channels * 2 * asked.heads * (asked.d_k + asked.d_v)


def table(
    network: str, words: str | Iterable[str], attention: Attention, height: int, width: int, *,
    batch: int = 1, dtype: str = "float32", reprojection: bool = False, max_disparity: int = MAX_DISPARITY,
) -> list[PositionCost]:  # fmt: skip
    """The costs at the positions named (see `positions.parse`), in the network's order."""
    return [
        at(
            position, attention, height, width,
            batch=batch, dtype=dtype, reprojection=reprojection, max_disparity=max_disparity,
        )
        for position in positions.parse(network, words)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BlocksCost:
    """What the blocks of a network cost together, which the network costs at least; the rest of it is not known to arithmetic.

    `mac`, `flop`: products of the mode's passes. `weight_bytes`: of the blocks. `working_bytes`: the least that they take at the call's
    peak; in inference the largest of them, in training what all keep for backward, and the largest at work. `check_bytes`: what the
    float64 check of one of them takes. `largest_map`: where the largest n x n map is, and its bytes; None where there is no map.
    """

    mac: int
    flop: int
    weight_bytes: int
    working_bytes: int
    check_bytes: int
    largest_map: tuple[str, int] | None


def of_network(asked: Case, time_order: int | None, memory_order: int | None) -> BlocksCost:
    """The cost of a case of scope "network" for an implementation of these powers of n; None and None without attention."""
    parts = positions.blocks(asked)
    if not parts or time_order is None or memory_order is None:
        return BlocksCost(0, 0, 0, 0, 0, None)
    costs = [cost.of(block, time_order, memory_order) for _, block in parts]
    views = [position.views for position, _ in parts]
    kept = [count * (one.saved_bytes or 0) for count, one in zip(views, costs, strict=True)]
    maps = [(position.name, positions.map_bytes(block)) for position, block in parts]
    mac = sum(count * one.mac for count, one in zip(views, costs, strict=True))
    attention = positions.attention_of(asked, "")
    weights = sum(positions.parameters(position, attention) for position, _ in parts)
    return BlocksCost(
        mac=mac, flop=2 * mac, weight_bytes=asked.element_bytes * weights,
        working_bytes=max(one.working_bytes + sum(kept) - (one.saved_bytes or 0) for one in costs),
        check_bytes=max(one.check_bytes for one in costs),
        largest_map=max(maps, key=lambda item: item[1]) if memory_order == 2 else None,
    )  # fmt: skip
