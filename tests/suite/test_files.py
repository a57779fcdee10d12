"""Where suites are found."""

import os
from pathlib import Path

import pytest

from fabench.errors import SuiteError, UsageError
from fabench.suite import available, files, load

TEXT = '[axes]\nimplementation = "dot_product"\nn = 64\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    return tmp_path / "suites"


def line(source: str) -> str:
    with pytest.raises(UsageError) as caught:
        load(source)
    return str(caught.value)


def test_own_suites_are_found_from_anywhere(folder: Path) -> None:
    assert "quick" in available()


def test_the_working_folder_comes_first(folder: Path) -> None:
    (folder / "quick.toml").write_text(TEXT)
    (folder / ".hidden.toml").write_text(TEXT)
    (folder / "no suite.toml").write_text(TEXT)
    assert len(load("quick").cells) == 1
    assert not {".hidden", "no suite"} & available().keys()


def test_an_installed_package_brings_its_suites(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PACKAGE", folder.parent)
    (folder / "mine.toml").write_text(TEXT)
    os.chdir("/")
    assert list(available()) == ["mine"]


def test_a_path_is_read_as_it_is(folder: Path) -> None:
    (folder.parent / "a b\x1b.toml").write_text(TEXT)
    suite = load("a b\x1b.toml", {"n": "32"}, "n < 64")
    assert suite.name == "a-b" and suite.overrides == {"n": "32"} and suite.where == "n < 64"
    assert [item.cell.case.n for item in suite.plan("cpu")] == [32]


def test_names_stay_in_their_folder(folder: Path) -> None:
    (folder.parent / "secret.toml").write_text(TEXT)
    assert line("../secret").startswith("no suite '../secret'; ")
    assert line("/etc/passwd").startswith("no suite '/etc/passwd'; ")
    assert line("\x00").startswith("no suite '\\x00'; ")


def test_unknown_and_unreadable(folder: Path) -> None:
    assert line("quik") == "no suite 'quik'; did you mean quick?"
    assert line("gone.toml") == "gone.toml: is no file; give the path of a TOML file or the name of a suite"
    assert line("a\x00.toml") == "a\\x00.toml: is no file; give the path of a TOML file or the name of a suite"
    (folder / "dir.toml").mkdir()
    assert line("suites/dir.toml") == "suites/dir.toml: is no file; give the path of a TOML file or the name of a suite"
    assert "dir" not in available()


def test_a_mistake_names_its_file(folder: Path) -> None:
    (folder / "mine.toml").write_text(TEXT + "heds = 2")
    with pytest.raises(SuiteError) as caught:
        load("mine")
    assert str(caught.value) == "mine.toml: axes.heds: is not known; did you mean heads?"
