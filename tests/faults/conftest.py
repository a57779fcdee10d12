"""The command in this process, with one fork server for all faults: what a user sees of a scripted device, in tenths of a second."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fabench.cli.main import run
from fabench.schema import Measure, Record
from fabench.store import read_run
from fabench.sweep.launch import ForkServer

SUITE = """
title = "Faults"
[axes]
implementation = ["factorized", "dot_product"]
n = [32, 64]
heads = 1
d_k = 8
d_v = 8
device = "null"
[measure]
warmup_s = 0.001
max_s = 0.05
min_samples = 6
[budget]
cell = "20 s"
"""


@dataclass(frozen=True)
class Seen:
    """What a user has after a sweep: exit code, what was printed, the stored records by cell, in their order."""

    exit_code: int
    said: str
    records: dict[str, Record]
    folder: Path | None


Play = Callable[..., Seen]


@pytest.fixture(scope="session")
def measuring_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ForkServer, Mapping[str, Any], Path]]:
    """A running fork server, and the file that its cells read their script from."""
    script = tmp_path_factory.mktemp("null") / "script.toml"
    server = ForkServer(Measure())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FABENCH_NULL", str(script))
            built = server.start()
        yield server, built, script
    finally:
        server.close()


@pytest.fixture
def play(
    measuring_side: tuple[ForkServer, Mapping[str, Any], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Play]:
    """Runs `fabench sweep` on the null device with a script, in a folder of its own."""
    server, built, path = measuring_side
    handler = signal.getsignal(signal.SIGTERM)

    @contextmanager
    def shared(measure: Measure) -> Iterator[tuple[ForkServer, Mapping[str, Any]]]:
        yield server, built

    def sweep(script: str, *arguments: str, torn: int = 0) -> Seen:
        path.write_text(script)
        (tmp_path / "faults.toml").write_text(SUITE)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setenv("FABENCH_NULL", str(path))  # a server that is killed starts again
        monkeypatch.setattr("fabench.cli._session.measuring", shared)
        monkeypatch.setattr(sys, "argv", ["fabench", "sweep", "faults.toml", "--no-report", *arguments])
        with pytest.raises(SystemExit) as ended:
            run()
        said = capsys.readouterr().err
        assert "Traceback" not in said
        folders = sorted((tmp_path / "results").glob("*"))
        stored = read_run(folders[-1]) if folders else None
        assert stored is None or len(stored.warnings) == torn
        records = {} if stored is None else {record.cell.id: record for record in stored.records}
        return Seen(int(ended.value.code or 0), said, records, folders[-1] if folders else None)

    yield sweep
    signal.signal(signal.SIGTERM, handler)
