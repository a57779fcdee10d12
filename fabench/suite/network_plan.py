"""What a plan takes a whole network to need: its blocks by arithmetic, and the rest by what one of each was counted to need.

For planning only. A network's products and bytes grow with its pixels, beside a part that does not: Mask R-CNN's heads work on as many
proposals whatever the image. FLOPs were counted by torch, bytes are what torch's allocator reported at the peak on a CPU, both of the
network without attention, in float32 and with one image; bytes above gradients and weights, which follow from the parameters.
"""

from __future__ import annotations

from typing import NamedTuple

from fabench import cost, position_cost
from fabench.schema import Case

__all__ = ["cost_of", "map_words"]


class _Rest(NamedTuple):
    """Of one image: FLOPs and bytes per pixel, and those that don't depend on the size."""

    flop_per_pixel: float
    fixed_flop: float
    bytes_per_pixel: float
    fixed_bytes: float


_RESTS: dict[tuple[str, str], _Rest] = {
    ("resnet50", "fwd"): _Rest(468e3, 127.5e9, 1000, 0.25e9),
    ("resnet50", "fwd_bwd"): _Rest(1120e3, 146e9, 6000, 0.4e9),
    ("resnet101", "fwd"): _Rest(561e3, 132e9, 1000, 0.25e9),
    ("resnet101", "fwd_bwd"): _Rest(1400e3, 146e9, 8000, 0.4e9),
    ("hourglass", "fwd"): _Rest(2818e3, 0, 5000, 0),
    ("hourglass", "fwd_bwd"): _Rest(8454e3, 0, 19e3, 0),
    ("basic", "fwd"): _Rest(2880e3, 0, 5000, 0),
    ("basic", "fwd_bwd"): _Rest(8640e3, 0, 19e3, 0),
}
_PARAMETERS = {"resnet50": 44.4e6, "resnet101": 63.4e6, "hourglass": 5.2e6, "basic": 3.9e6}
_VIEWS = {"detection": 1, "stereo": 2}


def cost_of(case: Case, time_order: int | None, memory_order: int | None) -> cost.Cost:
    """A case of scope "network" as a plan takes it, in the form of any other case's cost."""
    blocks = position_cost.of_network(case, time_order, memory_order)
    rest = _RESTS[str(case.backbone), case.mode]
    size = case.element_bytes / 4
    flop = int(case.batch * (rest.flop_per_pixel * case.n + rest.fixed_flop))
    images = 3 * case.batch * case.n * _VIEWS[str(case.network)] * case.element_bytes
    weights = int(4 * size * _PARAMETERS[str(case.backbone)]) + blocks.weight_bytes
    own = int(size * case.batch * (rest.bytes_per_pixel * case.n + rest.fixed_bytes)) + (weights if case.needs_gradients else 0)
    # In inference a block is at work while the rest of the network holds little; in training all keep what they need.
    working = own + blocks.working_bytes if case.needs_gradients else max(own, blocks.working_bytes)
    return cost.Cost(
        mac=(flop + blocks.flop) // 2, flop=flop + blocks.flop, compulsory_bytes=images + weights, input_bytes=images + weights,
        output_bytes=0, saved_bytes=None, working_bytes=working, check_bytes=blocks.check_bytes,
    )  # fmt: skip


def map_words(case: Case, time_order: int | None, memory_order: int | None) -> str:
    """Where a network's largest map is, and how large: "one map at fpn1 takes 20.55 GB"; "" where there is none."""
    largest = position_cost.of_network(case, time_order, memory_order).largest_map
    return "" if largest is None else f"one map at {largest[0]} takes {largest[1] / 1e9:,.2f} GB"
