"""The command as a user runs it: its exit code, and what it prints. In another process (`fabench`), or in this one, which is quicker (`inside`)."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabench.cli.main import run as run_here

TINY = """
title = "Tiny"
[axes]
implementation = ["factorized", "dot_product"]
n = [64, 128, 256]
heads = 2
d_k = 8
d_v = 8
device = "cpu"
[measure]
warmup_s = 0.001
max_s = 0.02
min_samples = 3
[budget]
cell = "60 s"
memory = "2 GiB"
"""

Fabench = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fabench", *arguments]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def fabench(tmp_path: Path) -> Fabench:
    """Runs `fabench ARGUMENTS` in a folder of its own."""

    def run(*arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
        result = subprocess.run(
            command(*arguments), capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300, check=False
        )  # fmt: skip
        assert status is None or result.returncode == status, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result

    return run


@dataclass(frozen=True)
class Done:
    """How a command in this process ended."""

    status: int
    out: str
    err: str


Inside = Callable[..., Done]


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs `fabench WORDS` in this process, where it is."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("fabench.cli.main.signal.signal", lambda number, handler: None)

    def call(*words: object, status: int = 0) -> Done:
        monkeypatch.setattr(sys, "argv", ["fabench", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_here()
        told = capsys.readouterr()
        assert ended.value.code == status, told.out + told.err
        assert "Traceback" not in told.err
        return Done(status, told.out, told.err)

    return call
