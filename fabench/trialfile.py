"""`results/experiment-<name>.json`: a small experiment's document, rewritten whole and at once after each trial, one trial a line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from fabench.codec import encode
from fabench.errors import StoreError
from fabench.lines import reason_of
from fabench.schema import DecodeError, from_json
from fabench.trials import DigitsExperiment, Experiment, MotorcycleExperiment

__all__ = ["path_of", "read_experiment", "write_experiment"]

_KINDS: dict[str, type[DigitsExperiment] | type[MotorcycleExperiment]] = {
    "digits": DigitsExperiment,
    "motorcycle": MotorcycleExperiment,
}


def path_of(results: Path, name: str) -> Path:
    """Where the experiment of this name is stored."""
    return results / f"experiment-{name}.json"


def read_experiment(path: Path, name: str) -> Experiment | None:
    """The stored experiment; None where there is no file. Raises StoreError for anything else in its place."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"can't read {path}: {reason_of(error)}") from None
    try:
        found = from_json(_KINDS[name], data)
        if found.name != name:
            raise DecodeError(f"name is {found.name[:40]!r}, not {name!r}")
    except DecodeError as error:
        raise StoreError(f"{path} is no experiment {name}: {str(error)[:160]}") from None
    return found


def write_experiment(path: Path, experiment: Experiment) -> None:
    """Puts the document in the place of an earlier one: a reader, or a kill at any moment, sees the one or the other. Raises StoreError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write(_text(experiment))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"can't write {path}: {reason_of(error)}; choose another folder with --results DIR") from None


def _text(experiment: Experiment) -> str:
    """JSON with a line for each field, and for each trial."""
    whole = json.loads(encode(experiment))
    return "{\n" + ",\n".join(f"{encode(key)}: {_value(value)}" for key, value in whole.items()) + "\n}\n"


def _value(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(map(encode, value)) + "\n]"
    return encode(value)
