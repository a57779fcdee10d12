"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8, the test part of UCI's optical recognition set, in the package itself.

Images follow one another as they were collected, so neighbours are of one writer: folds of consecutive images keep writers mostly apart,
shuffled ones would test on hands that were seen in training.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import read_bytes, reason
from fabench.data.optional import need
from fabench.errors import DataError

__all__ = ["CLASSES", "Digits", "load"]

CLASSES, _SIDE, _WHITE = 10, 8, 16


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """`images` [1797, 8, 8] in 0..1, `labels` [1797] in 0..9, in the set's order."""

    images: NDArray[np.float64]
    labels: NDArray[np.int64]


def load() -> Digits:
    """The set, read from scikit-learn's own file: never downloaded. Raises DataError where the package is missing or its file is broken."""
    path = Path(need("sklearn", "the set of digits").__file__).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        rows = gzip.decompress(read_bytes(path)).decode("ascii").split()
        table = np.array([[float(cell) for cell in row.split(",")] for row in rows])
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not the set of digits that scikit-learn ships: {reason(error)}") from None
    if table.ndim != 2 or table.shape[1] != _SIDE * _SIDE + 1:
        raise DataError(f"{path} is not the set of digits that scikit-learn ships: its table has the shape {table.shape}")
    return Digits(table[:, :-1].reshape(-1, _SIDE, _SIDE) / _WHITE, table[:, -1].astype(np.int64))
