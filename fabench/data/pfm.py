"""PFM, the format of Scene Flow's and Middlebury's disparities: a text header, then float32 rows from the BOTTOM of the image to its top.

    Pf              one channel (PF is colour)
    960 540         width height
    -1.0            negative: the numbers are little-endian; positive: big-endian. Its size is by convention not applied to them
    <binary>

Middlebury writes -0.003922 there, a mere hint for viewers, and its disparities are the numbers as they stand.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import read_bytes, write_bytes
from fabench.errors import DataError

__all__ = ["parse", "read", "write"]

_HEADER = re.compile(rb"(Pf|PF)\s+(\d{1,9})\s+(\d{1,9})\s+([-+.0-9eE]{1,40})\r?\n")
_HEADER_BYTES = 200


def read(path: Path) -> NDArray[np.float32]:
    """The map [H, W] with its rows top to bottom. Raises DataError for a file that is missing, colour, or not as long as its header says."""
    return parse(read_bytes(path), str(path))


def parse(data: bytes, name: str) -> NDArray[np.float32]:
    """The map [H, W] that a file of these bytes holds. Raises DataError, which begins with `name`."""
    found = _HEADER.match(data[:_HEADER_BYTES])
    if found is None:
        raise DataError(f"{name}: no PFM header; it begins with 'Pf', then width and height, then a number that isn't 0")
    kind, width, height = found[1], int(found[2]), int(found[3])
    if kind == b"PF":
        raise DataError(f"{name}: a colour PFM (PF, three channels); a disparity map has one (Pf)")
    try:
        scale = float(found[4])
    except ValueError:
        scale = 0.0
    if scale == 0.0 or not math.isfinite(scale):
        raise DataError(
            f"{name}: the header's third line is {found[4].decode()!r}; its sign says the order of bytes, so it can't be that"
        )
    if width == 0 or height == 0:
        raise DataError(f"{name}: {width} x {height} pixels is an empty map")
    body = memoryview(data)[found.end() :]
    if len(body) != 4 * width * height:
        less = "cut off" if len(body) < 4 * width * height else "longer than it says"
        raise DataError(f"{name}: {less}: {width} x {height} pixels are {4 * width * height} bytes, and it has {len(body)}")
    rows = np.frombuffer(body, dtype="<f4" if scale < 0 else ">f4").reshape(height, width)
    return np.ascontiguousarray(rows[::-1], dtype=np.float32)


def write(path: Path, values: NDArray[np.float32], little_endian: bool = True) -> None:
    """Writes a map [H, W], rows top to bottom. Raises ValueError for another shape, DataError where the file can't be written."""
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"a map has height and width, not the shape {values.shape}")
    height, width = values.shape
    header = f"Pf\n{width} {height}\n{'-1.0' if little_endian else '1.0'}\n"
    write_bytes(path, header.encode() + values[::-1].astype("<f4" if little_endian else ">f4").tobytes())
