"""The headline: what a run says, in sentences computed from its data, with numbers and intervals.

The main setting is the one that shows most: at least three n run by both a quadratic and a linear implementation, then the
materialised dot product against a factorized form, core scope, forward; then as many shared n as there are. Among several linear
implementations the fastest at the largest shared n speaks. "No crossover in range" is a headline too, and a factor across functions
says that the functions differ. Where times behind it are graded C or D, or were left out as impossible, the last sentence says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from fabench.analysis.crossover import Crossover, crossovers
from fabench.analysis.curves import DRAWS, Curve, by_setting, curves
from fabench.analysis.doubts import Code
from fabench.analysis.estimate import Estimate
from fabench.analysis.frame import IMPOSSIBLE
from fabench.analysis.scaling import Exponent, exponents
from fabench.analysis.speedup import Speedup, speedups
from fabench.units import format_ratio

__all__ = ["Headline", "headline"]

_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Headline:
    """`sentences`, and what they were made of. Where nothing can be compared one sentence says so, and the rest is None or empty.

    `others`: crossovers of the same linear implementation with the other quadratic ones (fused kernels among them).
    `only_linear_n`: n that the linear one ran and the quadratic one was asked for and could not. `doubt`: what the evidence of the times
    behind it says against it, "" for nothing; the last of the sentences.
    """

    sentences: tuple[str, ...]
    setting: str | None = None
    quadratic: str | None = None
    linear: str | None = None
    same_function: bool | None = None
    crossover: Crossover | None = None
    others: tuple[Crossover, ...] = ()
    speedup: Speedup | None = None
    memory_ratio: Speedup | None = None
    exponents: tuple[Exponent, ...] = ()
    only_linear_n: tuple[int, ...] = ()
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class _Main:
    quadratic: Curve
    linear: Curve
    shared: tuple[int, ...]


def headline(frame: pd.DataFrame, *, draws: int = DRAWS, seed: int = 0) -> Headline:
    """The sentences for this frame."""
    main = _main(frame)
    if main is None:
        return Headline((_nothing(frame),))
    setting, pair = main.quadratic.setting, (main.quadratic.implementation, main.linear.implementation)
    here = frame[frame["setting"] == setting]
    both = here[here["implementation"].isin(pair)]
    crossed = [found for found in crossovers(here, draws=draws, seed=seed) if found.second == pair[1]]
    own = next(found for found in crossed if found.first == pair[0])
    others = tuple(found for found in crossed if found.first != pair[0])
    slopes = tuple(
        found for quantity in ("time", "memory") for found in exponents(both, quantity, draws, seed) if found.estimate is not None
    )
    speed, memory = (_factor(both, quantity, pair, draws, seed) for quantity in ("time", "memory"))
    only = _only_linear(main)
    same, doubt = own.same_function, _doubt(main, frame)
    said = [
        _crossover_sentence(own),
        _factor_sentence(speed, memory),
        _exponent_sentence(slopes),
        _only_sentence(main, only),
        *(_crossover_sentence(found, short=True) for found in others),
        doubt,
    ]
    return Headline(
        tuple(text for text in said if text), setting, *pair, same, own, others, speed, memory, slopes, only, doubt,
    )  # fmt: skip


def _main(frame: pd.DataFrame) -> _Main | None:
    candidates = [
        _Main(first, second, shared)
        for group in by_setting(curves(frame, "time")).values()
        for first in group
        for second in group
        if first.family == "quadratic" and second.family == "linear" and (shared := tuple(sorted(set(first.n) & set(second.n))))
    ]
    return min(candidates, key=_rank, default=None)


def _rank(main: _Main) -> tuple[object, ...]:
    parts = main.quadratic.setting.split(" · ")
    return (
        len(main.shared) < _ENOUGH,
        main.quadratic.implementation != "dot_product",
        not main.linear.implementation.startswith("factorized"),
        "core" not in parts,
        "fwd" not in parts,
        -len(main.shared),
        main.quadratic.setting,
        main.linear.values[main.linear.n.index(main.shared[-1])],
        main.linear.implementation,
    )


def _nothing(frame: pd.DataFrame) -> str:
    if not len(frame):
        return "Nothing was measured."
    count = int((frame["status"] == "ok").sum())
    return f"No setting has a time of both a quadratic and a linear implementation ({count} of {len(frame)} cells ok)."


def _factor(both: pd.DataFrame, quantity: str, pair: tuple[str, str], draws: int, seed: int) -> Speedup | None:
    """The linear one against the quadratic one at the largest n both have."""
    found = speedups(
        both, "memory" if quantity == "memory" else "time", baselines=pair[:1], other_function=True, draws=draws, seed=seed
    )
    return max((one for one in found if one.baseline == pair[0]), key=lambda one: one.n, default=None)


def _only_linear(main: _Main) -> tuple[int, ...]:
    refused = {n for n, why in main.quadratic.missing if not why.startswith(IMPOSSIBLE)}
    return tuple(n for n in main.linear.n if n in refused)


def _span(estimate: Estimate, form: str) -> str:
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def _ratio(estimate: Estimate) -> str:
    value, low, high = (format_ratio(number) for number in (estimate.value, estimate.low, estimate.high))
    return value if math.isclose(estimate.low, estimate.high) else f"{value} [{low}, {high}]"


def _crossover_sentence(found: Crossover, short: bool = False) -> str:
    low, high = found.range
    start = "" if short else f"{found.setting}: "
    if found.n is None:
        where = f"n = {low:,} to {high:,}" if low != high else f"n = {low:,}"
        if found.after is None:
            return f"{start}{found.second} and {found.first} are equally fast at {where}."
        loser = found.first if found.after == found.second else found.second
        words = "No" if short else "no"
        return f"{start}{words} crossover in range: {found.after} is faster than {loser} at {where}."
    assert found.after is not None and found.before is not None
    interval = f"95 % interval {'below ' if found.open_low else ''}{found.n.low:,.0f} to {'above ' if found.open_high else ''}{found.n.high:,.0f}"
    times = f", the last of {found.crossings} crossings" if found.status == "several" else ""
    return f"{start}{found.after} overtakes {found.before} at n = {found.n.value:,.0f} ({interval}{times})."


def _factor_sentence(speed: Speedup | None, memory: Speedup | None) -> str:
    if speed is None:
        return ""
    ahead, behind, ratio = _sides(speed)
    text = f"At n = {speed.n:,}, the largest that both ran, {ahead} is {_ratio(ratio)} as fast as {behind}"
    if memory is not None:
        smaller, larger, less = _sides(memory)
        subject = "" if smaller == ahead else f"{smaller} "
        object_ = "" if smaller == ahead else f" than {larger}"
        said = "both take the same memory" if less.value == 1 else f"{subject}takes {_ratio(less)} less memory{object_}"
        text += f" and {said}" + ("" if memory.n == speed.n else f" (at n = {memory.n:,})")
    if speed.same_function:
        return f"{text}; both compute {speed.function}."
    return f"{text}; they compute different functions ({_functions(speed)}), so this compares costs, not equal results."


def _sides(factor: Speedup) -> tuple[str, str, Estimate]:
    """Who is ahead, who is behind, and by which factor of at least 1."""
    ratio = factor.ratio
    if ratio.value >= 1:
        return factor.implementation, factor.baseline, ratio
    return factor.baseline, factor.implementation, Estimate(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)


def _functions(speed: Speedup) -> str:
    return f"{speed.implementation}: {speed.function}; {speed.baseline}: {speed.baseline_function}"


def _exponent_sentence(slopes: Sequence[Exponent]) -> str:
    parts = []
    for quantity in ("time", "memory"):
        said = [
            f"{one.implementation} n^{_span(one.estimate, '.2f')}" for one in slopes if one.quantity == quantity and one.estimate
        ]
        if said:
            parts.append(f"{quantity} grows as {', '.join(said)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _only_sentence(main: _Main, only: Sequence[int]) -> str:
    if not only:
        return ""
    reason = next(why for n, why in main.quadratic.missing if n == only[0])
    sizes = " and ".join(f"{n:,}" for n in only) if len(only) < 3 else f"{only[0]:,} to {only[-1]:,}"
    return (
        f"{main.linear.implementation} also ran n = {sizes}; {main.quadratic.implementation} did not (n = {only[0]:,}: {reason})."
    )


def _doubt(main: _Main, frame: pd.DataFrame) -> str:
    """What the evidence says against the times of the pair."""
    grades, warnings = (frame[name].tolist() for name in ("grade", "warnings"))
    rows = (*main.quadratic.rows, *main.linear.rows)
    gravest = [str(warnings[row]).partition(",")[0] for row in rows if grades[row] in ("C", "D")]
    lost = sum(why.startswith(IMPOSSIBLE) for curve in (main.quadratic, main.linear) for _, why in curve.missing)
    said = []
    if gravest.count(Code.SCRIPTED) == len(rows):
        said.append("These times are scripted: nothing was measured.")
    elif gravest:
        named = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in Counter(gravest).most_common(3))
        verb = "is" if len(gravest) == 1 else "are"
        said.append(f"Of the {len(rows)} times behind this, {len(gravest)} {verb} graded C or D ({named}).")
    if lost:
        said.append(f"{lost} {'time is' if lost == 1 else 'times are'} left out as impossible.")
    return " ".join(said)
