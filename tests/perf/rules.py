"""How others decide whether a benchmark got slower, each by its documented default, so that all can judge the same launches.

A rule gets base's and head's seconds, [launches, cells, rounds], and says of each cell whether it alarms. A launch is one process, a round
one turn of it. What a tool takes as its sample is said beside its rule; where a tool would sample more than the rounds that are stored, it gets these.
Rules are written from the tools' documentation; none of their code is here. `tests/perf/test_rules.py` checks those whose tool is at hand against it.

    pytest-benchmark          https://pytest-benchmark.readthedocs.io/en/latest/comparing.html (--benchmark-compare-fail=mean:5%, min:10%)
    github-action-benchmark   https://github.com/benchmark-action/github-action-benchmark (alert-threshold: 200 %)
    asv continuous            https://asv.readthedocs.io/en/latest/commands.html (factor 1.1) and using.html (Mann-Whitney, p < 0.002)
    benchstat                 https://pkg.go.dev/golang.org/x/perf/cmd/benchstat (Mann-Whitney, alpha 0.05, 10 runs a side)
    criterion.rs              https://bheisler.github.io/criterion.rs/book/analysis.html (significance 0.05, noise threshold 1 %)
    fabench compare           `fabench.analysis.launches`: stored runs, 5 launches a side, Welch and Holm, 10 %
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fabench.analysis.estimate import Floats
from fabench.analysis.launches import Launched, judge
from fabench.analysis.launches import Rule as StoredRule

__all__ = ["RULES", "Alarms", "Rule"]

Alarms: TypeAlias = NDArray[np.bool_]

_ASV_FACTOR, _ASV_P = 1.1, 0.002
_BENCHSTAT_ALPHA = 0.05
_CRITERION_NOISE, _CRITERION_P, _CRITERION_LEVEL = 0.01, 0.05, 0.95
_RESAMPLES = 10_000  # criterion draws 100,000; a tenth moves its 2.5 % quantile by less than a tenth of a standard error


@dataclass(frozen=True, slots=True)
class Rule:
    """`launches` of each side make a verdict. `joint`: a cell's verdict depends on the other cells' (a correction for their number)."""

    name: str
    launches: int
    alarms: Callable[[Floats, Floats], Alarms]
    joint: bool = False


def _share(field: Callable[[Floats], Floats], least: float) -> Callable[[Floats, Floats], Alarms]:
    """Alarms where `field` of head's rounds exceeds base's by more than `least`."""

    def alarms(base: Floats, head: Floats) -> Alarms:
        return np.asarray(field(head) / field(base) * 100 - 100 > least * 100)

    return alarms


def _mean(seconds: Floats) -> Floats:
    return np.asarray(seconds.mean(axis=(0, 2)))


def _least(seconds: Floats) -> Floats:
    return np.asarray(seconds.min(axis=(0, 2)))


def _each(decide: Callable[[Floats, Floats], bool]) -> Callable[[Floats, Floats], Alarms]:
    """A rule of one cell, [launches, rounds] a side, applied to each."""

    def alarms(base: Floats, head: Floats) -> Alarms:
        return np.array([decide(base[:, cell], head[:, cell]) for cell in range(base.shape[1])])

    return alarms


def asv_p(base: Floats, head: Floats) -> float:
    """Two-sided p of the Mann-Whitney test, by the normal approximation without continuity correction that asv takes of more than 20 samples."""
    above = float(np.count_nonzero(base[:, None] > head) + np.count_nonzero(base[:, None] == head) / 2)
    product, total = len(base) * len(head), len(base) + len(head)
    return math.erfc(abs(above - product / 2) / math.sqrt(product * (total + 1) / 12) / math.sqrt(2))


def _asv(base: Floats, head: Floats) -> bool:
    """The samples of two processes are pooled, as `processes = 2` does."""
    old, new = base.ravel(), head.ravel()
    return bool(np.median(old) < np.median(new) / _ASV_FACTOR) and asv_p(old, new) < _ASV_P


def _benchstat(base: Floats, head: Floats) -> bool:
    """A run's figure is total time by iterations, its mean; ten runs a side. Exact without ties, as benchstat's."""
    old, new = base.mean(axis=1), head.mean(axis=1)
    return bool(np.median(new) > np.median(old)) and float(stats.mannwhitneyu(old, new).pvalue) < _BENCHSTAT_ALPHA


@cache
def _weights(samples: int, of: int, seed: int) -> Floats:
    """How often each of `of` values is in resamples of `samples` values: [resamples, of]. The same for all calls."""
    drawn = np.random.default_rng(seed).multinomial(samples, np.full(of, 1 / of), _RESAMPLES)
    return drawn.astype(np.float64)


def _t(first_mean: Floats, first_square: Floats, second_mean: Floats, second_square: Floats, count: int) -> Floats:
    """Welch's statistic of samples of `count` from their means and mean squares."""
    variances = (first_square - first_mean**2 + second_square - second_mean**2) * count / (count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((first_mean - second_mean) / np.sqrt(np.maximum(variances, 0) / count))


def _criterion(base: Floats, head: Floats) -> bool:
    """One process's samples a side: the interval of the relative change of means lies above the noise threshold, and the t test rejects."""
    old, new = base.ravel(), head.ravel()
    count = len(old)
    change = (_weights(count, count, 1) @ new) / (_weights(count, count, 2) @ old) - 1
    if float(np.quantile(change, (1 - _CRITERION_LEVEL) / 2)) <= _CRITERION_NOISE:
        return False
    pooled = np.concatenate([new, old]) / old.mean()  # near 1, so that squares keep their digits
    first, second = _weights(count, 2 * count, 3) / count, _weights(count, 2 * count, 4) / count
    drawn = _t(first @ pooled, first @ pooled**2, second @ pooled, second @ pooled**2, count)
    mine, theirs = pooled[:count, None], pooled[count:, None]
    seen = float(_t(mine.mean(0), (mine**2).mean(0), theirs.mean(0), (theirs**2).mean(0), count)[0])
    below = float(np.mean(drawn < seen))
    return 2 * min(below, 1 - below) < _CRITERION_P


def _compare(base: Floats, head: Floats) -> Alarms:
    logs = [np.log(np.median(side, axis=2)) for side in (base, head)]
    cells = [Launched(tuple(logs[0][:, cell].tolist()), tuple(logs[1][:, cell].tolist())) for cell in range(base.shape[1])]
    return np.array([change.verdict == "slower" for change in judge(cells, StoredRule())[0]])


RULES = (
    Rule("pytest-benchmark, mean:5%", 1, _share(_mean, 0.05)),
    Rule("pytest-benchmark, min:10%", 1, _share(_least, 0.10)),
    Rule("github-action-benchmark, 200 %", 1, _share(_mean, 1.0)),
    Rule("asv continuous, 1.1 and p < 0.002", 2, _each(_asv)),
    Rule("benchstat, 10 runs, alpha 0.05", 10, _each(_benchstat)),
    Rule("criterion.rs, 1 % and p < 0.05", 1, _each(_criterion)),
    Rule("fabench compare, 5 launches, 10 %", StoredRule().launches, _compare, joint=True),
)
