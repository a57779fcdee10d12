"""The digits that scikit-learn ships, against its own loader."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from fabench.data import digits
from fabench.errors import DataError


def test_it_is_the_set_that_scikit_learn_loads() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    expected, found = datasets.load_digits(), digits.load()
    np.testing.assert_array_equal(found.images * 16, expected.images)
    np.testing.assert_array_equal(found.labels, expected.target)
    assert found.images.shape == (1797, 8, 8)
    assert (found.images.min(), found.images.max()) == (0, 1)
    assert sorted(set(found.labels.tolist())) == list(range(digits.CLASSES))


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=r"needs sklearn; install it with pip install 'fabench\[models\]'"):
        digits.load()


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"1,2,x\n"), gzip.compress(b"1,2,3\n"), gzip.compress(b"1,2\n" * 9)[:-9]],
    ids=["empty", "no gzip", "no number", "too few", "cut"],
)
def test_a_broken_file_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes) -> None:
    class Package:
        __file__ = str(tmp_path / "__init__.py")

    (tmp_path / "datasets" / "data").mkdir(parents=True)
    (tmp_path / "datasets" / "data" / "digits.csv.gz").write_bytes(data)
    monkeypatch.setitem(sys.modules, "sklearn", Package)
    with pytest.raises(DataError, match="is not the set of digits that scikit-learn ships") as caught:
        digits.load()
    assert "\n" not in str(caught.value)
