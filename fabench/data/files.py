"""Files and images of a data set; whatever is wrong with one is a line that names it."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabench.errors import DataError

__all__ = ["Image", "open_image", "read_bytes", "read_image", "reason", "write_bytes", "write_image"]

Image = NDArray[np.uint8]

_EIGHT_BIT = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def reason(error: Exception) -> str:
    """What an error says, as a part of one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(said.split())[:160] or type(error).__name__


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"can't read {path}: {reason(error)}") from None


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file and the folders above it. Raises DataError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"can't write {path}: {reason(error)}") from None


def open_image(path: Path) -> tuple[str, NDArray[np.generic]]:
    """An image file's mode, as Pillow names it, and its numbers. Raises DataError where it is missing, no image, cut off or far too big."""
    from PIL import Image as pillow

    data = read_bytes(path)
    try:
        with pillow.open(io.BytesIO(data)) as image:
            image.load()
            mode = image.mode
            return mode, np.array(image.convert("RGB") if mode in _EIGHT_BIT else image)
    # Pillow's decoders raise all of these for files that are broken in one way or another.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, pillow.DecompressionBombError) as error:
        raise DataError(
            f"{path} is no image that can be read: {reason(error).replace('<_io.BytesIO object>', 'its bytes')}"
        ) from None


def read_image(path: Path) -> Image:
    """An image as RGB [H, W, 3], 8 bit; grey ones become three equal channels, transparency is dropped. Raises DataError."""
    mode, values = open_image(path)
    if mode not in _EIGHT_BIT:
        raise DataError(f"{path} is an image of mode {mode}; an image of a data set has 8 bits per channel")
    return values.astype(np.uint8)


def write_image(path: Path, values: NDArray[np.generic]) -> None:
    """Writes a PNG: RGB [H, W, 3] or grey [H, W] of 8 bit, or grey of 16 bit. Raises DataError."""
    from PIL import Image as pillow

    buffer = io.BytesIO()
    pillow.fromarray(values).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())
