"""PFM against a file written by hand, byte by byte, torchvision's reader, and headers that lie."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from fabench.data import pfm
from fabench.errors import DataError

maps = arrays(
    np.float32,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
)


@pytest.mark.parametrize(("scale", "order"), [(b"-1.0", "<"), (b"1", ">"), (b"-0.003922", "<"), (b"2.5e-1", ">")])
def test_a_file_written_by_hand_is_read_from_bottom_to_top_and_unscaled(scale: bytes, order: str) -> None:
    bottom, top = (7.0, 8.0, 9.0), (1.0, 2.0, 3.0)
    data = b"Pf\n3 2\n" + scale + b"\n" + struct.pack(f"{order}6f", *bottom, *top)
    assert pfm.parse(data, "x").tolist() == [list(top), list(bottom)]


@given(maps, st.booleans())
def test_what_is_written_is_read_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, values: NDArray[np.float32], little: bool
) -> None:
    path = tmp_path_factory.mktemp("pfm") / "a.pfm"
    pfm.write(path, values, little_endian=little)
    found = pfm.read(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("little", [True, False])
def test_torchvision_reads_the_same(tmp_path: Path, little: bool) -> None:
    utils = pytest.importorskip("torchvision.datasets.utils", reason="torchvision is not installed")
    values = np.arange(35, dtype=np.float32).reshape(5, 7)
    pfm.write(tmp_path / "a.pfm", values, little_endian=little)
    np.testing.assert_array_equal(utils._read_pfm(tmp_path / "a.pfm", slice_channels=1)[0], values)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no PFM header"),
        (b"P6\n1 1\n255\n...", "no PFM header"),
        (b"PF\n1 1\n-1.0\n" + bytes(12), "colour PFM"),
        (b"Pf\n1 1\n-1.0\n" + bytes(3), "cut off"),
        (b"Pf\n1 1\n-1.0\n" + bytes(5), "longer than it says"),
        (b"Pf\n0 4\n-1.0\n", "empty map"),
        (b"Pf\n999999999 999999999\n-1.0\n" + bytes(8), "cut off"),
        (b"Pf\n9999999999 1\n-1.0\n" + bytes(8), "no PFM header"),
        (b"Pf\n-3 1\n-1.0\n" + bytes(8), "no PFM header"),
        (b"Pf\n1 1\n0\n" + bytes(4), "third line"),
        (b"Pf\n1 1\n1e999\n" + bytes(4), "third line"),
        (b"Pf\n1 1\n--1\n" + bytes(4), "third line"),
        (b"Pf\n1 1\nnan\n" + bytes(4), "no PFM header"),
        (b"Pf\n" + b" " * 10_000 + b"1 1\n-1\n" + bytes(4), "no PFM header"),
    ],
)
def test_a_lying_header_is_one_line_that_names_the_file(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        pfm.parse(data, "some.pfm")
    assert str(caught.value).startswith("some.pfm: ")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_a_map_or_one_clear_error(data: bytes, headed: bool) -> None:
    try:
        found = pfm.parse((b"Pf\n2 2\n" if headed else b"") + data, "x")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert found.ndim == 2


def test_a_missing_file_and_a_shape_that_is_no_map(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"can.t read .*none\.pfm"):
        pfm.read(tmp_path / "none.pfm")
    with pytest.raises(ValueError, match="height and width"):
        pfm.write(tmp_path / "a.pfm", np.zeros((2, 2, 3), np.float32))
