"""A script that stands in for a process with torch which answers one request."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

StandIn = Callable[[str], None]


def said(line: str) -> str:
    """The statement by which the script says this line."""
    return f"print({line!r}, flush=True)"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The body given is run in place of the process, whatever its arguments, with `request` and `say`."""

    def stand_in(body: str) -> None:
        path = tmp_path / "child"
        path.write_text(
            f"#!{sys.executable}\nimport json, os, signal, sys\nrequest = json.load(sys.stdin)\n"
            f"def say(**line): print(json.dumps(line), flush=True)\n{body}\n"
        )
        path.chmod(0o755)
        monkeypatch.setattr("fabench.sweep.child.sys.executable", str(path))

    return stand_in
