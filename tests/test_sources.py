"""What changed is found from the sources: an implementation with what it stands on, apart from the harness."""

import shutil
from pathlib import Path

import pytest

from fabench.catalogue import implementations
from fabench.sources import harness_hash, implementation_hash, measurement_hash, program_hash

PACKAGE = Path(__file__).parent.parent / "fabench"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    package = tmp_path / "fabench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def hashes(package: Path) -> dict[str, str | None]:
    return {name: implementation_hash(package, name) for name in implementations()} | {"harness": harness_hash(package)}


def changed(package: Path, file: str) -> set[str]:
    before = hashes(package)
    with (package / file).open("a", encoding="utf-8") as handle:
        handle.write("\n# changed\n")
    after = hashes(package)
    return {name for name, value in after.items() if value != before[name]}


def test_a_copy_has_the_same_hashes(copy: Path) -> None:
    assert hashes(copy) == hashes(PACKAGE)
    assert None not in hashes(copy).values()


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("attention/dot_product.py", {"dot_product"}),
        ("kernels/factorized/forward.py", {"triton_factorized"}),
        ("kernels/factorized/__init__.py", {"triton_factorized"}),
        ("measure/timing.py", {"harness"}),
        ("attention/base.py", {"harness"}),
        ("models/blocks.py", {"harness"}),  # around every implementation
        ("report/words.py", set()),
        ("analysis/gate.py", set()),
    ],
)
def test_a_change_is_traced_to_what_stands_on_it(copy: Path, file: str, wanted: set[str]) -> None:
    assert changed(copy, file) == wanted


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("kernels/factorized/forward.py", True), ("attention/base.py", True), ("places.py", True), ("measure/network.py", True),
        ("linux.py", True), ("report/words.py", False), ("suite/grid.py", False),
    ],
)  # fmt: skip
def test_what_decides_a_measurement(copy: Path, file: str, decides: bool) -> None:
    before = measurement_hash(copy)
    with (copy / file).open("a", encoding="utf-8") as handle:
        handle.write("\n# changed\n")
    assert (measurement_hash(copy) != before) is decides


def test_a_helper_shared_by_several_changes_each_of_them_and_no_other(copy: Path) -> None:
    found = changed(copy, "attention/_sdpa.py")
    assert found == {name for name in implementations() if name.startswith("sdpa_")}


def test_an_implementation_that_is_not_there_has_no_hash() -> None:
    assert implementation_hash(PACKAGE, "no_such") is None


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "\n# a comment\n", True),
        ("", '\n\ndef other():\n    """Documented."""\n', False),
        ("from __future__", "# first\n\n\nfrom __future__", True),
        ("[2]", "[3]", False),
    ],
)
def test_a_program_is_the_source_without_comments_and_layout(copy: Path, old: str, new: str, same: bool) -> None:
    file = copy / "attention" / "factorized.py"
    file.write_text('"""Header."""\n\nfrom __future__ import annotations\n\nFACTORS = [2]\n')
    before = program_hash(copy, "factorized"), implementation_hash(copy, "factorized")
    text = file.read_text()
    file.write_text(text.replace(old, new, 1) if old else text + new)
    after = program_hash(copy, "factorized"), implementation_hash(copy, "factorized")
    assert (before[0] == after[0]) is same and before[1] != after[1]


def test_docstrings_are_no_program(copy: Path) -> None:
    file = copy / "attention" / "factorized.py"
    found = set()
    for text in (
        '"""One."""\n\n\ndef f():\n    """Two."""\n    return 1\n',
        '"""Other."""\ndef f():\n    return 1  # as before\n',
    ):
        file.write_text(text)
        found.add(program_hash(copy, "factorized"))
    assert len(found) == 1 and None not in found
    assert program_hash(copy, "nothing") is None


def test_what_is_no_python_has_hashes_all_the_same(copy: Path) -> None:
    file = copy / "attention" / "factorized.py"
    found = set()
    for text in ("def half a commit(:\n", "def half a commit(:\n\n", "\0"):
        file.write_text(text)
        found |= {(program_hash(copy, "factorized"), implementation_hash(copy, "factorized"))}
    assert len(found) == 3
