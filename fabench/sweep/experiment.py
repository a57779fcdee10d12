"""The parent's side of `fabench experiment`: one process with torch makes the trials; each is stored before the next one is made."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from fabench.codec import decode
from fabench.environment import collect
from fabench.errors import NotComparable
from fabench.sources import rooms_hash
from fabench.sweep.child import messages, understood
from fabench.trialfile import read_experiment, write_experiment
from fabench.trials import (
    DigitsExperiment,
    DigitsProtocol,
    DigitsTrial,
    Experiment,
    MotorcycleExperiment,
    MotorcycleTrial,
    Protocol,
    StereoReference,
    missing,
)  # fmt: skip

__all__ = ["Progress", "completed", "resumed"]

Progress = Callable[[str, int, float], None]

_HERE = Path(__file__).parent.parent
# What decides a trial's outcome.
_DECIDING = ("attention", "data", "experiment", "metrics", "models", "train", "case.py", "trials.py")
_PACKAGES = ("scikit-learn", "scikit-image", "opencv-python-headless")


def resumed(path: Path, name: str, protocol: Protocol) -> Experiment:
    """The experiment as stored, or a new one without trials. Raises NotComparable where the stored one has another protocol, or lacks trials
    and was begun with other code or packages; StoreError where the file is broken."""
    fresh = _fresh(name, protocol)
    stored = read_experiment(path, name)
    if stored is None:
        return fresh
    mend = "choose another folder with --results DIR, or remove the file to begin anew"
    if stored.protocol != protocol:
        apart = next(key for key in _names(protocol) if getattr(stored.protocol, key) != getattr(protocol, key))
        values = f"{getattr(stored.protocol, apart)}, not {getattr(protocol, apart)}"
        raise NotComparable(f"{path} follows another protocol, where {apart} is {values}; {mend}")
    if missing(stored):
        for what in ("packages", "suite_hash"):
            if getattr(stored.environment, what) != getattr(fresh.environment, what):
                word = "code" if what == "suite_hash" else what
                raise NotComparable(f"{path} was begun with other {word}, and trials of both would not compare; {mend}")
    return stored


def _names(protocol: Protocol) -> list[str]:
    return [one.name for one in fields(protocol)]


def _fresh(name: str, protocol: Protocol) -> Experiment:
    """Without trials. In place of a suite's hash its environment has the hash of the code that decides the trials."""
    environment = collect(
        f"experiment {name}", rooms_hash(_HERE, _DECIDING), (), {"cpu": {"threads": protocol.threads}}, {}, _settings(protocol)
    )  # fmt: skip
    environment = replace(environment, packages=environment.packages | {package: _version(package) for package in _PACKAGES})
    if isinstance(protocol, DigitsProtocol):
        return DigitsExperiment(protocol, environment)
    return MotorcycleExperiment(protocol, environment)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(protocol: Protocol) -> dict[str, str]:
    """Sums are added in an order that depends on the number of threads, so it is a part of the protocol."""
    return {"OMP_NUM_THREADS": str(protocol.threads), "MKL_NUM_THREADS": str(protocol.threads), "OMP_WAIT_POLICY": "PASSIVE"}


def completed(experiment: Experiment, path: Path, progress: Progress) -> Experiment:
    """Makes the missing trials and stores the experiment after each. Raises what the process says is wrong, or WorkerError where it ended
    early; what was made until then is stored."""
    wanted = missing(experiment)
    if not wanted:
        return experiment
    request = {
        "name": experiment.name, "protocol": experiment.protocol, "wanted": wanted,
        "references": isinstance(experiment, MotorcycleExperiment) and not experiment.references,
    }  # fmt: skip
    conversation = messages(
        "fabench.experiment.server", request, "experiment", settings=_settings(experiment.protocol), advice="start it again to go on"
    )  # fmt: skip
    with contextlib.closing(conversation):
        for message in conversation:
            if message["event"] == "done" and not missing(experiment):
                break
            with understood("experiment", message):
                grown = _grown(experiment, message, progress)
            if grown is not experiment:
                experiment = grown
                write_experiment(path, experiment)
    return experiment


def _grown(experiment: Experiment, message: dict[str, Any], progress: Progress) -> Experiment:
    """The experiment with what the message brings."""
    if message["event"] == "progress":
        progress(message["arm"], message["seed"], message["share"])
    if message["event"] in ("progress", "done"):
        return experiment
    return _with(experiment, message["event"], message["value"])


def _with(experiment: Experiment, event: str, value: Any) -> Experiment:
    if isinstance(experiment, DigitsExperiment):
        return replace(experiment, trials=(*experiment.trials, decode(DigitsTrial, value)))
    if event == "references":
        return replace(experiment, references=tuple(decode(StereoReference, one) for one in value))
    return replace(experiment, trials=(*experiment.trials, decode(MotorcycleTrial, value)))
