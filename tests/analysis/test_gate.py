"""The gate's rule against simulated machines: how often it cries wolf, how often it sees a real change, and what it does at the edges."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabench.analysis.estimate import Floats
from fabench.analysis.gate import Rule, Verdict, pairs_needed, verdicts

CELLS = 10
Machine = Callable[[np.random.Generator, int, float], Floats]


def normal(rng: np.random.Generator, count: int, spread: float) -> Floats:
    return np.asarray(spread * rng.standard_normal((CELLS, count)))


def heavy_tails(rng: np.random.Generator, count: int, spread: float) -> Floats:
    return np.asarray(spread / math.sqrt(3) * rng.standard_t(3, (CELLS, count)))


def lasting_states(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """A state of the host lasts for about three pairs and favours, in all cells, the side that goes first: drawn for each pair."""
    state, states = 0.0, np.empty(count)
    for index in range(count):
        if rng.random() < 0.3:
            state = float(rng.normal(0, spread))
        states[index] = state
    return np.asarray(0.5 * states * rng.choice([-1.0, 1.0], count) + spread * rng.standard_normal((CELLS, count)))


def flips(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """In 15 % of its launches either side runs 1.6 times as long."""
    flipped = (rng.random((2, CELLS, count)) < 0.15) * math.log(1.6)
    return np.asarray(spread * rng.standard_normal((CELLS, count)) + flipped[0] - flipped[1])


def bursts(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """One pair in ten meets a burst of load, four times as noisy, for all cells."""
    return spread * rng.standard_normal((CELLS, count)) * np.where(rng.random(count) < 0.1, 4.0, 1.0)


def bias(rng: np.random.Generator, count: int, spread: float) -> Floats:
    """The side that goes second is half a percent slower, and order is drawn for each pair."""
    return spread * rng.standard_normal((CELLS, count)) + 0.005 * rng.choice([-1.0, 1.0], count)


MACHINES: dict[str, Machine] = {
    "normal": normal, "heavy tails": heavy_tails, "lasting states": lasting_states, "flips": flips, "bursts": bursts, "bias": bias,
}  # fmt: skip


def gate(data: Floats, rule: Rule) -> tuple[list[str], int]:
    """Verdicts as they stand when each cell is decided or the looks are used up; launch pairs used."""
    final = ["undecided"] * CELLS
    for look in rule.looks:
        for index, found in enumerate(verdicts({str(cell): data[cell, :look].tolist() for cell in range(CELLS)}, rule)):
            if final[index] == "undecided":
                final[index] = found.verdict
        if "undecided" not in final:
            return final, look
    return final, rule.looks[-1]


def simulated(machine: Machine, spread: float, effect: float, rule: Rule, gates: int, seed: int = 0) -> tuple[int, int]:
    """(gates with an alarm in a cell that did not change, gates that saw the change in the first cell)."""
    rng = np.random.default_rng(seed)
    alarms = seen = 0
    for _ in range(gates):
        data = machine(rng, rule.looks[-1], spread)
        data[0] += math.log1p(effect)
        final, _ = gate(data, rule)
        alarms += "slower" in final[1 if effect else 0 :]
        seen += final[0] == "slower"
    return alarms, seen


def beyond_chance(hits: int, trials: int, rate: float) -> bool:
    """Whether so many hits refute that the true rate is `rate` or less."""
    return float(stats.binom.sf(hits - 1, trials, rate)) < 1e-3


@pytest.mark.parametrize("name", MACHINES)
def test_it_does_not_cry_wolf(name: str) -> None:
    """At most one gate in a hundred calls any of ten unchanged cells slower, at spreads from quiet to worse than measured anywhere."""
    for spread in (0.015, 0.03, 0.05):
        alarms, _ = simulated(MACHINES[name], spread, 0.0, Rule(), 2000)
        assert not beyond_chance(alarms, 2000, 0.01), (spread, alarms)


@pytest.mark.parametrize(("effect", "rule", "wanted"), [(0.1, Rule(), 0.95), (0.05, Rule(0.025, looks=(5, 10, 15)), 0.8)])
@pytest.mark.parametrize("name", ["normal", "heavy tails", "bursts", "bias"])
def test_it_sees_what_is_there(name: str, effect: float, rule: Rule, wanted: float) -> None:
    alarms, seen = simulated(MACHINES[name], 0.025, effect, rule, 500)
    assert not beyond_chance(500 - seen, 500, 1 - wanted), seen
    assert not beyond_chance(alarms, 500, 0.01)


def test_launches_that_flip_leave_it_undecided_and_not_wrong() -> None:
    rng = np.random.default_rng(3)
    finals = [gate(flips(rng, 12, 0.02), Rule())[0] for _ in range(100)]
    share = np.mean([[verdict == "undecided" for verdict in final] for final in finals])
    assert share > 0.5


def only(values: list[float], rule: Rule | None = None, cells: int = 1) -> Verdict:
    quiet = {f"quiet {index}": [0.001, -0.001, 0.0, 0.001, -0.001] for index in range(cells - 1)}
    return verdicts({"cell": values, **quiet}, rule or Rule())[0]


def test_one_cell_is_scipys_paired_t_test() -> None:
    values = [0.08, 0.11, 0.09, 0.13, 0.1]
    found = only(values)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.ratio.low, found.ratio.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert found.verdict == "slower"


def test_the_four_verdicts() -> None:
    assert only([0.1, 0.11, 0.09, 0.1, 0.1]).verdict == "slower"
    assert only([-0.1, -0.11, -0.09, -0.1, -0.1]).verdict == "faster"
    assert only([0.001, -0.002, 0.001, 0.0, 0.002]).verdict == "equivalent"
    assert only([0.2, -0.2, 0.1, 0.3, -0.1]).verdict == "undecided"


def test_significant_but_small_is_not_slower() -> None:
    assert only([0.02, 0.021, 0.02, 0.019, 0.02]).verdict == "equivalent"


def test_one_odd_pair_decides_nothing() -> None:
    assert only([0.0, 0.0, 0.001, 0.0, 3.0]).verdict == "undecided"


def test_more_cells_ask_for_more() -> None:
    values = [0.09, 0.17, 0.05, 0.2, 0.11]
    assert only(values, cells=1).verdict == "slower"
    assert only(values, cells=60).verdict == "undecided"


def test_equal_pairs_are_not_believed_to_be_exact() -> None:
    assert only([0.06] * 5).spread > 0


@given(st.lists(st.lists(st.floats(-1, 1), min_size=2, max_size=15), min_size=1, max_size=8), st.floats(0.01, 0.3))
def test_swapping_base_and_head_swaps_slower_and_faster(data: list[list[float]], effect: float) -> None:
    rule = Rule(effect)
    there = verdicts({str(index): values for index, values in enumerate(data)}, rule)
    back = verdicts({str(index): [-value for value in values] for index, values in enumerate(data)}, rule)
    swapped = {"slower": "faster", "faster": "slower"}
    for one, other in zip(there, back, strict=True):
        # On the bound itself both log1p(effect) and rounding decide.
        if all(abs(abs(end) - math.log1p(effect)) > 1e-9 for end in (math.log(one.ratio.low), math.log(one.ratio.high))):
            assert other.verdict == swapped.get(one.verdict, one.verdict)


def test_the_pairs_needed_give_the_power_asked_for() -> None:
    rule = Rule()
    count = pairs_needed(0.03, rule, CELLS, 0.1)
    assert count is not None
    once = Rule(rule.min_effect, rule.alpha / len(rule.looks), (count,))
    _, seen = simulated(normal, 0.03, 0.1, once, 300)
    assert not beyond_chance(300 - seen, 300, 0.05)
    assert seen < 300 or count <= 5


def test_no_number_of_pairs_tells_an_effect_from_one_that_does_not_matter() -> None:
    assert pairs_needed(0.02, Rule(0.05), CELLS, 0.049) is None


@pytest.mark.parametrize("wrong", [{"min_effect": 0.0}, {"alpha": 0.6}, {"looks": ()}, {"looks": (1, 2)}, {"looks": (5, 5)}])
def test_impossible_rules_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule(**wrong)  # type: ignore[arg-type]
