"""`fabench experiment` as a user runs it: the tables, the words, the refusals. Trials are made up here; tests/sweep makes real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fabench.accuracy import StereoErrors
from fabench.environment import collect
from fabench.trialfile import path_of, write_experiment
from fabench.trials import (
    ARMS,
    DigitsExperiment,
    DigitsProtocol,
    DigitsTrial,
    MotorcycleExperiment,
    MotorcycleProtocol,
    MotorcycleTrial,
    PixelErrors,
    StereoReference,
)
from tests.cli.conftest import Fabench

ENVIRONMENT = collect("experiment", "0", (), {}, {}, {})


def digits(wrong: Callable[[str, int], int]) -> DigitsExperiment:
    trials = tuple(
        DigitsTrial(arm, seed, 8330, 816, (1000,), (1000 - wrong(arm, seed),), tuple(range(wrong(arm, seed))), 0.1, 0.2, 3.0)
        for seed in range(4)
        for arm in ARMS["digits"]
    )
    return DigitsExperiment(DigitsProtocol(seeds=4), ENVIRONMENT, trials)


def motorcycle(seeds: int) -> MotorcycleExperiment:
    def errors(value: float, pixels: int = 200) -> PixelErrors:
        return PixelErrors(pixels, StereoErrors(value, value / 10, value / 20))

    trials = tuple(
        MotorcycleTrial(arm, seed, 5_224_768, 0, errors(2 + number + seed / 10), errors(1 + seed / 10, 150), (1.0,), 1.0)
        for seed in range(seeds)
        for number, arm in enumerate(ARMS["motorcycle"])
    )
    references = (
        StereoReference("sgbm", "OpenCV, untrained", 0.75, None, errors(0.9, 150)),
        StereoReference("constant", "20 px everywhere", 1.0, errors(7), errors(7.1, 150)),
    )
    return MotorcycleExperiment(MotorcycleProtocol(seeds=5), ENVIRONMENT, references, trials)


def test_the_table_and_the_conclusion(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "digits"), digits(lambda arm, seed: 50 + seed + (arm == "factorized")))
    shown = fabench("experiment", "digits", "--stored").stdout
    assert "not the paper's data" in shown
    assert "4 of 4 seeds, intervals are 95 % over seeds" in shown
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line.startswith("  ") and " - " not in line}
    assert lines["dot_product"][1] == "94.85"
    assert lines["dot_product"][-2:] == ["8,330", "816"]
    difference = next(line for line in shown.splitlines() if "factorized - dot_product " in line)
    assert "-0.10" in difference
    assert "yes (+-0.50)" in difference
    assert "of 4,000 answers in 4 seeds 0 were right with one and wrong with the other" in shown
    assert "equivalent in this experiment, though factorized is resolved as worse" in shown


def test_one_pair_is_called_one_pair_and_nothing_is_concluded_early(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "motorcycle"), motorcycle(1))
    shown = fabench("experiment", "motorcycle", "--stored").stdout
    assert "single-pair sanity experiment" in shown
    assert "not Scene Flow" in shown
    assert "1 of 5 seeds are complete: too few for an interval, so nothing is concluded." in shown


def test_semi_global_matching_stands_only_beside_the_pixels_that_it_answers(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "motorcycle"), motorcycle(5))
    shown = fabench("experiment", "motorcycle", "--stored").stdout
    parts = {part.splitlines()[0]: part for part in shown.split("\n\n")}
    everywhere, answered = parts["EPE, px, over all test pixels"], parts["EPE, px, over the test pixels that SGBM answers"]
    assert "sgbm" not in everywhere
    assert "7.000" in everywhere
    assert "0.900" in answered
    assert "sgbm: OpenCV, untrained; it answers 75.0% of the test pixels" in shown
    assert "within the bound" in everywhere
    assert "(+-0.25" in everywhere.replace("0)", ")")
    assert "not within the +-0.250 px fixed beforehand" in shown
    assert "constant is 7.000 px off on all of them, and shown to be better: none, factorized, dot_product" in shown


def test_json_holds_what_the_table_shows(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "digits"), digits(lambda arm, seed: 50 + seed))
    found = json.loads(fabench("experiment", "digits", "--stored", "--json").stdout)
    assert found["seeds"] == [0, 1, 2, 3]
    assert found["measures"][0]["arms"][0]["mean"]["value"] == pytest.approx(0.9485)
    assert found["measures"][0]["differences"][0]["values"] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("faces",), 2, "no experiment is called 'faces'; there are digits, motorcycle"),
        (("digits", "--set", "speed=3"), 2, "the protocol of digits has no 'speed'; there are seeds, folds"),
        (("digits", "--set", "seeds=many"), 2, "seeds is 'many', must be a number"),
        (("digits", "--set", "seeds=1.5"), 2, "seeds is 1.5, not a whole number"),
        (("digits", "--stored"), 4, "experiment-digits.json is not there; `fabench experiment digits` makes it"),
    ],
)
def test_what_can_t_be_done_is_one_line(fabench: Fabench, arguments: tuple[str, ...], status: int, words: str) -> None:
    assert words in fabench("experiment", *arguments, status=status).stderr


def test_another_protocol_has_an_exit_code_of_its_own(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "digits"), digits(lambda arm, seed: 50))
    shown = fabench("experiment", "digits", status=5)
    assert "follows another protocol, where seeds is 4, not 20" in shown.stderr


def test_a_complete_experiment_makes_nothing(fabench: Fabench, tmp_path: Path) -> None:
    write_experiment(path_of(tmp_path / "results", "digits"), digits(lambda arm, seed: 50))
    assert fabench("experiment", "digits", "--set", "seeds=4").stderr == ""
