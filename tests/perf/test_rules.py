"""Other tools' rules: each alarms on a clear change and not on equal data, and does what its tool does where that is at hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_benchmark.utils import parse_compare_fail
from scipy import stats

from fabench.analysis.estimate import Floats
from tests.perf.rules import RULES, Rule, asv_p

NAMED = {rule.name: rule for rule in RULES}
BENCHSTAT = next(rule for rule in RULES if rule.name.startswith("benchstat"))
CRITERION = next(rule for rule in RULES if rule.name.startswith("criterion"))
ASV = next(rule for rule in RULES if rule.name.startswith("asv"))


def samples(rule: Rule, seed: int, slower: float = 0.0, spread: float = 0.01, cells: int = 3) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    base, head = np.exp(spread * rng.standard_normal((2, rule.launches, cells, 20)))
    head[:, 0] *= 1 + slower
    return base, head


@pytest.mark.parametrize("name", NAMED)
def test_a_rule_alarms_on_a_clear_change_in_its_cell_alone(name: str) -> None:
    base, head = samples(NAMED[name], 1, slower=1.5)
    assert NAMED[name].alarms(base, head).tolist() == [True, False, False]


@pytest.mark.parametrize("name", NAMED)
def test_no_rule_alarms_on_equal_data_or_on_what_got_faster(name: str) -> None:
    base, _ = samples(NAMED[name], 2)
    assert not NAMED[name].alarms(base, base).any()
    assert not NAMED[name].alarms(base, base / 2.5).any()


@given(st.integers(0, 10**6), st.floats(-0.2, 0.3))
def test_pytest_benchmark_fails_where_its_own_check_does(seed: int, slower: float) -> None:
    for option, field in (("mean:5%", np.mean), ("min:10%", np.min)):
        rule = NAMED[f"pytest-benchmark, {option}"]
        base, head = samples(rule, seed, slower, spread=0.05, cells=1)
        key = option.partition(":")[0]
        check = parse_compare_fail(option)  # type: ignore[no-untyped-call]
        told = check.fails({key: float(field(head))}, {key: float(field(base))})
        assert bool(rule.alarms(base, head)[0]) == bool(told)


@given(st.integers(0, 10**6), st.floats(-0.1, 0.1))
def test_asvs_p_is_scipys_without_continuity_correction(seed: int, slower: float) -> None:
    base, head = (side.ravel() for side in samples(ASV, seed, slower, spread=0.05, cells=1))
    wanted = stats.mannwhitneyu(base, head, method="asymptotic", use_continuity=False).pvalue
    assert asv_p(base, head) == pytest.approx(wanted, rel=1e-9)


def test_asv_asks_for_both_the_factor_and_significance() -> None:
    base, head = samples(ASV, 3, slower=0.08)
    assert asv_p(base[:, 0].ravel(), head[:, 0].ravel()) < 0.002 and not ASV.alarms(base, head).any()
    base, head = samples(ASV, 3, slower=0.12)
    assert ASV.alarms(base, head).tolist() == [True, False, False]
    noisy, noise = samples(ASV, 5, slower=0.2, spread=1.5)
    assert np.median(noise[:, 0]) > 1.1 * np.median(noisy[:, 0]) and not ASV.alarms(noisy, noise)[0]


def test_benchstat_alarms_on_half_of_its_level_since_only_slower_counts() -> None:
    hits = sum(bool(BENCHSTAT.alarms(*samples(BENCHSTAT, seed, cells=1))[0]) for seed in range(1000))
    assert stats.binomtest(hits, 1000, 0.025).pvalue > 1e-3


def test_criterion_wants_the_whole_interval_above_its_noise_threshold() -> None:
    quiet = samples(CRITERION, 4, slower=0.008, spread=0.001)
    assert not CRITERION.alarms(*quiet).any()
    clear = samples(CRITERION, 4, slower=0.015, spread=0.001)
    assert CRITERION.alarms(*clear).tolist() == [True, False, False]
    assert not CRITERION.alarms(*samples(CRITERION, 4, slower=0.05, spread=0.3)).any()


def test_criterions_t_test_agrees_with_welchs_on_normal_samples() -> None:
    """Where the interval clears the threshold by little, both tests must reject as well; so it is looked at with no threshold to clear."""
    for seed in range(20):
        base, head = samples(CRITERION, seed, slower=0.05, spread=0.02, cells=1)
        p = stats.ttest_ind(head.ravel(), base.ravel(), equal_var=False).pvalue
        assert p < 0.01 and CRITERION.alarms(base, head)[0]


def test_github_action_benchmark_waits_for_a_doubling() -> None:
    rule = NAMED["github-action-benchmark, 200 %"]
    assert not rule.alarms(*samples(rule, 6, slower=0.95)).any()
    assert rule.alarms(*samples(rule, 6, slower=1.05)).tolist() == [True, False, False]
