"""The log: lines that are there at once, and TensorBoard's curves without what a killed training wrote beyond its checkpoint."""

import json
import sys
from pathlib import Path

import pytest

from fabench.errors import DataError, UsageError
from fabench.train.journal import Journal


def step(journal: Journal, number: int, loss: float) -> None:
    journal.write("step", number, epoch=1, loss=loss, gradient=None, rate=0.1, weight=3)


def test_lines_are_appended_and_in_the_file_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "out", None, 0)
    step(journal, 1, 0.1)
    lines = (tmp_path / "out/log.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "event": "step",
        "step": 1,
        "epoch": 1,
        "loss": 0.1,
        "gradient": None,
        "rate": 0.1,
        "weight": 3,
    }
    journal.close()
    again = Journal(tmp_path / "out", None, 1)
    step(again, 2, 0.2)
    again.close()
    assert [json.loads(line)["step"] for line in (tmp_path / "out/log.jsonl").read_text().splitlines()] == [1, 2]


def test_curves_go_on_from_the_checkpoint(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    for begin, values in ((0, {1: 1.0, 2: 2.0, 3: 99.0}), (2, {3: 3.0, 4: 4.0})):
        journal = Journal(tmp_path / "out", tmp_path / "board", begin)
        for number, loss in values.items():
            step(journal, number, loss)
        journal.close()
    found = accumulator.EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert found.Tags()["scalars"] == ["loss", "rate"]  # no gradient was known


def test_without_tensorboard_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"--log writes for TensorBoard, which is missing .*pip install 'fabench\[models\]'"):
        Journal(tmp_path, tmp_path / "board", 0)


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "log.jsonl").symlink_to(full)
    journal = Journal(tmp_path, None, 0)
    with pytest.raises(DataError, match=r"can't write .*log\.jsonl: No space left on device"):
        step(journal, 1, 0.5)
    journal.close()
