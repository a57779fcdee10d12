"""Records of networks with a known truth: whole ones and their blocks alone, at two inputs, with what did not fit.

Times: 1 s for the network as it is, and for each block a share of it by its operations, exactly; the samples are spread by 1 %.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from fabench import position_cost, positions
from fabench.positions import WITHOUT, Attention
from fabench.schema import Case, Cell, Memory, Record, Status
from tests import synthetic

__all__ = ["BARE_S", "FORMS", "SIZES", "records", "true_s"]

FORMS = {"factorized": 1, "dot_product": 2}
SIZES = {"detection": ((480, 640), (800, 1344)), "stereo": ((256, 512),)}
BARE_S = 1.0
_LIMIT_BYTES = 4 * 2**30
_MAC_PER_S = 1.5e10
_CHOICES = {"detection": ("fpn1", "fpn", "all"), "stereo": ("layer4", "all")}


def true_s(case: Case, order: int) -> float:
    """What a cell really takes: of a network 1 s and its blocks, each as often as it is passed."""
    if case.scope == "module":
        return float(_mac(case, order)) / _MAC_PER_S
    return BARE_S + sum(one.views * true_s(block, order) for one, block in positions.blocks(case))


def _mac(case: Case, order: int) -> int:
    height, width = (int(side) for side in str(case.image).split("x"))
    (one,) = positions.parse(str(case.network), str(case.positions))
    cost = position_cost.at(one, Attention(d_k=case.heads * case.d_k, heads=case.heads), height, width, reprojection=True)
    return cost.factorized_mac if order == 1 else cost.dot_product_mac


def _bytes(case: Case, order: int) -> int:
    blocks = [block for _, block in positions.blocks(case)] if case.scope == "network" else [case]
    most = max(
        (2 * positions.map_bytes(block) if order == 2 else 4 * block.n * (block.channels or 1) for block in blocks), default=0
    )
    return (2**30 if case.scope == "network" else 0) + most


def _record(cell: Cell, order: int | None, index: int, spread: np.ndarray) -> Record:
    function = {None: None, 1: "factorized softmax attention", 2: "dot-product softmax attention"}[order]
    base = synthetic.measured(Cell("sdpa", cell.device, Case(64, 64)), (1.0,) * len(spread), index=index)
    taken = _bytes(cell.case, order or 1)
    if taken > _LIMIT_BYTES:
        ended = synthetic.ended(base.cell, Status.OUT_OF_MEMORY, "in check: can't allocate memory, limit 4 GiB", index=index)
        return replace(ended, cell=cell, function=function, time_order=order, memory_order=order, flop=None)
    assert base.timing is not None
    samples = tuple((true_s(cell.case, order or 1) * spread).tolist())
    timing = replace(base.timing, samples_s=samples, loops=1, cpu_s=None, wall_s=None, witness=None, first_call_s=3 * samples[0])
    memory = Memory(baseline_bytes=2**28, peak_bytes=2**28 + taken, delta_bytes=taken, input_bytes=2**20, output_bytes=2**10)
    known = replace(base, cell=cell, function=function, time_order=order, memory_order=order, flop=None)
    return replace(known, timing=timing, memory=memory, telemetry=None)


def records(network: str = "detection", device: str = "cpu") -> list[Record]:
    """Without attention, with a choice of positions, and every block alone, for both families."""
    rng = np.random.default_rng(5)
    found: list[Record] = []

    def add(name: str, case: Case) -> None:
        found.append(_record(Cell(name, device, case), FORMS.get(name), len(found), 1 + 0.01 * rng.standard_normal(15)))

    for size in SIZES[network]:
        add(WITHOUT, positions.network_case(network, WITHOUT, Attention(), *size))
        for words, name in itertools.product(_CHOICES[network], FORMS):
            add(name, positions.network_case(network, words, Attention(), *size))
        for one, name in itertools.product(positions.POSITIONS[network], FORMS):
            add(name, positions.case(one, Attention(), *size))
    return found
