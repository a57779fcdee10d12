"""An experiment's document: as it was written, whole at any moment, and refused by name where it is something else."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.accuracy import StereoErrors
from fabench.environment import collect
from fabench.errors import StoreError
from fabench.trialfile import path_of, read_experiment, write_experiment
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
    missing,
)

ENVIRONMENT = collect("experiment", "0", (), {}, {}, {})
ERRORS = PixelErrors(7, StereoErrors(1.5, 0.25, 0.125))
DIGITS = DigitsExperiment(
    DigitsProtocol(seeds=2), ENVIRONMENT, (DigitsTrial("none", 0, 9, 0, (5, 4), (5, 3), (7,), 0.1, 0.2, 3.0),)
)
MOTORCYCLE = MotorcycleExperiment(
    MotorcycleProtocol(), ENVIRONMENT, (StereoReference("sgbm", "as it is", 0.5, None, ERRORS),),
    (MotorcycleTrial("none", 0, 9, 0, ERRORS, ERRORS, (2.0, 1.0), 3.0),),
)  # fmt: skip


@pytest.mark.parametrize("experiment", [DIGITS, MOTORCYCLE, replace(DIGITS, trials=())], ids=["digits", "motorcycle", "empty"])
def test_what_was_written_is_read(tmp_path: Path, experiment: DigitsExperiment | MotorcycleExperiment) -> None:
    path = path_of(tmp_path / "results", experiment.name)
    assert read_experiment(path, experiment.name) is None
    write_experiment(path, experiment)
    assert read_experiment(path, experiment.name) == experiment
    assert [file.name for file in path.parent.iterdir()] == [f"experiment-{experiment.name}.json"]
    write_experiment(path, experiment)
    assert path.read_text().count("\n") == len(path.read_text().splitlines())
    assert json.loads(path.read_text())["label"] == experiment.label


def test_a_trial_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_experiment(path, DIGITS)
    before = path.read_text().splitlines()
    write_experiment(path, replace(DIGITS, trials=(*DIGITS.trials, replace(DIGITS.trials[0], seed=1))))
    after = path.read_text().splitlines()
    assert len(after) == len(before) + 1
    assert len([line for line in after if line not in before]) == 2  # the new trial, and the comma after the one before it


def test_a_reader_never_sees_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_experiment(path, DIGITS)

    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_experiment(path, replace(DIGITS, trials=()))
    assert read_experiment(path, "digits") == DIGITS


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.json"
    write_experiment(path, DIGITS)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device; choose another folder with --results DIR"):
        write_experiment(path, replace(DIGITS, trials=()))
    assert read_experiment(path, "digits") == DIGITS
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no JSON"),
        ("[]", "not a table"),
        ('{"schema": 99}', "schema 99 is not known here"),
        ("{}", "is missing"),
        ('{"trials": 3}', "is missing"),
    ],
)
def test_something_else_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=words) as caught:
        read_experiment(path, "digits")
    assert str(caught.value).startswith(f"{path} is no experiment digits: ")


def test_another_experiment_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_experiment(path, replace(DIGITS, name="motorcycle"))
    with pytest.raises(StoreError, match="name is 'motorcycle', not 'digits'"):
        read_experiment(path, "digits")
    write_experiment(path, MOTORCYCLE)
    with pytest.raises(StoreError, match="is no experiment digits"):
        read_experiment(path, "digits")


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file.json").mkdir()
    with pytest.raises(StoreError, match="can't read"):
        read_experiment(tmp_path / "file.json", "digits")


def test_what_is_missing_comes_seed_by_seed() -> None:
    arms = list(ARMS["digits"])
    assert missing(DIGITS) == (*((arm, 0) for arm in arms[1:]), *((arm, 1) for arm in arms))
    assert missing(replace(DIGITS, trials=()))[0] == (arms[0], 0)
