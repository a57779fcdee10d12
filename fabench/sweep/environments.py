"""An environment for a checkout: a virtual environment with the packages that its pyproject.toml states, made once and kept.

Kept in the user's cache folder under a hash of the files that state dependencies, the interpreter and how it was made, so that the next
gate finds it. fabench itself is not installed in it: a side runs its checkout's own. What pip reads (its settings and variables) decides
where packages come from. A folder counts when its `packages.json` is there, which is written last: what was interrupted is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fabench.errors import WorkerError
from fabench.kept import cache_folder
from fabench.lines import reason_of
from fabench.sweep.worktree import DEPENDENCIES

__all__ = ["Own", "own_environment"]

_PACKAGES = "packages.json"
_RECIPE = 1  # another number: earlier environments are not used again
_LIST = (
    "import importlib.metadata as m, json; "
    "print(json.dumps({str(d.name): d.version for d in m.distributions() if d.name and d.name != 'fabench'}))"
)
Steps: TypeAlias = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Own:
    """A side's own environment: its interpreter, and the versions of all packages in it."""

    python: Path
    packages: dict[str, str]


def own_environment(side: str, tree: Path, command: str | None, tell: Callable[[str], None]) -> Own:
    """The environment of a checkout, made if it is not there yet. `side` names it in messages.

    `command`: what makes it in place of venv and pip; gets the checkout's folder and the one to fill, which must then have bin/python.
    Raises WorkerError, one line, where it can't be made.
    """
    steps = _steps(side, tree, command)
    folder = cache_folder() / "environments" / _key(tree, command)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if not (folder / _PACKAGES).exists():
                tell(f"{side}'s environment is made in {folder} (once for these dependencies)")
                shutil.rmtree(folder, ignore_errors=True)
                for words in steps(folder):
                    _run(side, words)
                found = _run(side, (str(_python(folder)), "-c", _LIST))
                part = folder / f"{_PACKAGES}.part"
                part.write_text(found, encoding="utf-8")
                part.replace(folder / _PACKAGES)
            packages = json.loads((folder / _PACKAGES).read_bytes())
    except OSError as error:
        raise WorkerError(f"{side}'s environment can't be kept in {folder}: {reason_of(error)}; set XDG_CACHE_HOME") from None
    except ValueError:
        raise WorkerError(f"{side}'s environment in {folder} does not say which packages it has; remove that folder") from None
    return Own(_python(folder), packages)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _steps(side: str, tree: Path, command: str | None) -> Callable[[Path], Steps]:
    """What makes the environment in a folder. Raises WorkerError."""
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise WorkerError(f"--environment-command can't be read: {error}") from None
        return lambda folder: [[*words, str(tree), str(folder)]]
    constraints = tree / "constraints.txt"
    held = ["-c", str(constraints)] if constraints.is_file() else []
    dependencies = _dependencies(side, tree)

    def steps(folder: Path) -> Steps:
        pip = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return [[sys.executable, "-m", "venv", str(folder)], [*pip, *held, *dependencies]]

    return steps


def _dependencies(side: str, tree: Path) -> list[str]:
    try:
        found = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkerError(f"{side}'s pyproject.toml states no dependencies ({type(error).__name__})") from None
    if not isinstance(found, list) or not found or any(not isinstance(one, str) or one.startswith("-") for one in found):
        raise WorkerError(f"{side}'s pyproject.toml states no list of dependencies")
    return found


def _key(tree: Path, command: str | None) -> str:
    digest = hashlib.sha256(f"{_RECIPE}\0{sys.version}\0{sys.base_prefix}\0{platform.machine()}\0{command}\0".encode())
    for name in DEPENDENCIES:
        path = tree / name
        digest.update(path.read_bytes() if path.is_file() else b"\0")
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def _run(side: str, words: Sequence[str]) -> str:
    """Standard output of a step. Raises WorkerError with its last words."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=inherited, check=False)
    except OSError as error:
        raise WorkerError(f"{side}'s environment can't be made: {words[0]}: {reason_of(error)}") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        said = (errors or lines or ["no reason given"])[-1]
        step = " ".join(words[:4])
        raise WorkerError(f"{side}'s environment can't be made: {step} ... ended with {done.returncode}: {said[:300]}")
    return done.stdout


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One gate at a time makes an environment; another one waits for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
