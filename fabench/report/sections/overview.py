"""The first screen: headline, key numbers, time and memory over n, and the paper's memory bars."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.analysis.curves import Curve
from fabench.analysis.scaling import Exponent
from fabench.analysis.speedup import Speedup
from fabench.report import words
from fabench.report.blocks import Bar, BarChart, BarGroup, Block, Fact, Section, Text
from fabench.report.readings import Readings
from fabench.report.sections.charts import crossing, identifier, line_chart, series, short

__all__ = ["facts", "memory_bars", "section", "sentences"]

_MOST_GROUPS, _MOST_BARS = 7, 3


def sentences(readings: Readings) -> tuple[str, ...]:
    """The headline's sentences without the setting, which stands above them, and without what the evidence says against them."""
    prefix = f"{readings.headline.setting}: "
    return tuple(
        words.title_of(words.plain(said.removeprefix(prefix)))
        if said.startswith(prefix + "no ")
        else words.plain(said.removeprefix(prefix))
        for said in readings.headline.sentences
        if said != readings.headline.doubt
    )


def facts(readings: Readings) -> tuple[Fact, ...]:
    """The key numbers: crossover, factors at the largest shared n, exponents, what only one side ran."""
    said = readings.headline
    found: list[Fact] = []
    if said.crossover is not None:
        one = said.crossover
        if one.n is not None:
            found.append(
                Fact(
                    f"n = {words.integer(one.n.value)}", f"crossover in time, 95 % {crossing(one).partition(' ')[2].strip('()')}"
                )
            )
        else:
            low, high = one.range
            found.append(Fact("no crossover", f"in time, n = {low:,} to {high:,}"))
    found += [
        fact
        for fact in (_factor(said.speedup, "faster", "slower", ""), _factor(said.memory_ratio, "less", "more", "memory, "))
        if fact
    ]
    found += [_exponent(one, readings) for one in said.exponents if one.quantity == "time" and one.estimate is not None]
    if said.only_linear_n:
        found.append(Fact(f"n = {said.only_linear_n[-1]:,}", f"ran on {said.linear}, not on {said.quadratic}", "linear"))
    return tuple(found)


def _factor(found: Speedup | None, better: str, worse: str, what: str) -> Fact | None:
    if found is None:
        return None
    ratio = found.ratio.value
    shown = f"{words.show(max(ratio, 1 / ratio), 'ratio')} {better if ratio >= 1 else worse}"
    if abs(ratio - 1) < 0.005:
        shown = "equal"
    return Fact(shown, f"{what}{found.implementation} against {found.baseline} at n = {found.n:,}")


def _exponent(found: Exponent, readings: Readings) -> Fact:
    assert found.estimate is not None
    span = words.interval(found.estimate, "exponent")
    family = readings.families.get(found.implementation) or ""
    return Fact(f"n^{words.exponent(found.estimate.value)}", f"time of {found.implementation}, 95 % {span}", family)


def section(readings: Readings) -> Section | None:
    """Charts of the main setting."""
    if readings.main is None:
        return None
    blocks: list[Block] = [
        line_chart(readings, readings.main, "time", "Time", "overview"),
        line_chart(readings, readings.main, "memory", "Memory", "overview"),
    ]
    bars = memory_bars(readings)
    if bars is not None:
        blocks.append(bars)
    rest = sentences(readings)[2:]
    if rest:
        blocks.append(Text(rest, bullets=True))
    title = "Attention over n" if readings.networks.cells else "At a glance"
    return Section("overview", title, "", tuple(block for block in blocks if not _empty(block)))


def _empty(block: Block) -> bool:
    return getattr(block, "lines", None) == ()


def memory_bars(readings: Readings) -> BarChart | None:
    """The paper's Figure 4: memory as log bars, measured beside predicted, with words where a bar is missing."""
    assert readings.main is not None
    chosen = _chosen(readings, readings.curves_of(readings.main, "memory"))
    sizes = sorted({n for curve in chosen for n in (*curve.n, *(n for n, _ in curve.missing))})
    if not chosen or not any(curve.n for curve in chosen):
        return None
    if len(sizes) > _MOST_GROUPS:
        sizes = [sizes[round((len(sizes) - 1) * index / (_MOST_GROUPS - 1))] for index in range(_MOST_GROUPS)]
    part = readings.frame[readings.frame["setting"] == readings.main]
    keys = zip(part["implementation"].tolist(), part["n"].tolist(), strict=True)
    predicted = dict(zip(keys, part["predicted_delta_bytes"].tolist(), strict=True))
    spaces = dict(zip(part["n"].tolist(), part["space"].tolist(), strict=True))
    groups = tuple(BarGroup(_size(n, spaces[n]), tuple(_bar(readings, curve, n, predicted) for curve in chosen)) for n in sizes)
    return BarChart(
        id=identifier("overview", "bars"),
        title="Peak memory, measured beside predicted",
        subtitle=readings.main,
        x_label="positions n",
        y_label="Peak memory of the call",
        y_kind="bytes",
        groups=groups,
        summary="Peak memory of the call over n as bars, measured beside predicted. "
        + " ".join(bar.label + "." for group in groups for bar in group.bars),
        note="Hollow: what the formula predicts for an eager implementation. After the paper's Figure 4.",
    )


def _chosen(readings: Readings, found: Sequence[Curve]) -> list[Curve]:
    """The pair of the headline, and one that is quadratic in time but linear in memory: the honest baseline."""
    pair = (readings.headline.quadratic, readings.headline.linear)
    first = [curve for curve in found if curve.implementation in pair]
    fused = [curve for curve in found if readings.orders[curve.implementation] == (2, 1) and curve.n and curve not in first]
    chosen = (first + fused[:1]) if first else [curve for curve in found if curve.n]
    return chosen[:_MOST_BARS]


def _size(n: int, space: str | None) -> str:
    return f"{n:,}" if space is None else f"{n:,} ({words.plain(space).replace('x', '×')})"


def _bar(readings: Readings, curve: Curve, n: int, predictions: dict[tuple[str, int], float]) -> Bar:
    value = dict(zip(curve.n, curve.values, strict=True)).get(n)
    guess = predictions.get((curve.implementation, n))
    expected = guess if guess is not None and guess > 0 else None
    why = dict(curve.missing).get(n, "not measured")
    told = words.show(value, "bytes") if value is not None else why
    label = f"{curve.implementation}, n = {n:,}: {told}, predicted {words.show(expected, 'bytes')}"
    return Bar(series(readings, curve.implementation), value, expected, "" if value else short(why), words.plain(label))
