"""A checkout whose measuring side is scripted: it answers at once, in the protocol of the real one, and nothing in it measures anything.

`behaviour.json` at its top says how each implementation ends there, so that base and head differ by what is committed and what lies there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Inside

TOP = Path(__file__).parent.parent.parent
SERVER = """
import json, sys, time
from pathlib import Path
import fabench
from fabench.schema import Job, Memory, Record, Status, from_json, to_json

PACKAGE = Path(fabench.__file__).parent
HOW = json.loads((PACKAGE.parent / "behaviour.json").read_text())


def say(**message):
    sys.stdout.write("\\n" + json.dumps(message) + "\\n")
    sys.stdout.flush()


def answer(record):
    sys.stdout.write('\\n{"event": "answer", "value": ' + to_json(record) + "}\\n")
    say(event="ended", code=0)


def duet(request):
    job = from_json(Job, json.dumps(request["job"]))
    how = HOW.get(job.cell.implementation, {})
    ending = how.get("ending", "ok")
    say(event="phase", name="prepare")
    if ending == "hang":
        time.sleep(60)
    if ending == "crash":
        return say(event="ended", code=-11)
    if ending != "ok":
        return answer(Record(job.cell, ending, how.get("reason", "as scripted"), memory_limit_bytes=job.memory_limit_bytes))
    say(event="prepared", call_s=1e-3)
    say(event="phase", name="timing")
    seconds = 1e-3 * how.get("factor", 1.0) * (1 + request.get("slow_down", 0.0))
    for line in sys.stdin:
        command = json.loads(line)
        if command.get("done"):
            peak = how.get("peak", 10**6)
            return answer(Record(job.cell, Status.OK, function="f", memory=Memory(0, peak, peak, 0, 0), flop=1))
        spent = seconds * command["ping"]
        say(event="pong", seconds=spent, cpu_s=spent)


if HOW.get("server") == "broken":
    sys.exit("ImportError: cannot import name 'gone' from 'torch'")
say(event="ready", torch="0", package=str(PACKAGE))
for line in sys.stdin:
    request = json.loads(line)
    say(event="started", pid=2**22 + 12345)
    if request["kind"] == "describe":
        seen = {name: {"name": "Stand-in"} if name == "cpu" else {"missing": "none here"} for name in request["devices"]}
        say(event="answer", value=seen)
        say(event="ended", code=0)
    else:
        duet(request)
"""
SUITE = """
title = "Scripted"
[axes]
implementation = ["factorized", "dot_product"]
n = 64
heads = 2
d_k = 8
device = "cpu"
[budget]
memory = "2 GiB"
cell = "20 s"
"""


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@dataclass(frozen=True)
class Checkout:
    """`fabench` runs in it, in this process; its measuring sides are the scripted ones."""

    top: Path
    fabench: Inside

    def behave(self, **how: Any) -> None:
        """What lies in the working tree from now on."""
        (self.top / "behaviour.json").write_text(json.dumps(how))

    def commit(self, **how: Any) -> str:
        """The same, committed; the commit."""
        self.behave(**how)
        git(self.top, "add", "-A", "fabench", "suites", "behaviour.json", "pyproject.toml", "constraints.txt")
        git(self.top, "commit", "-q", "--allow-empty", "-m", "scripted")
        return git(self.top, "rev-parse", "HEAD")

    def gate(self, base: Mapping[str, Any], head: Mapping[str, Any], *words: object, status: int) -> dict[str, Any]:
        """The document of a gate in two launch pairs of the scripted suite."""
        commit = self.commit(**base)
        self.behave(**head)
        done = self.fabench("gate", "--base", commit, "--suite", "scripted.toml", "--looks", "2", "--json", *words, status=status)
        found: dict[str, Any] = json.loads(done.out)
        assert found["exit_code"] == status or "--advisory" in words
        return found | {"said": done.err}


def make(top: Path) -> None:
    """A repository with the package as it lies here, but for the scripted server."""
    listed = git(TOP, "ls-files", "fabench", "pyproject.toml", "constraints.txt").splitlines()
    for name in listed:
        if (TOP / name).is_file():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes((TOP / name).read_bytes())
    (top / "fabench" / "measure" / "server.py").write_text(SERVER)
    (top / "suites").mkdir()
    (top / "scripted.toml").write_text(SUITE)
    (top / "behaviour.json").write_text("{}")
    git(top.parent, "init", "-q", "-b", "main", str(top))
    git(top, "add", "-A")
    git(top, "commit", "-q", "-m", "as it is")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("scripted") / "clone"
    make(top)
    return top


@pytest.fixture
def checkout(repository: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Checkout:
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Checkout(repository, inside)
