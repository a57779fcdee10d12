"""Verdicts on stored launches against scipy and simulated machines: what they catch, how often they cry wolf, and what no test can tell."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fabench.analysis.estimate import Floats
from fabench.analysis.launches import Launched, Rule, TimeChange, contrasts, judge

CELLS = 10
Machine = Callable[[np.random.Generator, tuple[int, int], float], Floats]
Side = tuple[float, ...]


def normal(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> Floats:
    return np.asarray(spread * rng.standard_normal(shape))


def heavy_tails(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> Floats:
    return np.asarray(spread / math.sqrt(3) * rng.standard_t(3, shape))


def flips(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> Floats:
    """In 30 % of its launches a cell runs 1.6 times as long."""
    return np.asarray(spread * rng.standard_normal(shape) + (rng.random(shape) < 0.3) * math.log(1.6))


def bursts(rng: np.random.Generator, shape: tuple[int, int], spread: float) -> Floats:
    """One launch in ten meets a burst of load, in all cells."""
    return np.asarray(spread * rng.standard_normal(shape) + (rng.random(shape[1]) < 0.1) * rng.random(shape[1]))


MACHINES: dict[str, Machine] = {"normal": normal, "heavy tails": heavy_tails, "flips": flips, "bursts": bursts}


def verdicts(base: Floats, head: Floats, rule: Rule | None = None) -> list[str]:
    cells = [Launched(tuple(old.tolist()), tuple(new.tolist())) for old, new in zip(base, head, strict=True)]
    return [one.verdict for one in judge(cells, rule or Rule())[0]]


def simulated(
    machine: Machine, spread: float, effect: float, launches: int, times: int, rule: Rule | None = None
) -> tuple[int, int]:
    """(comparisons with an alarm in a cell that did not change, comparisons that saw the change in the first cell)."""
    rng = np.random.default_rng(0)
    alarms = seen = 0
    for _ in range(times):
        base, head = machine(rng, (CELLS, launches), spread), machine(rng, (CELLS, launches), spread)
        head[0] += math.log1p(effect)
        found = verdicts(base, head, rule)
        alarms += "slower" in found[1 if effect else 0 :]
        seen += found[0] == "slower"
    return alarms, seen


def beyond_chance(hits: int, trials: int, rate: float) -> bool:
    """Whether so many hits refute that the true rate is `rate` or less."""
    return float(stats.binom.sf(hits - 1, trials, rate)) < 1e-3


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("launches", [5, 10])
def test_of_ten_unchanged_cells_none_is_called_slower_in_95_of_100_comparisons(name: str, launches: int) -> None:
    """Also without a smallest effect, so that the test alone holds the level."""
    for spread in (0.02, 0.2):
        alarms, _ = simulated(MACHINES[name], spread, 0.0, launches, 250, Rule(min_effect=1e-6))
        assert not beyond_chance(alarms, 250, 0.05), (spread, alarms)


@pytest.mark.parametrize(("base", "head"), [(5, 20), (20, 5), (6, 9)])
@pytest.mark.parametrize("name", MACHINES)
def test_the_level_holds_where_one_side_has_more_launches(name: str, base: int, head: int) -> None:
    rng = np.random.default_rng(0)
    draw = MACHINES[name]
    pairs = ((draw(rng, (CELLS, base), 0.05), draw(rng, (CELLS, head), 0.05)) for _ in range(200))
    alarms = sum("slower" in verdicts(old, new, Rule(min_effect=1e-6)) for old, new in pairs)
    assert not beyond_chance(alarms, 200, 0.05), alarms


def test_of_the_longer_side_as_many_launches_are_used_spread_evenly() -> None:
    odd = tuple(
        0.3 if index % 4 else value
        for index, value in zip(range(17), [0.0, 0, 0, 0, 0.01, 0, 0, 0, -0.01, 0, 0, 0, 0.005, 0, 0, 0, -0.005], strict=True)
    )
    found = only(odd, FIVE)
    assert (found.base_launches, found.head_launches, found.verdict) == (5, 5, "equivalent")


def test_with_the_smallest_effect_alarms_are_rare() -> None:
    alarms, _ = simulated(normal, 0.03, 0.0, 5, 300)
    assert alarms == 0


@pytest.mark.parametrize("name", ["normal", "heavy tails"])
def test_it_sees_what_is_large(name: str) -> None:
    _, seen = simulated(MACHINES[name], 0.03, 0.25, 8, 200)
    assert not beyond_chance(200 - seen, 200, 0.05), seen


def test_no_test_can_tell_a_machine_in_another_mood_from_a_change() -> None:
    """Why stored time is said to be worth little: a mood of 15 %, the same for all launches of a side, alarms far more often than alpha."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(100):
        moods = 0.15 * rng.standard_normal(2)
        base, head = (normal(rng, (CELLS, 5), 0.03) + mood for mood in moods)
        alarms += "slower" in verdicts(base, head)
    assert alarms > 15


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.lists(st.floats(-1, 1), min_size=2, max_size=9))
def test_a_contrast_is_scipys_welch_test(base: list[float], head: list[float]) -> None:
    if min(np.std(base), np.std(head)) < 0.01:
        return
    (found,) = contrasts([(base, head)], 0.05)
    expected = stats.ttest_ind(head, base, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(head) - np.mean(base))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.p == pytest.approx(expected.pvalue / 2)


def only(base: Side, head: Side, cells: int = 1, rule: Rule | None = None, bound: float | None = None) -> TimeChange:
    quiet = Launched((0.0, 0.001, -0.001, 0.002, 0.0), (0.001, 0.0, -0.001, 0.0, 0.001))
    return judge([Launched(base, head, bound), *[quiet] * (cells - 1)], rule or Rule())[0][0]


FIVE = (0.0, 0.01, -0.01, 0.005, -0.005)


def above(shift: float, values: Side = FIVE) -> Side:
    return tuple(value + shift for value in values)


def test_the_four_verdicts() -> None:
    assert only(FIVE, above(0.2)).verdict == "slower"
    assert only(above(0.2), FIVE).verdict == "faster"
    assert only(FIVE, above(0.001)).verdict == "equivalent"
    assert only(FIVE, (0.5, -0.5, 0.3, 0.2, -0.1)).verdict == "undecided"


def test_significant_but_small_is_not_slower() -> None:
    assert only(FIVE, above(0.05)).verdict == "equivalent"


def test_one_odd_launch_decides_nothing() -> None:
    assert only(FIVE, (*FIVE[:4], 5.0)).verdict == "undecided"


def test_four_launches_a_side_give_no_verdict_but_an_interval() -> None:
    found = only(FIVE[:4], above(0.2)[:4])
    assert (found.verdict, found.known_from) == ("undecided", "launches")
    assert found.low is not None and found.low > 1.1


def test_more_cells_ask_for_more() -> None:
    noisy = (0.1, 0.35, 0.2, 0.45, 0.15)
    assert only(FIVE, noisy).verdict == "slower"
    assert only(FIVE, noisy, cells=60).verdict == "undecided"


def test_cells_with_few_launches_take_no_share_of_alpha() -> None:
    noisy, few = (0.1, 0.35, 0.2, 0.45, 0.15), Launched((0.0, 0.1), (0.1, 0.0))
    assert judge([Launched(FIVE, noisy), *[few] * 60], Rule())[0][0].verdict == "slower"


def test_one_launch_a_side_is_bounded_by_the_noise_sheet() -> None:
    found = only((0.0,), (math.log(1.2),), bound=math.log(1.5))
    assert (found.verdict, found.known_from) == ("undecided", "noise sheet")
    assert (found.ratio, found.low, found.high) == pytest.approx((1.2, 1.2 / 1.5, 1.2 * 1.5))


def test_one_launch_a_side_and_no_sheet_has_no_interval() -> None:
    found = only((0.0,), (0.3,))
    assert (found.verdict, found.known_from, found.low, found.high) == ("undecided", "nothing", None, None)


@pytest.mark.parametrize(
    ("base", "head", "bound", "tripped"),
    [
        ((0.0,), (0.70,), None, True),
        ((0.0,), (0.69,), None, False),
        ((0.0,), (-0.70,), None, False),
        ((0.0,), (0.70,), 0.8, False),
        ((0.0,), (0.70,), 0.5, True),
        ((0.0, 0.1), (0.9, 1.0), None, True),
        ((0.0, 1.0, 0.1), (0.9,), None, False),
        ((0.0, 0.2, 0.1), (0.9,), None, True),
        ((0.0, 1.0), (0.9, 1.8), None, False),
        (FIVE, above(0.9, (0.0, 4.0, -0.8, 0.0, 0.0)), None, False),
    ],
)
def test_the_tripwire(base: Side, head: Side, bound: float | None, tripped: bool) -> None:
    found = only(base, head, bound=bound)
    assert found.tripwire == tripped
    assert (found.verdict == "slower") == tripped


def test_the_tripwire_stays_silent_at_the_spread_of_a_busy_machine() -> None:
    """25 % between two adjacent runs was measured; ten cells, one launch a side."""
    rng = np.random.default_rng(0)
    alarms = sum("slower" in verdicts(np.zeros((CELLS, 1)), normal(rng, (CELLS, 1), 0.25)) for _ in range(400))
    assert not beyond_chance(alarms, 400, 0.05)


@given(st.lists(st.tuples(*[st.lists(st.floats(-1, 1), min_size=1, max_size=7)] * 2), min_size=1, max_size=6))
def test_swapping_the_sides_swaps_slower_and_faster(data: list[tuple[list[float], list[float]]]) -> None:
    there = judge([Launched(tuple(a), tuple(b)) for a, b in data], Rule())[0]
    back = judge([Launched(tuple(b), tuple(a)) for a, b in data], Rule())[0]
    swapped = {"slower": "faster", "faster": "slower"}
    for one, other in zip(there, back, strict=True):
        if one.tripwire or other.tripwire or one.low is None or one.high is None:
            continue
        # On the bound itself rounding decides.
        if all(abs(abs(math.log(end)) - math.log1p(0.1)) > 1e-9 for end in (one.low, one.high) if 1e-9 < end < 1e9):
            assert other.verdict == swapped.get(one.verdict, one.verdict)


@pytest.mark.parametrize("wrong", [{"min_effect": 0.0}, {"alpha": 0.6}, {"launches": 1}])
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule(**wrong)  # type: ignore[arg-type]
