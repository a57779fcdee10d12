"""Images as data sets have them, and as they should not be."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from fabench.data.files import read_image, write_image
from fabench.errors import DataError

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def png(path: Path, width: int, height: int, rows: bytes) -> None:
    """A PNG by hand: 8 bit RGB."""
    parts = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    chunks = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_pixels_are_where_they_were(tmp_path: Path) -> None:
    png(tmp_path / "a.png", 3, 2, b"".join(b"\0" + PIXELS[row].tobytes() for row in range(2)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PIXELS)
    write_image(tmp_path / "b.png", PIXELS)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), PIXELS)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PIXELS[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(PIXELS[..., :1], 3, axis=2))


def test_every_cut_of_a_file_is_one_clear_error(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (20, 20, 3)).astype(np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    for length in [0, 1, 8, 20, 33, 40, 60, len(whole) // 2]:
        (tmp_path / "cut.png").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"cut\.png is no image that can be read") as caught:
            read_image(tmp_path / "cut.png")
        assert "\n" not in str(caught.value)


def test_a_picture_bomb_16_bits_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    png(tmp_path / "bomb.png", 60_000, 60_000, b"")
    with pytest.raises(DataError, match=r"bomb\.png is no image"):
        read_image(tmp_path / "bomb.png")
    write_image(tmp_path / "deep.png", np.zeros((2, 2), np.uint16))
    with pytest.raises(DataError, match="8 bits per channel"):
        read_image(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"can't read .*none\.png: No such file"):
        read_image(tmp_path / "none.png")
