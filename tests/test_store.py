"""Run folders: nothing measured is lost, and what is damaged is named."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.errors import StoreError
from fabench.schema import Case, Cell, Environment, Record, to_json
from fabench.store import RunFolder, find_runs, read_run

ENVIRONMENT = Environment("0", "2026-01-31T12:00:00Z", {}, {}, {}, {}, "hash", suite="quick")


def record(n: int, reason: str = "because") -> Record:
    return Record(Cell("factorized", "cpu", Case(n=n, m=n)), "skipped", reason)


def written(folder: Path, *records: Record) -> Path:
    run = RunFolder.create(folder, ENVIRONMENT, b'title = "x"\n', "cpu")
    for item in records:
        run.append(item)
    run.close()
    return run.path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, record(1), record(2))
    run = read_run(path)
    assert path.name == "20260131T120000Z-quick-cpu"
    assert run.records == (record(1), record(2))
    assert run.environment == ENVIRONMENT
    assert run.suite_text == b'title = "x"\n'
    assert run.warnings == ()
    assert sorted(file.name for file in path.iterdir()) == ["environment.json", "records.jsonl", "suite.toml"]


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    assert written(tmp_path) != written(tmp_path)
    assert len(find_runs(tmp_path)) == 2


def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    path = written(tmp_path, record(1), record(2))
    lines = path / "records.jsonl"
    lines.write_bytes(lines.read_bytes()[:-30])
    run = read_run(path)
    assert run.records == (record(1),)
    assert run.warnings == (f"{lines} line 2 is left out: torn by an interruption",)
    again = RunFolder(path)
    again.open()
    again.append(record(2))
    again.append(record(3))
    again.close()
    assert read_run(path).records == (record(1), record(2), record(3))
    assert len(read_run(path).warnings) == 1


def test_a_corrupt_record_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, record(1), record(2), record(3))
    lines = path / "records.jsonl"
    lines.write_text(lines.read_text().replace('"n":2', '"n":"two"'))
    run = read_run(path)
    assert run.records == (record(1), record(3))
    assert run.warnings == (f"{lines} line 2 is left out: cell.case.n is 'two', not a whole number",)


def test_the_last_record_of_a_cell_counts(tmp_path: Path) -> None:
    path = written(tmp_path, record(1, "first"), record(1, "second"))
    assert read_run(path).records == (record(1, "second"),)


@given(st.binary(max_size=400))
@settings(max_examples=50, deadline=None)
def test_any_bytes_in_between_lose_nothing(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = written(tmp_path_factory.mktemp("run"), record(1))
    lines = path / "records.jsonl"
    lines.write_bytes(lines.read_bytes() + junk + b"\n" + to_json(record(2)).encode() + b"\n")
    assert {item.cell.case.n for item in read_run(path).records} >= {1, 2}


def test_a_full_disk_still_takes_the_record_in_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create(tmp_path, ENVIRONMENT, b"", "cpu")
    run.append(record(1))
    reserve = run.path / ".reserve"
    real = os.write

    def write(descriptor: int, data: bytes) -> int:
        if not reserve.exists():  # room was made
            return real(descriptor, data)
        if len(data) > 40:
            return real(descriptor, data[:40])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreError, match=r"disk full .*all records so far are stored.*--resume"):
        run.append(record(2))
    monkeypatch.undo()
    run.close()
    assert read_run(run.path).records == (record(1), record(2))


def test_a_folder_that_cant_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file, no folder")
    with pytest.raises(StoreError, match=r"can't write results to .*; choose another folder with --results DIR"):
        RunFolder.create(tmp_path / "results", ENVIRONMENT, b"", "cpu")


def test_names_stay_in_their_folder(tmp_path: Path) -> None:
    from dataclasses import replace

    run = RunFolder.create(tmp_path, replace(ENVIRONMENT, suite="../../x y"), b"", "cuda:1")
    run.close()
    assert run.path.parent == tmp_path
    assert run.path.name == "20260131T120000Z-.._.._x_y-cuda_1"


def test_what_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no run folder"):
        read_run(tmp_path)
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(StoreError, match="can't be read: no JSON"):
        read_run(tmp_path)
