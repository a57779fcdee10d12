"""Nothing of the null device passes for a measurement: its run, its records and every report say that they are scripted."""

import json
import sys

import pytest

from fabench.cli.main import run
from tests.faults.conftest import Play


def test_run_records_and_report_say_that_they_are_scripted(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = play("title = 'A test'")
    assert seen.folder is not None
    facts = json.loads((seen.folder / "environment.json").read_text())["devices"]["null"]
    assert (facts["scripted"], facts["name"]) == (True, "null device, scripted: A test")
    assert seen.folder.name.endswith("-null")
    for record in seen.records.values():
        assert record.cell.device == "null"
        assert record.timing is not None and record.timing.witness is not None
        assert record.timing.clock.startswith("null_")
        assert record.timing.witness.clock.startswith("null_")
    monkeypatch.setattr(sys, "argv", ["fabench", "report", str(seen.folder), "--format", "markdown", "--reports", "said"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert not ended.value.code
    (report,) = (seen.folder.parent.parent / "said").glob("*.md")
    text = report.read_text()
    assert "null device, scripted: A test" in text
    assert "These times are scripted: nothing was measured." in text
    assert "Cells from a scripted device: 4." in text


def test_auto_never_chooses_it(play: Play) -> None:
    seen = play("title = 'A test'", "--device", "auto", "--n", "32", "--implementation", "factorized")
    (record,) = seen.records.values()
    assert record.cell.device in ("cpu", "cuda")
