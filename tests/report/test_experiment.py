"""Pages of experiments: every seed is a dot, the figures are the analysis's, and nobody can take the page for a benchmark."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fabench.accuracy import StereoErrors
from fabench.analysis.experiment import conclusion, read
from fabench.cli.main import app
from fabench.errors import StoreError, UsageError
from fabench.report.blocks import DotChart, Report, Table
from fabench.report.draw import dots
from fabench.report.experiment import experiment_report, write_experiment_report
from fabench.report.words import show
from fabench.trialfile import write_experiment
from fabench.trials import (
    ARMS,
    LABELS,
    DigitsExperiment,
    DigitsProtocol,
    DigitsTrial,
    MotorcycleExperiment,
    MotorcycleProtocol,
    MotorcycleTrial,
    PixelErrors,
    StereoReference,
)
from tests import synthetic
from tests.report import hostile

ENVIRONMENT = synthetic.environment()


def digits(wrong: dict[str, tuple[int, ...]], planned: int | None = None) -> DigitsExperiment:
    """Wrong answers of 1,000 by arm and seed; other arms have 40 each."""
    seeds = len(next(iter(wrong.values())))
    trials = [
        DigitsTrial(arm, seed, 8330, 816, (500, 500), (500, 500 - count), tuple(range(count)), 0.2, 0.1, 1.5)
        for seed in range(seeds)
        for arm in ARMS["digits"]
        for count in [wrong.get(arm, (40,) * seeds)[seed]]
    ]
    return DigitsExperiment(DigitsProtocol(seeds=planned or seeds), ENVIRONMENT, tuple(trials))


def motorcycle(seeds: int = 3) -> MotorcycleExperiment:
    def errors(epe_px: float) -> PixelErrors:
        return PixelErrors(1000, StereoErrors(epe_px, 0.1 * epe_px, 0.09 * epe_px))

    trials = [
        MotorcycleTrial(
            arm, seed, 5_224_768, 0, errors(2 + 0.1 * at + 0.01 * seed), errors(1.9 + 0.1 * at + 0.01 * seed), (3.0, 1.0), 60.0
        )
        for seed in range(seeds)
        for at, arm in enumerate(ARMS["motorcycle"])
    ]
    sgbm = StereoReference("sgbm", "64 disparities", 0.9, None, errors(0.95))
    constant = StereoReference("constant", "the median everywhere", 1.0, errors(14.8), errors(14.7))
    return MotorcycleExperiment(MotorcycleProtocol(seeds=seeds), ENVIRONMENT, (sgbm, constant), tuple(trials))


DIGITS = digits({"factorized": (30, 32, 31, 33), "dot_product": (31, 32, 33, 33)})


def charts(report: Report) -> list[DotChart]:
    return [block for part in report.sections for block in part.blocks if isinstance(block, DotChart)]


def table(report: Report, title: str) -> Table:
    return next(block for part in report.sections for block in part.blocks if isinstance(block, Table) and block.title == title)


def test_every_seed_of_every_arm_is_a_dot() -> None:
    arms, differences = charts(experiment_report(DIGITS))
    assert [row.series.name for row in arms.rows] == list(ARMS["digits"])
    assert dict(zip([row.series.name for row in arms.rows], arms.rows, strict=True))["factorized"].values == (
        0.97,
        0.968,
        0.969,
        0.967,
    )
    svg = dots.draw(arms)
    assert svg.count('class="dot"') == 4 * len(ARMS["digits"])
    assert differences.rows[0].values == pytest.approx((0.001, 0.0, 0.002, 0.0))
    assert differences.band is not None and differences.band[:2] == (-0.005, 0.005)


def test_dots_lie_where_their_values_are() -> None:
    arms = charts(experiment_report(DIGITS))[0]
    svg = dots.draw(arms)
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"[^>]*class="dot"', svg)]
    shown = [value for row in arms.rows for value in row.values]
    low, high = shown.index(min(shown)), shown.index(max(shown))
    for place, value in zip(places, shown, strict=True):
        share = (value - shown[low]) / (shown[high] - shown[low])
        assert place == pytest.approx(places[low] + share * (places[high] - places[low]), abs=0.02)


def test_dots_that_meet_are_stacked() -> None:
    svg = dots.draw(charts(experiment_report(digits({"factorized": (30, 30, 30)})))[0])
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*class="dot"', svg)
    assert len(set(found)) == len(found)


def test_the_figures_are_the_analysis_s() -> None:
    report, found = experiment_report(DIGITS), read(DIGITS)
    planned = found.measures[0].differences[0]
    assert report.verdict == conclusion(found)
    assert report.headline.startswith(
        f"Accuracy, factorized less dot_product: {show(planned.mean, 'points')}, equivalent within ±0.50 points"
    )
    for row, arm in zip(table(report, "Arms").rows, found.measures[0].arms, strict=True):
        assert (row[0], row[2], row[6], row[7]) == (arm.arm, arm.mean, arm.parameters, arm.block_parameters)
    rows = table(report, "Paired differences").rows
    assert [row[2] for row in rows] == [one.mean for one in found.measures[0].differences]
    assert [row[5] for row in rows] == ["yes", *["no"] * (len(rows) - 1)]


@pytest.mark.parametrize(
    ("factorized", "wanted"),
    [
        ((40, 41, 40, 41), r"equivalent within ±0\.50 points\."),
        ((60, 61, 60, 61), r"dot_product is better, equivalence within ±0\.50 points is not shown\."),
        ((20, 21, 20, 21), r"factorized is better, equivalence within ±0\.50 points is not shown\."),
        ((20, 60, 25, 62), r"no difference is resolved, equivalence within ±0\.50 points is not shown\."),
        ((42, 42, 42, 43), r"equivalent within ±0\.50 points, and dot_product is better\."),
    ],
)
def test_whatever_comes_out_is_the_headline(factorized: tuple[int, ...], wanted: str) -> None:
    assert re.search(wanted, experiment_report(digits({"factorized": factorized})).headline)


def test_of_errors_the_smaller_is_better() -> None:
    report = experiment_report(motorcycle())
    rows = {(row[0], row[1]): row[6] for row in table(report, "Paired differences").rows}
    assert rows["factorized", "none"] == "equivalent within ±0.250 px, and without a block it is better"


@pytest.mark.parametrize("made", [DIGITS, motorcycle()], ids=["digits", "motorcycle"])
def test_the_label_is_on_the_first_screen_of_every_format(made: DigitsExperiment | MotorcycleExperiment, tmp_path: Path) -> None:
    label = LABELS[made.name]
    assert any(label[1:] in line for line in experiment_report(made).warnings)
    for path in write_experiment_report(made, tmp_path, "x", ["html", "markdown"]):
        first = path.read_text(encoding="utf-8").partition("<main" if path.suffix == ".html" else "\n## ")[0]
        assert label[1:] in first.replace("\\", "").replace("&#x27;", "'")
    assert "not Scene Flow" in LABELS["motorcycle"]


def test_a_method_without_training_is_a_line_where_it_can_be_compared() -> None:
    found = {chart.id: [limit.text for limit in chart.limits] for chart in charts(experiment_report(motorcycle()))}
    assert found["arms-epe-px"] == ["constant"] and found["arms-covered-epe-px"] == ["sgbm", "constant"]
    row = table(experiment_report(motorcycle()), "Methods without training").rows[0]
    assert row[0] == "sgbm" and row[3] == 0.95 and row[5:] == (None, None)


@pytest.mark.parametrize("seeds", [0, 1])
def test_an_experiment_that_has_hardly_begun_has_a_page_too(seeds: int, tmp_path: Path) -> None:
    begun = replace(DIGITS, trials=tuple(trial for trial in DIGITS.trials if trial.seed < seeds))
    report = experiment_report(begun)
    assert f"{seeds} of 4 seeds" in report.headline and any("not complete" in line for line in report.warnings)
    assert write_experiment_report(begun, tmp_path, "x", ["html", "markdown", "json", "csv", "figures"])


def test_what_is_not_complete_says_so_in_the_headline() -> None:
    assert experiment_report(digits({"factorized": (30, 31)}, planned=5)).headline.startswith(
        "After 2 of 5 seeds: Accuracy, factorized less"
    )


def test_every_format_has_the_trials_and_the_figures(tmp_path: Path) -> None:
    files = {path.suffix: path for path in write_experiment_report(DIGITS, tmp_path, "x", ["csv", "json", "html", "markdown"])}
    rows = list(csv.DictReader(files[".csv"].read_text(encoding="utf-8").splitlines()))
    assert [(row["arm"], int(row["seed"])) for row in rows] == [(trial.arm, trial.seed) for trial in DIGITS.trials]
    readings = json.loads(files[".json"].read_text(encoding="utf-8"))["readings"]
    mean = readings["table-differences-accuracy"]["rows"][0][2]
    planned = read(DIGITS).measures[0].differences[0].mean
    assert mean == {"value": planned.value, "low": planned.low, "high": planned.high}
    for ending in (".html", ".md"):
        text = files[ending].read_text(encoding="utf-8")
        assert show(planned, "points") in text and "learning" in text and "code" in text


def test_a_page_promises_no_records_that_it_does_not_have(tmp_path: Path) -> None:
    page = write_experiment_report(DIGITS, tmp_path, "x", ["html"])[0].read_text(encoding="utf-8")
    assert "Written by fabench" in page and "reads it back" not in page


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    made = replace(motorcycle(), environment=hostile.environment(), label=hostile.SCRIPT)
    made = replace(made, references=tuple(replace(one, name=hostile.TEXTS[1], what=hostile.TEXTS[3]) for one in made.references))
    for path in write_experiment_report(made, tmp_path, hostile.TEXTS[10], ["html", "markdown", "csv"]):
        text = path.read_text(encoding="utf-8")
        assert path.parent == tmp_path and "<script>document" not in text and "<img" not in text


def test_the_command_writes_a_page_for_each_experiment(tmp_path: Path) -> None:
    files = [tmp_path / f"experiment-{one.name}.json" for one in (DIGITS, motorcycle())]
    write_experiment(files[0], DIGITS)
    write_experiment(files[1], motorcycle())
    answer = CliRunner().invoke(app, ["report", *map(str, files), "-f", "html,markdown", "--reports", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"experiment-{name}.{ending}" for name in ("digits", "motorcycle") for ending in ("html", "md")}


def test_what_the_command_can_t_do_is_one_line(tmp_path: Path) -> None:
    path, broken = tmp_path / "experiment-digits.json", tmp_path / "experiment-broken.json"
    write_experiment(path, DIGITS)
    broken.write_text(path.read_text(encoding="utf-8").replace('"seed":0', '"seed":"none"'), encoding="utf-8")
    for arguments, wanted in (
        ([str(path), str(tmp_path)], "experiments have pages of their own"),
        ([str(broken)], "is no experiment digits"),
        ([str(path), str(path), "--name", "x"], "--name names the files of one page"),
    ):
        answer = CliRunner().invoke(app, ["report", *arguments, "--reports", str(tmp_path / "out")])
        assert isinstance(answer.exception, (UsageError, StoreError)) and wanted in str(answer.exception)
        assert "\n" not in str(answer.exception)
