"""`fabench gate` as a user runs it, in a scratch clone: what got worse, what can't be compared, interruptions, wrong words."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parent.parent.parent
CELL = ["--suite", "ci", "--where", "implementation == 'factorized' and n == 4096", "--looks", "2"]
HUNGRY = """

_lean = prepare


def prepare(case, device):  # type: ignore[no-untyped-def]
    core = _lean(case, device)

    def hungry(q, k, v, padding):  # type: ignore[no-untyped-def]
        kept = torch.zeros(EXTRA, dtype=torch.uint8)
        return core(q, k, v, padding) + kept[0]

    return hungry
"""


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def gate(clone: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fabench", "gate", *words]
    settings = os.environ | {"PYTHONPATH": str(clone)}
    return subprocess.run(command, cwd=clone, env=settings, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files as they lie here, in a repository of their own."""
    top = tmp_path_factory.mktemp("scratch") / "clone"
    listed = git(TOP, "ls-files", "fabench", "suites", "pyproject.toml", "constraints.txt").splitlines()
    for name in listed:
        if (TOP / name).is_file():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes((TOP / name).read_bytes())
    git(top.parent, "init", "-q", "-b", "main", str(top))
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "as it is")
    return top


def test_more_memory_is_worse_and_named(clone: Path) -> None:
    file = clone / "fabench" / "attention" / "factorized.py"
    honest = file.read_text()
    try:
        file.write_text(honest + HUNGRY.replace("EXTRA", str(3 * 2**20)))
        done = gate(clone, "--base", "HEAD", *CELL, "--json", "--summary", "summary.md")
        assert done.returncode == 1, done.stderr
        found = json.loads(done.stdout)
        (cell,) = found["cells"]
        assert found["exit_code"] == 1
        assert [one["quantity"] for one in cell["worse"]] == ["peak memory"]
        assert cell["worse"][0]["head"] - cell["worse"][0]["base"] >= 3 * 2**20
        assert cell["changed"] == "factorized changed"
        assert "WORSE: peak memory" in (clone / "summary.md").read_text()
        assert "WORSE: peak memory" in done.stderr
        stored = Path(done.stderr.rsplit("pairs: ", 1)[1].strip())
        assert len((clone / stored / "pairs.jsonl").read_text().splitlines()) == 2
        again = gate(clone, "--resume", "latest", "--memory", "8 MiB", "--advisory")
        assert again.returncode == 0, again.stderr
        assert "WORSE" not in again.stderr
        assert len((clone / stored / "pairs.jsonl").read_text().splitlines()) == 2, "nothing is measured twice"
        file.write_text(honest)
        other = gate(clone, "--resume", "latest")
        assert other.returncode == 5
        assert "is not what this gate began with" in other.stderr
    finally:
        file.write_text(honest)


def test_a_base_that_does_not_run_is_not_measured_and_no_failure_of_head(clone: Path) -> None:
    file = clone / "fabench" / "attention" / "factorized.py"
    honest = file.read_text()
    try:
        file.write_text(honest + "\n\nraise RuntimeError('half a commit')\n")
        git(clone, "commit", "-q", "-a", "-m", "broken")
        file.write_text(honest)
        done = gate(clone, "--base", "HEAD", *CELL)
        assert done.returncode == 4, done.stderr
        assert "not measured (base: crashed: in prepare: RuntimeError: half a commit)" in done.stderr
    finally:
        file.write_text(honest)
        git(clone, "commit", "-q", "-a", "-m", "mended")


def test_a_killed_gate_goes_on_where_it_was(clone: Path) -> None:
    command = [sys.executable, "-m", "fabench", "gate", "--base", "HEAD", *CELL, "--results", "killed"]
    process = subprocess.Popen(command, cwd=clone, env=os.environ | {"PYTHONPATH": str(clone)}, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        lines: list[Path] = []
        while time.monotonic() < deadline and not (lines and lines[0].read_text().count("\n") == 1):
            lines = list((clone / "killed").glob("*/pairs.jsonl"))
            time.sleep(0.02)
        assert lines, "no pair was stored"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = gate(clone, "--resume", "latest", "--results", "killed", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["launches"] == 2
    pairs = [json.loads(line) for line in lines[0].read_text().splitlines() if line.strip()]
    assert sorted(pair["pair"] for pair in pairs) == [0, 1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "name the revision to compare with"),
        (["--base", "no-such-revision"], 2, "there is no revision"),
        (["--base", "HEAD", "--looks", "five"], 2, "is no list of whole numbers"),
        (["--base", "HEAD", "--looks", "5,3"], 2, "must grow"),
        (["--base", "HEAD", "--min-effect", "5"], 2, "min_effect is 5.0"),
        (["--base", "HEAD", "--memory", "lots"], 2, "--memory"),
        (["--base", "HEAD", "--inconclusive", "maybe"], 2, "there are pass, fail"),
        (["--base", "HEAD", "--where", "n == 3"], 2, "the filter keeps none"),
        (["--resume", "nowhere"], 4, "is no gate's folder"),
    ],
)
def test_wrong_words_are_one_line(clone: Path, words: list[str], code: int, said: str) -> None:
    done = gate(clone, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_outside_a_checkout_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fabench", "gate", "--base", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "is in no git checkout" in done.stderr
