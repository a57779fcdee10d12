"""Simulated machines, turn by turn: what a launch pair's rounds look like where noise has the forms that it has on real ones.

Times are exp of a sum: what a launch does to each side (nested spread, two modes), what the machine does in the course of the turns (drift,
autocorrelation, bursts of load, the same path for both sides, met at different moments), and each turn's own noise. Sides alternate turn by turn,
and which begins is drawn, as in `fabench.sweep.duet`. All is drawn from a seed; nothing here is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fabench.analysis.estimate import Floats

__all__ = ["MACHINES", "Machine", "log_ratios"]

ROUNDS = 20


@dataclass(frozen=True)
class Machine:
    """Standard deviations are of log times. `launch`: of each side of a pair; `turn`: of each turn, heavy-tailed (t with 3 degrees of freedom).

    `flips`: share of launches that run 1.6 times as long. `drift`: over the turns of a cell. `wander`: of a process that keeps 0.95 of itself from
    turn to turn. `burst`: while one lasts, in log time; it begins in one turn of `calm` and ends in one of `busy`, in one pair of `bursty` cells.
    `second`: what a round's second turn takes more.
    """

    launch: float = 0.015
    turn: float = 0.04
    flips: float = 0.0
    drift: float = 0.0
    wander: float = 0.0
    burst: float = 0.0
    calm: int = 20
    busy: int = 6
    bursty: int = 1
    second: float = 0.0


MACHINES = {
    "nested spread": Machine(),
    "wide nested spread": Machine(launch=0.04, turn=0.1),
    "drift": Machine(drift=0.2),
    "two modes": Machine(flips=0.15),
    "autocorrelation": Machine(wander=0.15),
    "bursts of load": Machine(burst=0.7),
    "bursts in every third pair": Machine(burst=1.5, bursty=3),
    "second turn slower": Machine(second=0.01),
    "all together": Machine(flips=0.05, drift=0.1, wander=0.05, burst=0.5, bursty=2, second=0.005),
}


def log_ratios(machine: Machine, rng: np.random.Generator, gates: int, cells: int, pairs: int) -> Floats:
    """Each launch pair's median over rounds of log(head / base), [gate, cell, pair], of the same code on both sides."""
    shape = (gates, cells, pairs)
    sides = machine.launch * rng.standard_normal((2, *shape))
    sides += math.log(1.6) * (rng.random(sides.shape) < machine.flips)
    path = _path(machine, rng, shape)  # [2 * round + place, gate, cell, pair]
    path += machine.turn / math.sqrt(3) * rng.standard_t(3, path.shape)
    path[1::2] += math.log1p(machine.second)
    first, second = path[0::2], path[1::2]
    # Head is second in every other round; a coin says in which.
    turned = (np.arange(ROUNDS)[:, None, None, None] + rng.integers(0, 2, shape)) % 2 == 0
    differences = np.where(turned, second - first, first - second) + (sides[1] - sides[0])
    return np.asarray(np.median(differences, axis=0))


def _path(machine: Machine, rng: np.random.Generator, shape: tuple[int, int, int]) -> Floats:
    turns = 2 * ROUNDS
    path = np.zeros((turns, *shape))
    path += machine.drift * rng.standard_normal(shape) * np.linspace(-0.5, 0.5, turns)[:, None, None, None]
    if machine.wander:
        state = rng.standard_normal(shape)
        for turn in range(turns):
            state = 0.95 * state + math.sqrt(1 - 0.95**2) * rng.standard_normal(shape)
            path[turn] += machine.wander * state
    if machine.burst:
        gates, _, pairs = shape
        meets = rng.random((gates, 1, pairs)) < 1 / machine.bursty  # all cells of a pair
        on = rng.random(shape) < machine.busy / (machine.busy + machine.calm)
        for turn in range(turns):
            on = np.where(on, rng.random(shape) >= 1 / machine.busy, rng.random(shape) < 1 / machine.calm)
            path[turn] += machine.burst * (on & meets)
    return path
