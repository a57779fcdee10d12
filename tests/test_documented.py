"""What README, CI.md and the GitHub action tell people to type: commands and options that exist, scripts that run, YAML that parses."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from fabench.cli.main import app

TOP = Path(__file__).parent.parent
ACTION = TOP / ".github" / "actions" / "gate" / "action.yml"
GUIDE = TOP / "fabench" / "cli" / "CI.md"
GROUP: Any = typer.main.get_command(app)
# What stands for something else: a word in capitals, anything in brackets, alternatives.
PLACEHOLDER = re.compile(r"\[.*\]|[A-Z][A-Z.]*|.*¦.*")
CODE = re.compile(r"^```\w*\n(.*?)^```|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
ENDS = {"|", "||", "&&", ";", ">", ">>", "2>", "#"}


def texts(path: Path) -> Iterator[str]:
    """The code in a file, commands that go over several lines in one."""
    whole = path.read_text(encoding="utf-8")
    found = (
        [block or span for block, span in CODE.findall(whole)]
        if path.suffix == ".md"
        else [re.sub(r"^#.*$", "", whole, flags=re.MULTILINE)]
    )
    return (re.sub(r"\\\n\s*", "", text) for text in found)


def documented(path: Path) -> Iterator[list[str]]:
    """The words after `fabench` of every command in a file; variables of a shell or a workflow are replaced by a number."""
    for text in texts(path):
        for found in re.finditer(r"(?:^|[\s/(])fabench ([a-z-].*)", text):
            line = re.sub(r"\$\{\w+:\+([^}]*)\}", r"\1", found[1])
            line = re.sub(r"\$\{\{.*?\}\}|\$\{?\w+\}?", "1", line).replace("\\|", "¦")
            words = shlex.split(line.rstrip("`"), comments=True)
            yield words[: next((index for index, word in enumerate(words) if word in ENDS), len(words))]


def commands() -> list[tuple[str, list[str]]]:
    files = [TOP / "README.md", ACTION, *sorted((TOP / "fabench").rglob("*.md"))]
    return [(path.name, words) for path in files for words in documented(path)]


FOUND = commands()


def test_there_is_something_to_look_at() -> None:
    assert len(FOUND) > 25
    assert {name for name, _ in FOUND} >= {"README.md", "CI.md", "action.yml"}
    gates = [words for name, words in FOUND if name == "action.yml" and words[0] == "gate" and len(words) > 1]
    assert len(gates) == 1 and {"--exact", "--own-environments", "--advisory", "--junit"} <= set(gates[0])


@pytest.mark.parametrize(("file", "words"), FOUND, ids=[f"{name} {' '.join(words)[:60]}" for name, words in FOUND])
def test_a_documented_command_exists_with_its_options(file: str, words: list[str]) -> None:
    name, *rest = words
    if name.startswith("-"):
        return
    command = GROUP.get_command(None, name)
    assert command is not None, f"{file}: there is no `fabench {name}`"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    for word in rest:
        option = word.partition("=")[0]
        assert not option.startswith("-") or option in known or option == "-", f"{file}: `fabench {name}` has no {option}"
    if not any(PLACEHOLDER.fullmatch(word) for word in rest):
        command.make_context(name, list(rest), resilient_parsing=not rest)


def script() -> str:
    """The action's script, as a runner hands it to bash."""
    lines = ACTION.read_text(encoding="utf-8").splitlines()
    begin = next(index for index, line in enumerate(lines) if line.strip() == "run: |") + 1
    return "\n".join(line[8:] for line in lines[begin:]) + "\n"


STAND_IN = """#!{python}
import json, os, sys
from pathlib import Path

with Path("called").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "gate":
    if os.environ["DOCUMENT"]:
        print(os.environ["DOCUMENT"])
    sys.exit(int(os.environ["CODE"]))
print("::error title=a::b")
"""


@pytest.mark.parametrize(
    ("code", "meant", "advisory"), [(0, 0, ""), (1, 1, ""), (3, 3, ""), (4, None, ""), (0, 1, "1"), (2, None, "1")]
)
def test_the_actions_script_passes_the_verdict_on(tmp_path: Path, code: int, meant: int | None, advisory: str) -> None:
    """Before a fabench that notes how it was called: exit code, output and annotations, with a document and without."""
    stand_in = tmp_path / "bin" / "fabench"
    stand_in.parent.mkdir()
    stand_in.write_text(STAND_IN.format(python=sys.executable))
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    known = {
        "BASE": "origin/main; touch forged", "SUITE": "ci", "MIN_EFFECT": "0.05", "LOOKS": "5,8,12", "BUDGET": "15 min",
        "INCONCLUSIVE": "fail", "EXACT": "1", "OWN": "", "ADVISORY": advisory, "RESULTS": "out", "CODE": str(code),
        "DOCUMENT": "" if meant is None else json.dumps({"exit_code": meant}),
        "GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "output",
    }  # fmt: skip
    environment = os.environ | known | {"PATH": f"{stand_in.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script()]
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert (tmp_path / "output").read_text() == f"exit-code={code if meant is None else meant}\n"
    called = [json.loads(line) for line in (tmp_path / "called").read_text().splitlines()]
    gate = called[0]
    assert gate[:3] == ["gate", "--base", "origin/main; touch forged"] and not (tmp_path / "forged").exists()
    assert "--exact" in gate and "--own-environments" not in gate and ("--advisory" in gate) is bool(advisory)
    assert done.stdout == ("" if meant is None else "::error title=a::b\n")
    assert [words[0] for words in called] == (["gate"] if meant is None else ["gate", "export"])


def test_yaml_parses_and_every_input_is_used() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    step = action["runs"]["steps"][0]
    assert action["runs"]["using"] == "composite" and step["shell"] == "bash" and step["run"] == script()
    used = set(re.findall(r"inputs\.([a-z-]+)", json.dumps(step["env"])))
    assert used == set(action["inputs"]), "an input that nothing reads, or one that is not declared"
    assert all("description" in one and ("default" in one) is not one.get("required", False) for one in action["inputs"].values())
    assert set(step["env"]) == set(re.findall(r"\$\{?([A-Z_]+)", step["run"])) - {"GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"}
    blocks = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    github, gitlab = (yaml.safe_load(block) for block in blocks)
    assert set(github["jobs"]) == {"gate", "history"} <= set(gitlab)
    (used_action,) = (step for step in github["jobs"]["gate"]["steps"] if step.get("uses") == "./.github/actions/gate")
    assert set(used_action["with"]) <= set(action["inputs"]) and "base" in used_action["with"]
    assert gitlab["gate"]["artifacts"]["reports"]["junit"] == "gate.xml"
