"""What an experiment's page ends with: methods without training, every trial, the protocol, and where it ran."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import pandas as pd

from fabench.analysis.experiment import Reading
from fabench.report import words
from fabench.report.blocks import Column, Section, Table, Text, Value
from fabench.trials import Experiment, MotorcycleExperiment, StereoReference

__all__ = ["frame_of", "others", "protocol"]

_ENVIRONMENT = ("fabench", "started_at", "code_hash", "commit")


def others(experiment: Experiment, found: Reading) -> list[Section]:
    """Methods without training, agreement of arms that compute one function, and every trial."""
    sections = []
    if isinstance(experiment, MotorcycleExperiment) and experiment.references:
        columns = (
            Column("method"), Column("settings"), Column("coverage", "share"), Column("EPE where it answers", "pixels"), Column("over 3 px there", "share"),
            Column("EPE, all pixels", "pixels"), Column("over 3 px, all pixels", "share"),
        )  # fmt: skip
        lead = "On the same test pixels. A method that leaves gaps compares only where it answers."
        rows = [_reference(one) for one in experiment.references]
        sections.append(
            Section("references", "Without training", lead, (Table("references", "Methods without training", columns, rows),))
        )
    if found.agreement is not None:
        one = found.agreement
        text = (
            f"{one.first} and {one.second} compute the same function by associativity: over {one.seeds} seeds {one.differing:,} of {one.answers:,} answers "
            f"were right in one and wrong in the other, and a trial's test loss differed by {one.loss_difference:.1e} at most."
        )
        sections.append(Section("agreement", "Two arms of one function", "", (Text((text,)),)))
    frame = frame_of(experiment)
    columns_ = tuple(
        Column(str(name), {"f": "number", "i": "count"}.get(frame[name].dtype.kind, "text")) for name in frame.columns
    )
    rows_ = [tuple(row) for row in frame.astype(object).itertuples(index=False, name=None)]
    lead = (
        "As they were made. Seconds only tell what a trial took beside whatever else ran: nothing here says how fast anything is."
    )
    sections.append(Section("trials", "Trials", lead, (Table("trials", "Every trial", columns_, rows_, filterable=True),)))
    return sections


def _reference(one: StereoReference) -> tuple[Value, ...]:
    every = (None, None) if one.all is None else (one.all.errors.epe_px, one.all.errors.over_3px)
    return (
        words.plain(one.name),
        words.plain(one.what),
        one.coverage,
        one.covered.errors.epe_px,
        one.covered.errors.over_3px,
        *every,
    )


def frame_of(experiment: Experiment) -> pd.DataFrame:
    """A row for each trial, nested figures by their path; lists are left to the document."""
    return pd.DataFrame([_flat(asdict(trial)) for trial in experiment.trials])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif not isinstance(value, (list, tuple)):
            found[prefix + name] = value
    return found


def protocol(experiment: Experiment) -> Section:
    """What was fixed beforehand, and where the experiment ran."""
    fixed, environment = experiment.protocol, experiment.environment
    rows: list[tuple[Value, ...]] = [(field.name, str(getattr(fixed, field.name))) for field in fields(fixed)]
    where: list[tuple[Value, ...]] = [(name, words.plain(getattr(environment, name))) for name in _ENVIRONMENT]
    where += [
        ("cpu", words.plain(environment.host.get("cpu"))),
        *((name, words.plain(version)) for name, version in environment.packages.items()),
    ]
    columns = (Column("name"), Column("value"))
    blocks = (Table("protocol", "Protocol", columns, rows), Table("where", "Where it ran", columns, where))
    return Section("protocol", "Protocol", "Fixed before any result.", blocks)
