"""A checkout's own environment: made once for its dependencies, found again, told in one line where it can't be. No network."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fabench.errors import WorkerError
from fabench.sweep.environments import Own, own_environment

PROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = [{dependencies}]\n'
# Stands in for venv and pip: an interpreter that sees one made-up package, in the version that the checkout's constraints name.
MAKER = """
import os, stat, sys
from pathlib import Path

tree, folder = map(Path, sys.argv[1:])
with Path(os.environ["MADE"]).open("a") as file:
    file.write(f"{tree.name}\\n")
constraints = tree / "constraints.txt"
version = constraints.read_text().strip().partition("==")[2] if constraints.exists() else "1.0"
if version == "impossible":
    sys.exit("note: looking\\nERROR: No matching distribution found for otherlib==impossible")
facts = folder / "site" / f"otherlib-{version}.dist-info"
facts.mkdir(parents=True)
(facts / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: otherlib\\nVersion: {version}\\n")
python = folder / "bin" / "python"
python.parent.mkdir()
python.write_text(f'#!/bin/sh\\nPYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{folder}/site" exec "{sys.executable}" "$@"\\n')
python.chmod(python.stat().st_mode | stat.S_IXUSR)
"""


def maker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """The command that stands in for venv and pip, and the file in which it notes each call."""
    (folder / "make.py").write_text(MAKER)
    monkeypatch.setenv("MADE", str(folder / "made"))
    return f"{sys.executable} '{folder / 'make.py'}'", folder / "made"


def tree(folder: Path, name: str, dependencies: str = '"otherlib"', constraints: str | None = None) -> Path:
    top = folder / name
    top.mkdir()
    (top / "pyproject.toml").write_text(PROJECT.format(dependencies=dependencies))
    if constraints is not None:
        (top / "constraints.txt").write_text(constraints)
    return top


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fabench" / "environments"


def test_it_is_made_once_for_the_same_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, made = maker(tmp_path, monkeypatch)
    told: list[str] = []

    def own(top: Path) -> Own:
        return own_environment("base", top, command, told.append)

    first = own(tree(tmp_path, "a", constraints="otherlib==1.5"))
    assert first.packages["otherlib"] == "1.5" and "fabench" not in first.packages
    assert own(tree(tmp_path, "b", constraints="otherlib==1.5")) == first
    other = own(tree(tmp_path, "c", constraints="otherlib==2.0"))
    assert other.packages["otherlib"] == "2.0" and other.python != first.python
    assert own(tree(tmp_path, "d", '"otherlib>1"', "otherlib==1.5")).python != first.python
    assert made.read_text().split() == ["a", "c", "d"]
    assert len(told) == 3 and told[0].startswith("base's environment is made in ")
    script = "import importlib.metadata as m; print(m.version('otherlib'))"
    ran = subprocess.run([str(other.python), "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "2.0"


def test_what_was_interrupted_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    command, made = maker(tmp_path, monkeypatch)
    top = tree(tmp_path, "a")
    first = own_environment("head", top, command, lambda text: None)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    (folder / "packages.json").unlink()
    assert own_environment("head", top, command, lambda text: None) == first
    assert made.read_text().split() == ["a", "a"]
    (folder / "packages.json").write_text("{")
    with pytest.raises(WorkerError, match="does not say which packages it has; remove that folder"):
        own_environment("head", top, command, lambda text: None)


def test_a_maker_that_fails_is_one_line_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, _ = maker(tmp_path, monkeypatch)
    with pytest.raises(WorkerError) as error:
        own_environment("base", tree(tmp_path, "a", constraints="otherlib==impossible"), command, lambda text: None)
    assert str(error.value).startswith("base's environment can't be made: ")
    assert str(error.value).endswith("ended with 1: ERROR: No matching distribution found for otherlib==impossible")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [("no-such-command", "no-such-command: No such file"), ("true", "bin/python: No such file"), ("'", "can't be read")],
)
def test_a_command_that_makes_none_is_one_line(tmp_path: Path, command: str, said: str) -> None:
    with pytest.raises(WorkerError) as error:
        own_environment("base", tree(tmp_path, "a"), command, lambda text: None)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "[", "[project]\nname = 'x'\n", "[project]\ndependencies = ['--index-url']\n"])
def test_a_checkout_that_states_no_dependencies_is_one_line(tmp_path: Path, text: str | None) -> None:
    top = tmp_path / "a"
    top.mkdir()
    if text is not None:
        (top / "pyproject.toml").write_text(text)
    with pytest.raises(WorkerError, match=r"head's pyproject.toml states no") as error:
        own_environment("head", top, None, lambda text: None)
    assert "\n" not in str(error.value)


def test_venv_and_pip_for_real_from_a_folder_of_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip finds nothing but a wheel made here: the constraint decides, and a version that is not there is one line."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1.0", "2.0"):
        with zipfile.ZipFile(wheels / f"otherlib-{version}-py3-none-any.whl", "w") as wheel:
            facts = f"otherlib-{version}.dist-info"
            wheel.writestr("otherlib.py", f"version = {version!r}\n")
            wheel.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: otherlib\nVersion: {version}\n")
            wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{facts}/RECORD", "")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    own = own_environment("base", tree(tmp_path, "a", constraints="otherlib==1.0\n"), None, lambda text: None)
    assert own.packages["otherlib"] == "1.0"
    ran = subprocess.run(
        [str(own.python), "-c", "import otherlib; print(otherlib.version)"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "1.0"
    with pytest.raises(WorkerError, match=r"pip install \.\.\. ended with 1: ERROR: No matching distribution found for otherlib"):
        own_environment("base", tree(tmp_path, "b", '"otherlib>=3"'), None, lambda text: None)
