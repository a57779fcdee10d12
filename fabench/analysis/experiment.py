"""What an experiment's trials say: means per arm, paired differences between arms, both with 95 % intervals over seeds, and a conclusion.

    mean of an arm      over seeds, with Student's t interval: mean +- t(0.975, k - 1) s / sqrt(k)
    difference          arm less arm on the same seed, and the same interval of these differences (the paired t interval)
    equivalent          the difference's whole interval lies within +- the protocol's bound, which was fixed before any result
    resolved            the interval does not contain 0; a difference may be resolved and equivalent, or neither

Only seeds count that have a trial in every arm. The interval is about seeds (first weights, order of what is learnt from) on the data at
hand; it says nothing of other data. Where two arms compute the same function, `Agreement` says how nearly they gave the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from fabench.analysis.estimate import TAIL, Estimate
from fabench.trials import ARMS, COMPARISONS, DigitsExperiment, DigitsTrial, Experiment, MotorcycleExperiment, missing

__all__ = ["Agreement", "ArmReading", "Difference", "Measure", "Reading", "beside", "conclusion", "mean_interval", "read"]

_SAME_FUNCTION = ("factorized_scaling", "dot_product_scaling")


@dataclass(frozen=True, slots=True)
class ArmReading:
    """`values` of the complete seeds in their order. `mean`: with its interval, None with fewer than two. `deviation`: between seeds."""

    arm: str
    values: tuple[float, ...]
    parameters: int
    block_parameters: int
    mean: Estimate | None
    deviation: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """`first` less `second`, seed by seed. `bound`: what was fixed beforehand as too small to matter, None for quantities without one."""

    first: str
    second: str
    values: tuple[float, ...]
    mean: Estimate
    deviation: float
    bound: float | None

    @property
    def resolved(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.mean.low > 0 or self.mean.high < 0

    @property
    def equivalent(self) -> bool | None:
        """Whether the whole interval lies within the bound; None without a bound."""
        return None if self.bound is None else -self.bound <= self.mean.low and self.mean.high <= self.bound


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity: its arms and differences. `key`: accuracy, epe_px, over_3px, covered_epe_px, covered_over_3px. `share`: 0..1."""

    key: str
    share: bool
    arms: tuple[ArmReading, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two arms of one function, over `seeds` trials each: of all `answers`, how many were right in one arm and wrong in the other, and the
    largest difference of a trial's test loss."""

    first: str
    second: str
    seeds: int
    answers: int
    differing: int
    loss_difference: float


@dataclass(frozen=True, slots=True)
class Reading:
    """An experiment as read. `seeds`: the complete ones; `lacking`: trials still to be made. The first measure is the planned one."""

    name: str
    label: str
    seeds: tuple[int, ...]
    planned: int
    lacking: int
    measures: tuple[Measure, ...]
    agreement: Agreement | None


def mean_interval(values: Sequence[float]) -> Estimate | None:
    """The mean with Student's 95 % interval; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    reach = float(stats.t.ppf(1 - TAIL, len(values) - 1)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - reach, mean + reach)


def read(experiment: Experiment) -> Reading:
    """Everything derived, from the raw trials."""
    by_key: dict[tuple[str, int], Any] = {(trial.arm, trial.seed): trial for trial in experiment.trials}
    arms = tuple(ARMS[experiment.name])
    seeds = tuple(seed for seed in range(experiment.protocol.seeds) if all((arm, seed) in by_key for arm in arms))
    trials = {arm: [by_key[arm, seed] for seed in seeds] for arm in arms}
    measures: tuple[Measure, ...] = ()
    if seeds:
        bound = experiment.protocol.bound if isinstance(experiment, DigitsExperiment) else experiment.protocol.bound_px
        measures = tuple(
            _measure(experiment.name, trials, key, share, value, None if number else bound)
            for number, (key, share, value) in enumerate(_MEASURES[experiment.name])
        )
    agreement = _agreement(trials) if seeds and isinstance(experiment, DigitsExperiment) else None
    return Reading(
        experiment.name, experiment.label, seeds, experiment.protocol.seeds, len(missing(experiment)), measures, agreement
    )


_Value = Callable[[Any], float]
_MEASURES: dict[str, tuple[tuple[str, bool, _Value], ...]] = {
    "digits": (("accuracy", True, lambda trial: trial.accuracy),),
    "motorcycle": (
        ("epe_px", False, lambda trial: trial.all.errors.epe_px),
        ("over_3px", True, lambda trial: trial.all.errors.over_3px),
        ("covered_epe_px", False, lambda trial: trial.covered.errors.epe_px),
        ("covered_over_3px", True, lambda trial: trial.covered.errors.over_3px),
    ),
}


def _measure(
    name: str, trials: dict[str, list[Any]], key: str, share: bool, value: _Value, bound: float | None
) -> Measure:  # fmt: skip
    values = {arm: tuple(map(value, made)) for arm, made in trials.items()}
    arms = tuple(
        ArmReading(
            arm, values[arm], made[0].parameters, made[0].block_parameters, mean_interval(values[arm]), _deviation(values[arm])
        )
        for arm, made in trials.items()
    )
    found = (_difference(first, second, values, bound) for first, second in COMPARISONS[name])
    return Measure(key, share, arms, tuple(difference for difference in found if difference is not None))


def _deviation(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _difference(first: str, second: str, values: dict[str, tuple[float, ...]], bound: float | None) -> Difference | None:
    apart = tuple(one - other for one, other in zip(values[first], values[second], strict=True))
    mean, deviation = mean_interval(apart), _deviation(apart)
    if mean is None or deviation is None:
        return None
    return Difference(first, second, apart, mean, deviation, bound)


def _agreement(trials: dict[str, list[DigitsTrial]]) -> Agreement:
    first, second = _SAME_FUNCTION
    pairs = list(zip(trials[first], trials[second], strict=True))
    return Agreement(
        first, second, len(pairs), sum(sum(one.fold_images) for one, _ in pairs),
        sum(len(set(one.wrong) ^ set(other.wrong)) for one, other in pairs),
        max(abs(one.test_loss - other.test_loss) for one, other in pairs),
    )  # fmt: skip


def conclusion(reading: Reading) -> str:
    """What the planned comparison says, in sentences whose every figure and word follows from the trials."""
    difference = next((found for measure in reading.measures[:1] for found in measure.differences[:1]), None)
    if difference is None:
        return f"{len(reading.seeds)} of {reading.planned} seeds are complete: too few for an interval, so nothing is concluded."
    measure = reading.measures[0]
    means = {arm.arm: arm.mean for arm in measure.arms}
    first, second = means[difference.first], means[difference.second]
    assert first is not None and second is not None and difference.bound is not None
    show, apart = (_percent, _points) if measure.share else (_pixels, _pixels)
    unit = " points" if measure.share else " px"
    what = "accuracy" if measure.share else "EPE"
    better = (difference.mean.value > 0) == measure.share
    within = f"within the +-{apart(difference.bound)}{unit} fixed beforehand"
    if difference.equivalent:
        verdict = f"all of it {within}: equivalent in this experiment"
        verdict += f", though {difference.first} is resolved as {'better' if better else 'worse'}" if difference.resolved else ""
    elif difference.resolved:
        verdict = f"not {within}, and without 0: {difference.first} is {'better' if better else 'worse'} in this experiment"
    else:
        verdict = f"not all {within}, and with 0: neither equivalence nor a difference is shown"
    early = "" if len(reading.seeds) == reading.planned else f" Only {len(reading.seeds)} of {reading.planned} seeds so far."
    return (
        f"Over {len(reading.seeds)} seeds the mean {what} is {show(first.value)} with {difference.first} and "
        f"{show(second.value)} with {difference.second}; the paired difference is {apart(difference.mean.value)}{unit}, 95 % interval "
        f"{apart(difference.mean.low)} to {apart(difference.mean.high)}, {verdict}.{early}"
    )


def beside(experiment: Experiment, reading: Reading) -> str | None:
    """How the arms stand beside methods that learn nothing, by the planned quantity; None where there are none or too few seeds."""
    if not isinstance(experiment, MotorcycleExperiment) or not reading.measures:
        return None
    arms = [(arm.arm, arm.mean) for arm in reading.measures[0].arms if arm.mean is not None]
    said = []
    for one in experiment.references:
        if one.all is None:
            said.append(
                f"{one.name} is {_pixels(one.covered.errors.epe_px)} px off on the {_share(one.coverage)} of the pixels that it answers"
            )
            continue
        epe = one.all.errors.epe_px
        better = [arm for arm, mean in arms if mean.high < epe]
        shown = f"shown to be better: {', '.join(better)}" if better else "no arm is shown to be better"
        said.append(f"{one.name} is {_pixels(epe)} px off on all of them, and {shown}")
    return f"Without learning, {'; '.join(said)}." if said and arms else None


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _points(value: float) -> str:
    return f"{100 * value:.2f}"


def _pixels(value: float) -> str:
    return f"{value:.3f}"
