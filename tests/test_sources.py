"""What changed is found from the sources: an implementation with what it stands on, apart from the harness."""

import shutil
from pathlib import Path

import pytest

from fabench.catalogue import implementations
from fabench.sources import harness_hash, implementation_hash

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


def test_a_helper_shared_by_several_changes_each_of_them_and_no_other(copy: Path) -> None:
    found = changed(copy, "attention/_sdpa.py")
    assert found == {name for name in implementations() if name.startswith("sdpa_")}


def test_an_implementation_that_is_not_there_has_no_hash() -> None:
    assert implementation_hash(PACKAGE, "no_such") is None
