"""The command as a user runs it: another process, its exit code, and what it prints."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
