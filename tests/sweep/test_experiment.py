"""The parent's side of an experiment, against processes that behave and that don't, and against the real one, killed on its way."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fabench.codec import encode
from fabench.errors import DataError, NotComparable, StoreError, WorkerError
from fabench.sweep.experiment import completed, resumed
from fabench.trialfile import path_of, read_experiment, write_experiment
from fabench.trials import DigitsExperiment, DigitsProtocol, DigitsTrial, Experiment, MotorcycleProtocol, missing
from tests.sweep.conftest import StandIn, said

PROTOCOL = DigitsProtocol(seeds=1)
TRIAL = DigitsTrial("none", 0, 9, 0, (5, 4), (5, 3), (7,), 0.1, 0.2, 3.0)


def quiet(arm: str, seed: int, share: float) -> None:
    pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_of(tmp_path, "digits")


ALL = f"""
trial = json.loads({encode(TRIAL)!r})
for arm, seed in request["wanted"]:
    print(json.dumps({{"event": "progress", "arm": arm, "seed": seed, "share": 0.5}}), flush=True)
    print(json.dumps({{"event": "trial", "value": trial | {{"arm": arm, "seed": seed}}}}), flush=True)
print(json.dumps({{"event": "done"}}), flush=True)
"""


def test_trials_come_back_and_are_stored(child: StandIn, path: Path) -> None:
    child(ALL)
    told: list[tuple[str, int, float]] = []
    found = completed(resumed(path, "digits", PROTOCOL), path, lambda *progress: told.append(progress))
    assert not missing(found)
    assert found.trials[0] == TRIAL
    assert [arm for arm, _, _ in told] == [trial.arm for trial in found.trials]
    assert read_experiment(path, "digits") == found
    child("sys.exit('nothing is asked of a complete experiment')")
    assert completed(resumed(path, "digits", PROTOCOL), path, quiet) == found


def test_a_trial_is_stored_before_the_next_one(child: StandIn, path: Path) -> None:
    waits = f"""
    import time
    while not os.path.exists({str(path)!r}) or len(json.load(open({str(path)!r}))["trials"]) <= request["wanted"].index([arm, seed]):
        time.sleep(0.01)
"""
    child(ALL.replace("\nprint", waits + "\nprint"))  # within the loop, after each trial
    assert not missing(completed(resumed(path, "digits", PROTOCOL), path, quiet))


def test_only_what_is_missing_is_asked_for(child: StandIn, path: Path) -> None:
    begun = resumed(path, "digits", PROTOCOL)
    assert isinstance(begun, DigitsExperiment)
    write_experiment(path, replace(begun, trials=(TRIAL,)))
    child(f"assert ['none', 0] not in request['wanted']\n{ALL}")
    found = completed(resumed(path, "digits", PROTOCOL), path, quiet)
    assert found.trials[0] == TRIAL
    assert found.environment == begun.environment
    assert len({(trial.arm, trial.seed) for trial in found.trials}) == len(found.trials)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (said('{"event": "error", "kind": "DataError", "text": "no digits"}'), DataError, "^no digits$"),
        (said('{"event": "error", "kind": "ExitCode", "text": "odd"}'), WorkerError, "^odd$"),
        (said("no json"), WorkerError, "said something else than a result"),
        (said('{"event": "trial", "value": {"arm": 3}}'), WorkerError, "said something that is no trial"),
        (said('{"event": "progress"}'), WorkerError, "said something that is no progress"),
        ("sys.exit('Traceback\\nValueError: deep inside')", WorkerError, "ended early: ValueError: deep inside"),
        ("os.kill(os.getpid(), signal.SIGKILL)", WorkerError, "ended early: killed by signal 9; start it again to go on"),
        (said('{"event": "done"}'), WorkerError, "ended early: exit code 0"),
    ],
)
def test_every_other_end_is_one_line(child: StandIn, path: Path, body: str, kind: type[Exception], words: str) -> None:
    child(body)
    with pytest.raises(kind, match=words) as caught:
        completed(resumed(path, "digits", PROTOCOL), path, quiet)
    assert "\n" not in str(caught.value)


def test_an_interruption_ends_the_process(child: StandIn, path: Path, tmp_path: Path) -> None:
    child(f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
          + said('{"event": "progress", "arm": "none", "seed": 0, "share": 0.5}') + "\nsignal.pause()")  # fmt: skip

    def interrupt(arm: str, seed: int, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        completed(resumed(path, "digits", PROTOCOL), path, interrupt)
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_another_protocol_is_not_continued(path: Path) -> None:
    write_experiment(path, resumed(path, "digits", PROTOCOL))
    with pytest.raises(NotComparable, match="follows another protocol, where epochs is 8, not 9; choose another folder"):
        resumed(path, "digits", replace(PROTOCOL, epochs=9))


@pytest.mark.parametrize(("changed", "word"), [({"suite_hash": "0"}, "code"), ({"packages": {"torch": "1.0"}}, "packages")])
def test_trials_of_other_code_or_packages_are_not_added_to(path: Path, changed: dict[str, Any], word: str) -> None:
    begun = resumed(path, "digits", PROTOCOL)
    older = replace(begun, environment=replace(begun.environment, **changed))
    write_experiment(path, older)
    with pytest.raises(NotComparable, match=f"was begun with other {word}, and trials of both would not compare"):
        resumed(path, "digits", PROTOCOL)


def test_a_complete_one_of_other_code_can_still_be_read(child: StandIn, path: Path) -> None:
    child(ALL)
    whole = completed(resumed(path, "digits", PROTOCOL), path, quiet)
    older: Experiment = replace(whole, environment=replace(whole.environment, suite_hash="0"))
    write_experiment(path, older)
    assert resumed(path, "digits", PROTOCOL) == older


def test_a_broken_file_is_not_written_over(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(StoreError, match="is no experiment digits"):
        resumed(path, "digits", PROTOCOL)
    assert path.read_text() == "{"


def test_the_environment_says_what_decided_the_numbers(path: Path) -> None:
    environment = resumed(path, "digits", PROTOCOL).environment
    assert environment.settings["OMP_NUM_THREADS"] == "1"
    assert {"torch", "scikit-learn", "scikit-image", "opencv-python-headless"} <= environment.packages.keys()
    assert environment.devices == {"cpu": {"threads": 1}}
    assert resumed(path, "motorcycle", MotorcycleProtocol()).environment.suite == "experiment motorcycle"


def test_killed_and_started_again_it_is_the_same_document(tmp_path: Path) -> None:
    """The real process, whose parent is killed without warning after its second trial; one trial of each part, made once more."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from fabench.experiment import digits

    settings = ("--set=seeds=1", "--set=epochs=1", "--set=folds=2", "--set=batch=256", "--set=dtype=float32")
    command = [sys.executable, "-m", "fabench", "experiment", "digits", "--results", str(tmp_path), *settings]
    path = path_of(tmp_path, "digits")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        for line in killed.stderr:
            if "trial 2 of 6" in line:
                os.kill(killed.pid, signal.SIGKILL)
                break
    torn = read_experiment(path, "digits")
    assert torn is not None and 1 <= len(torn.trials) < 6
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{6 - len(torn.trials)} trials to make" in again.stderr
    whole = read_experiment(path, "digits")
    assert isinstance(whole, DigitsExperiment) and not missing(whole)
    assert whole.trials[: len(torn.trials)] == torn.trials
    threads = torch.get_num_threads()
    for trial in (whole.trials[1], whole.trials[-1]):  # one of each part
        made = digits.trial(trial.arm, trial.seed, whole.protocol)
        assert replace(made, seconds=0.0) == replace(trial, seconds=0.0)
    torch.set_num_threads(threads)
