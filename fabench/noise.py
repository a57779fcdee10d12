"""This machine's noise floor, A against A: which differences between two cells can't be told from noise here.

A cell is one process that gives one median. Let y[i, j] be the logarithm of median j of launch i, all of the same work:

    y[i, j] = mu + b[i] + w[i, j],    var b = between^2 (what differs from process to process),    var w = within^2

A cell therefore has variance s^2 = between^2 + within^2, and the log ratio D of two cells of the same work has 2 s^2, with no covariance,
since no process is shared. From J launches of R medians each (balanced one-way analysis of variance, Searle, Casella and McCulloch 1992, 3.6):

    MSB = R var(launch means), expected within^2 + R between^2;    MSW = pooled variance inside launches, expected within^2
    s^2 = (MSB + (R - 1) MSW) / R

Few launches know s badly, so its upper 95 % bound is used: s_up^2 = df s^2 / chi2(0.05, df), with Satterthwaite's degrees of freedom
(Biometrics Bulletin 2, 1946). It is at worst J - 1 = 11 of 12 launches, which is 1.55 s. Then

    floor = 1.96 sqrt(2) s_up              |D| of A against A stays below it in 95 % of comparisons
    seen  = (1.96 + 1.645) sqrt(2) s_up    a true difference that large comes out above the floor in 95 % of comparisons

both as relative differences, e^x - 1. Logarithms of medians are taken as normal. What lasts longer than the sheet took (a neighbour that
comes for an hour) is not in it, so it is a floor: cells that were measured far apart differ by more.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabench.codec import encode
from fabench.kept import Shelf
from fabench.median import median

__all__ = ["SHELF", "Floor", "Sheet", "floor", "identity", "measure", "recall", "visible"]

_LAUNCHES, _FEWEST = 12, 4
_SETTINGS = ("MALLOC_", "OMP_", "MKL_", "PYTORCH_", "LD_PRELOAD")
_Z_TWO_SIDED, _Z_ONE_SIDED = 1.959964, 1.644854


@dataclass(frozen=True, slots=True)
class Floor:
    """One duration class. `floor` and `seen` as derived above; `within` and `between` are standard deviations of log medians.

    `duration_s` is the median of the work as it ran. Faults and switches are means per sample, None where they are not counted.
    """

    floor: float
    seen: float
    within: float
    between: float
    duration_s: float
    minor_faults: float | None = None
    involuntary_switches: float | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one device showed: `launches` processes of `medians` medians each, per class by its nominal seconds ("0.002").

    `clock_step_s`: the smallest step of the host's clock.
    """

    measured_at: str
    launches: int
    medians: int
    clock_step_s: float
    classes: dict[str, Floor]


def _chi2_low(df: float) -> float:
    """The 5 % quantile of chi-squared, by Wilson and Hilferty (1931); too low, so cautious, for few degrees of freedom."""
    part = 2 / (9 * df)
    return df * (1 - part - _Z_ONE_SIDED * math.sqrt(part)) ** 3


def floor(medians_s: Sequence[Sequence[float]]) -> Floor:
    """The floor from medians per launch, in seconds: two launches at least, each with the same two or more medians."""
    logs = [[math.log(value) for value in launch] for launch in medians_s]
    launches, repeats = len(logs), len(logs[0])
    means = [math.fsum(launch) / repeats for launch in logs]
    middle = math.fsum(means) / launches
    between = repeats * math.fsum((mean - middle) ** 2 for mean in means) / (launches - 1)
    inside = math.fsum((value - mean) ** 2 for launch, mean in zip(logs, means, strict=True) for value in launch)
    within = inside / (launches * (repeats - 1))
    parts = ((between / repeats, launches - 1), (within * (repeats - 1) / repeats, launches * (repeats - 1)))
    variance = math.fsum(part for part, _ in parts)
    scale = 0.0
    if variance > 0:
        df = variance**2 / math.fsum(part**2 / own for part, own in parts)
        scale = math.sqrt(2 * variance * df / _chi2_low(df))
    return Floor(
        floor=math.expm1(_Z_TWO_SIDED * scale),
        seen=math.expm1((_Z_TWO_SIDED + _Z_ONE_SIDED) * scale),
        within=math.sqrt(within),
        between=math.sqrt(max(0.0, (between - within) / repeats)),
        duration_s=median([value for launch in medians_s for value in launch]),
    )


def measure(
    launch: Callable[[Mapping[str, Any] | None], Mapping[str, Any]],
    measured_at: str,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Sheet:
    """A sheet from up to 12 launches that together take about `seconds`; four are taken in any case.

    `launch` is a process of its own that answers {"work": .., "clock_step_s": .., "classes": {name: [{"median_s": .., ..}, ..]}}.
    It gets the first one's work, so that all do the same.
    """
    start = clock()
    answers: list[Mapping[str, Any]] = []
    longest = 0.0
    while len(answers) < _FEWEST or (len(answers) < _LAUNCHES and clock() - start + longest <= seconds):
        before = clock()
        answers.append(launch(answers[0]["work"] if answers else None))
        longest = max(longest, clock() - before)
    classes = {name: _class([answer["classes"][name] for answer in answers]) for name in answers[0]["classes"]}
    repeats = len(next(iter(answers[0]["classes"].values())))
    return Sheet(measured_at, len(answers), repeats, min(answer["clock_step_s"] for answer in answers), classes)


def _class(launches: Sequence[Sequence[Mapping[str, Any]]]) -> Floor:
    found = floor([[entry["median_s"] for entry in launch] for launch in launches])
    entries = [entry for launch in launches for entry in launch]
    return Floor(
        found.floor, found.seen, found.within, found.between, found.duration_s,
        _mean([entry.get("minor_faults") for entry in entries]), _mean([entry.get("involuntary_switches") for entry in entries]),
    )  # fmt: skip


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def visible(noise: Any, duration_s: float) -> float | None:
    """The smallest relative difference between two cells of `duration_s` that is more than noise, or None where it is not known.

    `noise` is what an environment holds under devices[NAME]["noise"]: a sheet as JSON. Between classes the floor follows the logarithm
    of the duration; outside them the nearest class holds.
    """
    known: list[tuple[float, float]] = []
    try:
        known = sorted((math.log(float(name)), float(entry["floor"])) for name, entry in noise["classes"].items())
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    if not known or not duration_s > 0:
        return None
    at = min(max(math.log(duration_s), known[0][0]), known[-1][0])
    for (left, low), (right, high) in itertools.pairwise(known):
        if left <= at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return known[0][1]


def identity(facts: Mapping[str, Any], built: Mapping[str, Any], settings: Mapping[str, str]) -> dict[str, Any]:
    """What a sheet holds for: this machine, the device as it describes itself, its threads, torch, allocator and OpenMP settings."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}
    return {
        "machine": platform.node(),
        "device": facts.get("name"),
        "uuid": facts.get("uuid"),
        "threads": facts.get("threads"),
        "torch": built.get("torch"),
        "settings": inherited | {name: value for name, value in settings.items() if name.startswith(_SETTINGS)},
    }


SHELF: Shelf[Sheet] = Shelf("noise.json", Sheet, "noise floors", "fabench doctor")


def recall(of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stored sheet of what `identity` says, as plain JSON, or None if there is none. Raises StoreError for a file that is broken."""
    found = SHELF.recall(of)
    return None if found is None else dict(json.loads(encode(found)))
