"""The tables of the gate's evidence, as Markdown; see `tests.perf.gates`. Every number is computed here from what was read or simulated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fabench.analysis.estimate import Estimate, Floats, Ints
from fabench.analysis.gate import Rule
from fabench.analysis.outcome import Outcome, outcome
from fabench.store import Gate
from fabench.units import format_duration
from tests.perf import spread
from tests.perf.launches import Costs, Launches, Planted, logged, wall_s
from tests.perf.machines import MACHINES, log_ratios
from tests.perf.readings import READINGS, alarms, power, power_planted
from tests.perf.replay import Tally, replay, replays
from tests.perf.rules import RULES
from tests.perf.shares import exact, said
from tests.perf.turns import Taken

__all__ = ["BUDGETS", "Condition", "budgets", "noise", "simulated", "table"]

EFFECTS = (0.05, 0.10)
BUDGETS = (
    Rule(),
    Rule(looks=(8, 12, 20)),
    Rule(0.025, looks=(5, 8, 12)),
    Rule(0.025, looks=(5, 10, 15)),
    Rule(0.025, looks=(8, 14, 20)),
    Rule(0.025, looks=(10, 20, 30)),
)
_CELLS = 14  # of a simulated gate, as many as suite ci has
_CHUNK = 100  # simulated gates at a time


@dataclass(frozen=True)
class Condition:
    """What was measured under one condition."""

    label: str
    gates: Sequence[Gate]
    launches: Launches
    costs: Costs
    planted: Sequence[Planted]


def _facts(found: Condition) -> str:
    """What lies under a table."""
    first, last = (gate.run.environment.started_at for gate in (found.gates[0], found.gates[-1]))
    host, packages = found.gates[0].run.environment.host, found.gates[0].run.environment.packages
    commits = sorted({side.commit[:12] for gate in found.gates for side in (gate.run.base, gate.run.head)})
    settings = sorted({(gate.run.min_effect, gate.run.alpha, gate.run.looks) for gate in found.gates})
    asked = "; ".join(
        f"effect {effect:.1%}, alpha {alpha:g}, looks {','.join(map(str, looks))}" for effect, alpha, looks in settings
    )
    return (
        f"{len(found.gates)} gates of suite {found.gates[0].run.environment.suite} ({len(found.launches.cells)} cells) at commit {', '.join(commits)}, "
        f"{first} to {last}; {host.get('cpu')}, {host.get('cores')} cores, torch {packages.get('torch')}. Rule: {asked}. "
        f"{len(found.launches.gate)} launch pairs with every cell; starting one takes {found.costs.start_s:.1f} s, "
        f"its cells {found.costs.pair_s - found.costs.start_s:.1f} s. {_beside(found.gates)}"
    )


def _beside(gates: Sequence[Gate]) -> str:
    """What ran beside the gates on purpose."""
    entries = [entry for gate in gates if (entry := logged(gate)) is not None]
    kinds = sorted({entry["disturbance"] for entry in entries} - {"none"})
    if not kinds:
        return "Nothing ran beside them on purpose."
    taken_s = float(np.mean([entry["disturbance_cpu_s"] for entry in entries if entry["disturbance"] in kinds]))
    return f"Beside them on purpose: {', '.join(kinds)}, {taken_s:.0f} s of processor time a gate."


def _planted(found: Condition, asked: float) -> list[Planted]:
    return [one for one in found.planted if math.isclose(one.asked, asked)]


def _head(asked: float, planted: Sequence[Planted]) -> str:
    """A column of planted work: what was asked for and what its pairs measured."""
    measured = [one.measured for one in planted]
    cells = f"in {len(planted)} cells, " if len(planted) > 1 else ""
    span = f"{min(measured):+.1%}" + (f" to {max(measured):+.1%}" if len(measured) > 1 else "")
    return f"{asked:.0%} planted ({cells}measured {span}, {sum(len(one.base) for one in planted)} pairs)"


def table(conditions: Sequence[Condition], gates: int) -> str:
    """Every rule on the same launches."""
    parts = []
    for found in conditions:
        planted = {asked: own for asked in EFFECTS if (own := _planted(found, asked))}
        heads = [f"{effect:.0%} simulated" for effect in EFFECTS]
        heads += [_head(asked, own) for asked, own in planted.items()]
        lines = [
            f"### {found.label}",
            "",
            _facts(found),
            "",
            f"| rule | reading | false alarms per gate | {' | '.join(heads)} | processes | wall time |",
            "|---|---|--:|" + "--:|" * len(heads) + "--:|--:|",
        ]
        lines += _own_rows(found, planted, gates)
        for rule in RULES:
            for reading in READINGS:
                cells = [said(alarms(found.launches, rule, reading))]
                cells += [said(power(found.launches, rule, reading, effect)) for effect in EFFECTS]
                cells += [said(power_planted(found.launches, own, rule, reading)) for own in planted.values()]
                count = rule.launches * (2 if reading == "interleaved" else 1)
                cells += [str(count), format_duration(count * found.costs.pair_s / 2)]
                lines.append(f"| {rule.name} | {reading} | {' | '.join(cells)} |")
        lines += ["", _verdicts(found), "", *_cells(found)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _own_rows(found: Condition, planted: Mapping[float, Sequence[Planted]], gates: int) -> Iterator[str]:
    """What the gates decided, then gates drawn anew of their launch pairs."""
    outcomes = [outcome(gate.run, gate.pairs) for gate in found.gates]
    dashes = " | ".join("–" for _ in range(len(EFFECTS) + len(planted)))
    launches = [2 * one.launches for one in outcomes]
    walls_s = [wall_s(gate) for gate in found.gates]
    yield (
        f"| **fabench gate**, as it decided | in turns | {said(_alarmed(outcomes))} | {dashes} "
        f"| {np.mean(launches):.1f}, at most {max(launches)} | {format_duration(float(np.mean(walls_s)))}, at most {format_duration(max(walls_s))} |"
    )
    for rule in (Rule(), Rule(0.025, looks=(5, 10, 15))):
        still = replays(found.launches, rule, found.costs, gates)
        cells = [said(still.alarms)]
        cells += [said(replays(found.launches, rule, found.costs, gates, effect).seen) for effect in EFFECTS]
        cells += [said(replays(found.launches, rule, found.costs, gates, planted=own).seen) for own in planted.values()]
        named = f"**fabench gate**, {gates} drawn anew, effect {rule.min_effect:.1%}, looks {_looks(rule)}"
        costs = f"{2 * still.launches:.1f}, at most {2 * still.most_launches} | {format_duration(still.wall_s)}"
        yield f"| {named} | in turns | {' | '.join(cells)} | {costs} |"
        fair = replays(found.launches, rule, found.costs, gates, swapped=True)
        yield f"| the same, sides swapped at random | in turns | {said(fair.alarms)} | {dashes} | {costs} |"


def _alarmed(outcomes: Sequence[Outcome]) -> Estimate:
    return exact(sum(bool(one.worse) for one in outcomes), len(outcomes))


def _verdicts(found: Condition) -> str:
    """How often each verdict was given to a cell, though nothing had changed."""
    counts = Counter(cell.verdict for gate in found.gates for cell in outcome(gate.run, gate.pairs).cells)
    return (
        "Verdicts of those gates, cell by cell: "
        + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        + "."
    )


def _cells(found: Condition) -> Iterator[str]:
    """Each cell's spread from pair to pair."""
    yield "| cell | call | spread of a pair | largest | mean of head against base |"
    yield "|---|--:|--:|--:|--:|"
    calls_s = np.median(found.launches.base, axis=(0, 2)).tolist()
    for cell, call_s, ratios in zip(found.launches.cells, calls_s, found.launches.ratios, strict=True):
        yield f"| {cell} | {format_duration(call_s)} | {ratios.std(ddof=1):.1%} | {np.abs(ratios).max():.1%} | {_bias(ratios, found.launches.gate)} |"


def _bias(ratios: Floats, gates: Ints) -> str:
    """Whether a side is favoured: the mean of the gates' means with its 95 % interval (t)."""
    means = np.array([ratios[gates == number].mean() for number in np.unique(gates)])
    if len(means) < 2:
        return f"{means.mean():+.2%}"
    half = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means)))
    return f"{means.mean():+.2%} ± {half * 100:.2f}"


def budgets(conditions: Sequence[Condition], gates: int) -> str:
    """What each budget finds, and what it costs."""
    parts = []
    for found in conditions:
        small = _planted(found, EFFECTS[0])
        heads = [f"{effect:.0%} simulated" for effect in EFFECTS]
        heads += [_head(EFFECTS[0], small)] if small else []
        lines = [
            f"### {found.label}",
            "",
            _facts(found),
            "",
            f"| effect, looks | false alarms | {' | '.join(heads)} | undecided cells | launch pairs, mean | most | expected wall time | with a change |",
            "|---|--:|" + "--:|" * len(heads) + "--:|--:|--:|--:|--:|",
        ]
        reached = None
        for rule in BUDGETS:
            still = replays(found.launches, rule, found.costs, gates)
            changed = [replays(found.launches, rule, found.costs, gates, effect) for effect in EFFECTS]
            planted = [replays(found.launches, rule, found.costs, gates, planted=small)] if small else []
            if reached is None and _value(changed[0]) >= 0.8:
                reached = f"{rule.min_effect:.1%}, looks {_looks(rule)}: {said(changed[0].seen)} in {format_duration(changed[0].wall_s)}"
            lines.append(
                f"| {rule.min_effect:.1%}, {_looks(rule)} | {said(still.alarms)} | {' | '.join(said(one.seen) for one in [*changed, *planted])} "
                f"| {still.undecided:.1%} | {still.launches:.1f} | {still.most_launches} "
                f"| {format_duration(still.wall_s)} | {format_duration(changed[0].wall_s)} |"
            )
        lines += ["", f"The first of these budgets that finds 5 % (simulated) in 80 of 100 gates: {reached or 'none'}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _looks(rule: Rule) -> str:
    return ",".join(map(str, rule.looks))


def _value(found: Tally) -> float:
    return 0.0 if found.seen is None else found.seen.value


def noise(conditions: Sequence[Condition], turns: Mapping[str, Sequence[Taken]]) -> str:
    """What each measure against noise does to the spread of a launch pair."""
    parts = []
    for found in conditions:
        lines = [
            f"### {found.label}: stored rounds",
            "",
            _facts(found),
            "",
            *_spreads(spread.of_estimators(found.launches), spread.STANDARD),
        ]
        lines += ["", *_spreads(spread.of_rounds(found.launches), f"{spread.ROUNDS[-1]} rounds")]
        lines += ["", "| rounds in which something else had the processor | cells of pairs | their spread |", "|---|--:|--:|"]
        lines += [
            f"| {name} | {count} | {'–' if value is None else f'{value:.1%}'} |"
            for name, count, value in spread.by_disturbance(found.launches)
        ]
        parts.append("\n".join(lines))
    for label, taken in turns.items():
        designs, variants = spread.of_turns(taken)
        cells = len({one.cell for one in taken})
        lines = [f"### {label}: measured anew, {cells} cells", "", "Ways to take turns, on the same launch pairs:", ""]
        lines += [
            *_spreads(designs, "standard"),
            "",
            "Settings of the processes, launch pairs of their own:",
            "",
            *_spreads(variants, "standard"),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _spreads(measures: Mapping[str, spread.Numbers], standard: str) -> Iterator[str]:
    yield "| measure | pairs | spread of a pair | median cell | times the standard's |"
    yield "|---|--:|--:|--:|--:|"
    for one in spread.spreads(measures, standard):
        times = "1" if one.times is None else f"{one.times.value:.2f} [{one.times.low:.2f}, {one.times.high:.2f}]"
        yield f"| {one.name} | {one.pairs} | {said(one.pooled)} | {one.middle:.1%} | {times} |"


def simulated(gates: int, cells: int = _CELLS, rule: Rule | None = None, seed: int = 0) -> str:
    """fabench's rule on simulated machines: nothing here was measured."""
    rule = rule or Rule()
    lines = [
        f"Simulated, nothing was measured: {gates} gates of {cells} cells a machine, 20 rounds a pair, effect {rule.min_effect:.1%}, alpha {rule.alpha:g}, looks {_looks(rule)}, seed {seed}.",
        "",
        "| machine | spread of a pair | false alarms per gate | 5 % in one cell | 10 % in one cell | undecided cells | launch pairs |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, machine in MACHINES.items():
        rng = np.random.default_rng([seed, *name.encode()])
        hits, seen, undecided, pairs, spreads = 0, [0, 0], 0, 0, []
        for start in range(0, gates, _CHUNK):
            data = log_ratios(machine, rng, min(_CHUNK, gates - start), cells, rule.looks[-1])
            spreads.append(data.std())
            for ratios in data:
                found = replay(ratios, rule)
                hits += "slower" in found.verdicts
                undecided += found.verdicts.count("undecided")
                pairs += found.launches
                for at, effect in enumerate(EFFECTS):
                    changed = ratios.copy()
                    changed[0] += math.log1p(effect)
                    seen[at] += replay(changed, rule).verdicts[0] == "slower"
        lines.append(
            f"| {name} | {np.mean(spreads):.1%} | {said(exact(hits, gates))} | {' | '.join(said(exact(one, gates)) for one in seen)} "
            f"| {undecided / gates / cells:.1%} | {pairs / gates:.1f} |"
        )
    return "\n".join(lines)
