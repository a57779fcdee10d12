"""`fabench experiment`: the small experiments on data that ships inside packages, trial by trial, and what they say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fabench.analysis.experiment import Agreement, Difference, Measure, Reading, beside, conclusion, read
from fabench.cli._console import notes, safe
from fabench.cli._options import Results, overrides
from fabench.codec import DecodeError, decode, encode
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.sweep.experiment import completed, resumed
from fabench.trialfile import path_of, read_experiment
from fabench.trials import (
    ARMS,
    EXPERIMENTS,
    DigitsProtocol,
    Experiment,
    MotorcycleExperiment,
    MotorcycleProtocol,
    PixelErrors,
    Protocol,
    missing,
)

__all__ = ["command"]

_PROTOCOLS: dict[str, type[DigitsProtocol] | type[MotorcycleProtocol]] = {
    "digits": DigitsProtocol,
    "motorcycle": MotorcycleProtocol,
}
_TITLES = {
    "accuracy": "accuracy, % of all images",
    "epe_px": "EPE, px, over all test pixels",
    "over_3px": "more than 3 px off, % of all test pixels",
    "covered_epe_px": "EPE, px, over the test pixels that SGBM answers",
    "covered_over_3px": "more than 3 px off, % of the test pixels that SGBM answers",
}


def command(
    name: Annotated[str, typer.Argument(help=f"{' or '.join(EXPERIMENTS)}.")],
    results: Results = Path("results"),
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another protocol than the fixed one, e.g. seeds=2; name another --results too."),
    ] = None,
    stored: Annotated[bool, typer.Option("--stored", help="Make no trial; show what is stored, whatever its protocol.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="What was read as one line of JSON on standard output.")] = False,
) -> int:  # fmt: skip
    """Train without attention, with non-local and with factorized attention, many seeds; show differences with intervals."""
    if name not in EXPERIMENTS:
        raise UsageError(f"no experiment is called {name[:40]!r}; there are {', '.join(EXPERIMENTS)}")
    path = path_of(results, name)
    experiment = _stored(path, name) if stored else _made(path, name, _protocol(name, settings))
    found = read(experiment)
    if as_json:
        typer.echo(encode(found))
    else:
        for line in _lines(experiment, found):
            typer.echo(safe(line))
    return ExitCode.FINE if found.seeds else ExitCode.NOT_MEASURED


def _stored(path: Path, name: str) -> Experiment:
    found = read_experiment(path, name)
    if found is None:
        raise StoreError(f"{path} is not there; `fabench experiment {name}` makes it")
    return found


def _made(path: Path, name: str, protocol: Protocol) -> Experiment:
    experiment = resumed(path, name, protocol)
    if lacking := len(missing(experiment)):
        notes.print(safe(f"{lacking} trials to make; each is stored in {path}, and a stopped experiment goes on from there"))
    return completed(experiment, path, _Teller(experiment))


def _protocol(name: str, settings: list[str] | None) -> Protocol:
    values: dict[str, Any] = json.loads(encode(_PROTOCOLS[name]()))
    for key, text in overrides(settings).items():
        if key not in values:
            raise UsageError(f"the protocol of {name} has no {key[:40]!r}; there are {', '.join(values)}")
        try:
            values[key] = text if isinstance(values[key], str) else json.loads(text)
        except ValueError:
            raise UsageError(f"{key} is {text[:40]!r}, must be a number") from None
    try:
        return decode(_PROTOCOLS[name], values)
    except DecodeError as error:
        raise UsageError(str(error)) from None


class _Teller:
    """Says how far the experiment is: on a terminal as it goes, else a line for each trial."""

    def __init__(self, experiment: Experiment) -> None:
        self._total = experiment.protocol.seeds * len(ARMS[experiment.name])
        self._made = self._total - len(missing(experiment))

    def __call__(self, arm: str, seed: int, share: float) -> None:
        self._made += share == 1
        if share == 1:
            notes.print(safe(f"{arm}, seed {seed}: trial {self._made} of {self._total}"), overflow="crop", no_wrap=True)
        elif notes.is_terminal:
            notes.print(safe(f"{arm}, seed {seed}: {share:.0%}"), end="\r", overflow="crop", no_wrap=True)


def _lines(experiment: Experiment, found: Reading) -> list[str]:
    seeds = f"{len(found.seeds)} of {found.planned} seeds, intervals are 95 % over seeds"
    lines = [f"{experiment.name}: {experiment.label}", seeds]
    for measure in found.measures:
        lines += ["", _TITLES[measure.key], *_arms(measure), *_references(experiment, measure), *_differences(measure)]
    if isinstance(experiment, MotorcycleExperiment):
        lines += [
            "",
            *(f"{one.name}: {one.what}; it answers {one.coverage:.1%} of the test pixels" for one in experiment.references),
        ]
    if found.agreement is not None:
        lines += ["", _agreement(found.agreement)]
    compared = beside(experiment, found)
    return [*lines, "", conclusion(found), *([] if compared is None else [compared])]


def _arms(measure: Measure) -> list[str]:
    rows = [("arm", "mean", "interval", "deviation", "least", "most", "parameters", "of the block")]
    for arm in measure.arms:
        mean = sum(arm.values) / len(arm.values)
        rows.append((
            arm.arm, _value(mean, measure), "-" if arm.mean is None else _interval(arm.mean.low, arm.mean.high, measure),
            "-" if arm.deviation is None else _value(arm.deviation, measure),
            _value(min(arm.values), measure), _value(max(arm.values), measure), f"{arm.parameters:,}", f"{arm.block_parameters:,}",
        ))  # fmt: skip
    return _table(rows)


def _references(experiment: Experiment, measure: Measure) -> list[str]:
    if not isinstance(experiment, MotorcycleExperiment):
        return []
    covered, key = measure.key.startswith("covered_"), measure.key.removeprefix("covered_")
    found: list[tuple[str, PixelErrors | None]] = [
        (one.name, one.covered if covered else one.all) for one in experiment.references
    ]
    return [f"  {name:<20} {_value(getattr(one.errors, key), measure)}" for name, one in found if one is not None]


def _differences(measure: Measure) -> list[str]:
    rows = [("difference", "mean", "interval", "0 left out", "within the bound")]
    rows += [
        (f"{one.first} - {one.second}", _value(one.mean.value, measure, "+"), _interval(one.mean.low, one.mean.high, measure, "+"),
         _yes(one.resolved), _bounded(one, measure))
        for one in measure.differences
    ]  # fmt: skip
    return _table(rows) if measure.differences else []


def _bounded(one: Difference, measure: Measure) -> str:
    return "-" if one.bound is None else f"{_yes(one.equivalent)} (+-{_value(one.bound, measure)})"


def _yes(value: bool | None) -> str:
    return "yes" if value else "no"


def _agreement(one: Agreement) -> str:
    return (
        f"{one.first} and {one.second} are one function: of {one.answers:,} answers in {one.seeds} seeds {one.differing} were right with one "
        f"and wrong with the other; test losses differ by {one.loss_difference:.1g} at most"
    )


def _value(value: float, measure: Measure, sign: str = "") -> str:
    return f"{100 * value:{sign}.2f}" if measure.share else f"{value:{sign}.3f}"


def _interval(low: float, high: float, measure: Measure, sign: str = "") -> str:
    return f"{_value(low, measure, sign)} to {_value(high, measure, sign)}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.rjust(width) if number else cell.ljust(width) for number, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
