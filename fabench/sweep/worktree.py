"""A revision checked out beside the one that runs, for as long as it is needed: a git worktree in a temporary folder."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fabench.errors import UsageError

__all__ = ["DEPENDENCIES", "Tree", "checked_out", "dependencies_changed", "top_of", "working_tree"]

_PATIENCE_S = 120.0
DEPENDENCIES = ("pyproject.toml", "constraints.txt")


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout. `commit` is its full hash, with "+" where files differ from it; `revision` as the user wrote it.

    `python` runs it, and has these `packages`; None: the interpreter that runs this.
    """

    path: Path
    commit: str
    revision: str
    python: Path | None = None
    packages: dict[str, str] | None = None


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except FileNotFoundError:
        raise UsageError("git is not installed, and a revision can't be checked out without it") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git {words[0]} did not end within {_PATIENCE_S:.0f} s") from None
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise UsageError(f"git {words[0]}: {said[:200]}")
    return done.stdout.strip()


def top_of(folder: Path) -> Path:
    """The checkout that `folder` lies in. Raises UsageError where there is none."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except UsageError as error:
        raise UsageError(f"{folder} is in no git checkout ({error}); run this in a clone of the repository") from None


def working_tree(top: Path) -> Tree:
    """What lies in `top` now, changes that are not committed included."""
    commit = _git(top, "rev-parse", "HEAD")
    changed = bool(_git(top, "status", "--porcelain", "fabench", "suites", *DEPENDENCIES))
    return Tree(top, commit + ("+" if changed else ""), "the working tree")


@contextmanager
def checked_out(top: Path, revision: str) -> Iterator[Tree]:
    """`revision` in a folder of its own, which is gone afterwards. Raises UsageError for a revision that is not known."""
    if revision.startswith("-"):
        raise UsageError(f"{revision[:40]!r} is no revision")
    try:
        commit = _git(top, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except UsageError:
        raise UsageError(f"there is no revision {revision[:80]!r} here; fetch it, or name another with --base") from None
    folder = Path(tempfile.mkdtemp(prefix="fabench-"))
    try:
        _git(top, "worktree", "add", "--detach", "--quiet", str(folder / "tree"), commit)
        yield Tree(folder / "tree", commit, revision)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(top, "worktree", "prune")


def dependencies_changed(base: Path, head: Path) -> list[str]:
    """The files that state dependencies and differ between two checkouts."""
    return [name for name in DEPENDENCIES if _bytes(base / name) != _bytes(head / name)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
