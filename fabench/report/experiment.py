"""The page of a small experiment: every trial as a dot, means and paired differences with intervals, the protocol, and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fabench.analysis.estimate import Estimate
from fabench.analysis.experiment import ArmReading, Difference, Measure, Reading, conclusion, read
from fabench.report import words
from fabench.report.blocks import Block, Column, DotChart, DotRow, Fact, Limit, Report, Section, Series, Table, Text, Value
from fabench.report.formats.base import Bundle, load, safe_name
from fabench.report.sections.charts import identifier
from fabench.report.style import assign
from fabench.report.trials import frame_of, others, protocol
from fabench.trials import ARMS, Experiment, MotorcycleExperiment

__all__ = ["experiment_report", "write_experiment_report"]

_TITLES = {
    "accuracy": "Share of images recognised",
    "epe_px": "End-point error over all test pixels",
    "over_3px": "Test pixels that are more than 3 px off",
    "covered_epe_px": "End-point error where SGBM answers",
    "covered_over_3px": "Pixels more than 3 px off where SGBM answers",
}
_SHORT = {"accuracy": "Accuracy", "epe_px": "End-point error"}
_FAMILIES = {
    "factorized": "linear",
    "factorized_scaling": "linear",
    "dot_product": "quadratic",
    "dot_product_scaling": "quadratic",
}
_METHOD = (
    "Arms with one seed share what they learn from and all first weights outside the block, so they are paired: a difference is taken seed by "
    "seed. Intervals are Student's 95 % over seeds, on the data at hand: they say nothing of other data. The first difference was planned, "
    "with its bound; the others are shown and claim nothing."
)


def write_experiment_report(experiment: Experiment, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    """Writes `folder/name.*` in these formats and returns the files. Raises UsageError or StoreError."""
    report, bundle = experiment_report(experiment), Bundle([], [experiment.environment], [], frame_of(experiment))
    return [path for one in formats for path in load(one)(report, bundle, folder / safe_name(name))]


def experiment_report(experiment: Experiment) -> Report:
    """All that the experiment says. Its label stands on the first screen, whatever came out."""
    found = read(experiment)
    sections = [_results(experiment, found, measure, at == 0) for at, measure in enumerate(found.measures)]
    if not sections:
        sections = [Section("results", "Results", "", (Text(("No seed has a trial in every arm yet.",)),))]
    return Report(
        title=f"experiment {found.name}",
        subtitle=words.plain(f"{len(found.seeds)} of {found.planned} seeds · {experiment.environment.started_at}"),
        setting=words.plain(found.label),
        headline=_headline(found),
        verdict=words.plain(conclusion(found)),
        facts=_facts(found),
        sections=(*sections, *others(experiment, found), protocol(experiment)),
        warnings=_warnings(found),
    )


def _warnings(found: Reading) -> tuple[str, ...]:
    said = [words.title_of(words.plain(found.label)) + "."]
    if found.lacking:
        said.append(f"The experiment is not complete: {found.lacking} trials are still to be made.")
    return tuple(said)


def _kinds(measure: Measure) -> tuple[str, str]:
    """How a value and a difference are written."""
    return ("share", "points") if measure.share else ("pixels", "pixels_apart")


def _planned(found: Reading) -> tuple[Measure, Difference] | None:
    return next(((measure, one) for measure in found.measures[:1] for one in measure.differences[:1]), None)


def _headline(found: Reading) -> str:
    planned = _planned(found)
    if planned is None:
        return f"{found.name}: {len(found.seeds)} of {found.planned} seeds are complete, too few for an interval."
    measure, one = planned
    kind = _kinds(measure)[1]
    early = f"After {len(found.seeds)} of {found.planned} seeds: " if found.lacking else ""
    return words.plain(
        f"{early}{_SHORT[measure.key]}, {one.first} less {one.second}: {words.show_estimate(one.mean, kind)}, {_verdict(one, measure)}."
    )


def _verdict(one: Difference, measure: Measure) -> str:
    """In the words of the protocol's bound; a resolved difference says who is better."""
    better = one.first if (one.mean.value > 0) == (measure.key == "accuracy") else one.second
    better = "without a block it" if better == "none" else better
    resolved = f"{better} is better" if one.resolved else "no difference is resolved"
    if one.equivalent is None:
        return resolved
    bound = words.show(one.bound, _kinds(measure)[1]).replace("+", "±")
    return (
        f"equivalent within {bound}" + (f", and {resolved}" if one.resolved else "")
        if one.equivalent
        else f"{resolved}, equivalence within {bound} is not shown"
    )


def _facts(found: Reading) -> tuple[Fact, ...]:
    return tuple(
        Fact(words.show(arm.mean.value, _kinds(measure)[0]), f"{arm.arm}, {_TITLES[measure.key].lower()}, mean of {len(arm.values)} seeds", _FAMILIES.get(arm.arm, ""))
        for measure in found.measures[:1]
        for arm in measure.arms
        if arm.mean is not None
    )  # fmt: skip


def _series(names: Sequence[str]) -> dict[str, Series]:
    styles = assign({name: _FAMILIES.get(name) for name in names})
    return {name: Series(name, styles[name]) for name in names}


def _results(experiment: Experiment, found: Reading, measure: Measure, planned: bool) -> Section:
    kind, apart = _kinds(measure)
    seeds = tuple(f"seed {seed}" for seed in found.seeds)
    looks = _series(list(ARMS[found.name]))
    arms = DotChart(
        id=identifier("arms", measure.key),
        title="Every seed of every arm",
        x_label=_TITLES[measure.key],
        x_kind=kind,
        rows=tuple(DotRow(looks[arm.arm], arm.values, seeds, arm.mean) for arm in measure.arms),
        limits=_limits(experiment, measure.key),
        subtitle=words.plain(found.label),
        summary=words.plain(f"{_TITLES[measure.key]}, a dot for each seed. " + " ".join(f"{arm.arm}: {_mean(arm.mean, kind)}." for arm in measure.arms)),
        note="Dots: seeds, stacked where they meet. Below them: the mean with its 95 % interval.",
    )  # fmt: skip
    blocks: list[Block] = [arms]
    bound = next((one.bound for one in measure.differences if one.bound is not None), None)
    if measure.differences:
        rows = tuple(
            DotRow(Series(f"{one.first} − {one.second}", looks[one.first].style), one.values, seeds, one.mean)
            for one in measure.differences
        )
        blocks.append(
            DotChart(
                id=identifier("differences", measure.key),
                title="Paired differences",
                x_label="difference on the same seed",
                x_kind=apart,
                rows=rows,
                band=None
                if bound is None
                else (-bound, bound, f"fixed beforehand as too small to matter: {words.show(bound, apart).replace('+', '±')}"),
                subtitle=words.plain(found.label),
                summary=words.plain(
                    "Differences of arms on the same seed. "
                    + " ".join(f"{row.series.name}: {_mean(row.mean, apart)}." for row in rows)
                ),
                note="The first row was planned; the others claim nothing.",
            )
        )
    blocks += _tables(found, measure)
    lead = _METHOD if planned else "Another quantity of the same trials: shown, not planned, and no discovery."
    return Section(identifier(measure.key), _TITLES[measure.key], lead, tuple(blocks))


def _mean(mean: Estimate | None, kind: str) -> str:
    return "no interval" if mean is None else words.show_estimate(mean, kind)


def _limits(experiment: Experiment, key: str) -> tuple[Limit, ...]:
    """What a method without training reaches on the same pixels."""
    if not isinstance(experiment, MotorcycleExperiment):
        return ()
    found = []
    for reference in experiment.references:
        part = reference.covered if key.startswith("covered") else reference.all
        if part is not None:
            found.append(
                Limit(part.errors.epe_px if key.endswith("epe_px") else part.errors.over_3px, words.plain(reference.name))
            )
    return tuple(found)


def _tables(found: Reading, measure: Measure) -> list[Block]:
    kind, apart = _kinds(measure)
    columns = (
        Column("arm"), Column("what it is"), Column("mean (95 %)", kind), Column("deviation between seeds", kind), Column("lowest", kind), Column("highest", kind),
        Column("parameters", "count"), Column("of the block", "count"), Column("seeds", "count"),
    )  # fmt: skip
    rows = [_arm(found.name, arm) for arm in measure.arms]
    blocks: list[Block] = [Table(f"table-arms-{identifier(measure.key)}", "Arms", columns, rows)]
    if measure.differences:
        more = (
            Column("first"), Column("less second"), Column("mean difference (95 %)", apart), Column("deviation", apart), Column("bound", apart),
            Column("planned"), Column("verdict"),
        )  # fmt: skip
        apart_rows: list[tuple[Value, ...]] = [
            (
                one.first,
                one.second,
                one.mean,
                one.deviation,
                one.bound,
                "yes" if one.bound is not None and at == 0 else "no",
                _verdict(one, measure),
            )
            for at, one in enumerate(measure.differences)
        ]
        blocks.append(Table(f"table-differences-{identifier(measure.key)}", "Paired differences", more, apart_rows))
    return blocks


def _arm(name: str, arm: ArmReading) -> tuple[Value, ...]:
    mean: Value = arm.values[0] if arm.mean is None else arm.mean
    return (
        arm.arm,
        ARMS[name][arm.arm],
        mean,
        arm.deviation,
        min(arm.values),
        max(arm.values),
        arm.parameters,
        arm.block_parameters,
        len(arm.values),
    )
