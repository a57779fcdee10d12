"""Runs the tests in `interpreted` in a process whose Triton interprets."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "interpreted"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("test_*.py")))
def test_interpreted(name: str) -> None:
    settings = os.environ | {"TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for variable in [key for key in settings if key.startswith("PYTEST_XDIST")]:
        del settings[variable]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, check=False, cwd=FOLDER.parents[2], env=settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout or "[100%]" in done.stdout
