"""`fabench export` as a user runs it: data on standard output, everything else on standard error, one line where it can't."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.cli.export import command
from fabench.errors import StoreError, UsageError
from fabench.export import formats
from fabench.export.verdicts import load as load_form
from fabench.export.verdicts import read as read_verdicts
from fabench.export.verdicts import renderers
from fabench.schema import Record
from fabench.store import RunFolder
from fabench.suite import parse
from tests.cli.conftest import Fabench, fabench
from tests.export.examples import FAILED, MEASURED, RECORDS, environment, ok
from tests.export.test_verdicts import written

__all__ = ["fabench"]  # a fixture

SUITE = b"""
title = "Check"
[axes]
implementation = ["factorized", "dot_product"]
n = 64
[[expect]]
status = "out_of_memory"
reason = "the map does not fit"
"""


def stored(folder: Path, *records: Record, **changes: object) -> Path:
    asked = replace(environment(), suite_hash=parse(SUITE, "ci").sha, **changes)  # type: ignore[arg-type]
    run = RunFolder.create(folder / "results", asked, SUITE, "cpu")
    for record in records:
        run.append(record)
    run.close()
    return run.path


@pytest.mark.parametrize("name", formats())
def test_every_format_goes_to_standard_output(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    stored(tmp_path, *RECORDS)
    command(None, name.replace("_", "-"), results=tmp_path / "results")
    shown = capfd.readouterr()
    assert (MEASURED.cell.id in shown.out) is (name != "annotations")
    said = name in ("annotations", "google_benchmark", "junit", "step_summary")
    assert ("1 incorrect" in shown.err and "left out" in shown.err) is not said
    if said:
        assert "the map does not fit" in shown.out


def test_a_file_and_back_through_it(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run, cells = stored(tmp_path, *RECORDS), tmp_path / "cells.json"
    command([run], "pytest-benchmark", str(cells))
    assert capfdbinary.readouterr().out == b""
    command([run], "bencher")
    direct = capfdbinary.readouterr().out
    command([cells], "bencher")
    assert capfdbinary.readouterr().out == direct
    command([cells], "junit")
    assert capfdbinary.readouterr().out.count(b"<failure") == FAILED + 1  # the suite that expects one of them is not at hand


def test_a_report_is_a_source_too(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from fabench.report import write_report

    run = stored(tmp_path, *RECORDS)
    command([run], "hyperfine")
    direct = capfdbinary.readouterr().out
    for file in write_report(RECORDS, [environment()], tmp_path, "page", ["html", "json"]):
        command([file], "hyperfine")
        assert capfdbinary.readouterr().out == direct


def test_of_a_cell_that_was_measured_twice_the_last_record_stands(fabench: Fabench, tmp_path: Path) -> None:
    first = stored(tmp_path, MEASURED)
    again = stored(tmp_path, ok(MEASURED.cell, (0.25,) * 8))
    result = fabench("export", str(first), str(again), "-f", "hyperfine")
    assert [entry["median"] for entry in json.loads(result.stdout)["results"]] == [0.25]
    assert "measured more than once" in result.stderr


def test_verdicts_are_exported_from_their_document(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    told = written()
    document = tmp_path / "gate.json"
    document.write_text(json.dumps(told))
    for name in renderers():
        command([document], name.replace("_", "-"))
        assert capfdbinary.readouterr().out == load_form(name)(read_verdicts(told, "here"))
    with pytest.raises(UsageError, match="verdicts are not written as 'bencher'; there are annotations, junit, step_summary"):
        command([document], "bencher")
    with pytest.raises(UsageError, match="one document at a time"):
        command([document, stored(tmp_path, *RECORDS)], "junit")
    document.write_text('{"format": "fabench-gate", "version": 1}')
    with pytest.raises(StoreError, match="holds no verdicts of `fabench gate`"):
        command([document], "junit")


def test_what_can_not_be_exported_is_one_line(fabench: Fabench, tmp_path: Path) -> None:
    result = fabench("export", str(stored(tmp_path, *RECORDS[2:])), "-f", "bencher", status=4)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("fabench: no cell has a time, so there is nothing to export as bencher: 1 incorrect, 1 out of memory")
    assert result.stdout == ""


def test_every_other_mistake_says_what_is_wrong(tmp_path: Path) -> None:
    run, foreign = stored(tmp_path, *RECORDS), tmp_path / "foreign.json"
    foreign.write_text('{"benchmarks": [], "machine_info": {}}')
    empty = stored(tmp_path)
    for runs, name, output, kind, words in (
        ([run], "", "-", UsageError, "name a format with --format"),
        ([run], "docx", "-", UsageError, "no format 'docx'"),
        (None, "junit", "-", UsageError, "no run in"),
        ([tmp_path / "missing"], "junit", "-", StoreError, "no run folder"),
        ([foreign], "junit", "-", StoreError, "no pytest-benchmark file of fabench"),
        ([run], "junit", str(run / "records.jsonl" / "x"), StoreError, "can't write"),
        ([empty], "junit", "-", StoreError, "no records to export"),
    ):
        with pytest.raises(kind, match=re.escape(words)) as error:
            command(runs, name, output, tmp_path / "nowhere")
        assert "\n" not in str(error.value)
