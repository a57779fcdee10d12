"""Revisions checked out side by side, in repositories made for the test."""

import subprocess
from pathlib import Path

import pytest

from fabench.errors import UsageError
from fabench.sweep.worktree import checked_out, dependencies_changed, top_of, working_tree


def git(folder: Path, *words: str) -> str:
    settings = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    done = subprocess.run(["git", "-C", str(folder), *settings, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    top = tmp_path / "clone"
    (top / "fabench").mkdir(parents=True)
    git(top.parent, "init", "-q", "-b", "main", str(top))
    for text in ("one", "two"):
        (top / "fabench" / "a.py").write_text(text)
        (top / "pyproject.toml").write_text("same")
        git(top, "add", "-A")
        git(top, "commit", "-q", "-m", text)
    return top


def test_a_revision_is_there_while_it_is_needed(clone: Path) -> None:
    with checked_out(clone, "HEAD~1") as tree:
        assert (tree.path / "fabench" / "a.py").read_text() == "one"
        assert tree.commit == git(clone, "rev-parse", "HEAD~1")
        assert (clone / "fabench" / "a.py").read_text() == "two"
        path = tree.path
    assert not path.exists()
    assert "fabench-" not in git(clone, "worktree", "list")


def test_it_is_gone_after_an_error_too(clone: Path) -> None:
    with pytest.raises(ZeroDivisionError), checked_out(clone, "HEAD") as tree:
        path = tree.path
        raise ZeroDivisionError
    assert not path.exists()
    assert git(clone, "worktree", "list").count("\n") == 0


@pytest.mark.parametrize("revision", ["nothing", "--help", "HEAD~9", ""])
def test_an_unknown_revision_is_one_line(clone: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="revision") as found, checked_out(clone, revision):
        pass
    assert "\n" not in str(found.value)


def test_the_working_tree_says_whether_it_differs_from_its_commit(clone: Path) -> None:
    assert working_tree(clone).commit == git(clone, "rev-parse", "HEAD")
    (clone / "fabench" / "a.py").write_text("three")
    assert working_tree(clone).commit.endswith("+")


def test_the_top_is_found_from_inside_and_its_lack_is_one_line(clone: Path, tmp_path: Path) -> None:
    assert top_of(clone / "fabench").resolve() == clone.resolve()
    with pytest.raises(UsageError, match="no git checkout"):
        top_of(tmp_path)


def test_dependencies_that_changed_are_named(clone: Path) -> None:
    with checked_out(clone, "HEAD~1") as tree:
        assert dependencies_changed(tree.path, clone) == []
        (clone / "constraints.txt").write_text("torch==1")
        assert dependencies_changed(tree.path, clone) == ["constraints.txt"]
