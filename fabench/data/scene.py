"""A made-up scene seen by two cameras: textured planes, drawn into both views from disparities that are known exactly.

Each plane's disparity is d = a + b x + c y in columns x and rows y of the left view, so a column x_r of the right view shows the plane's
point x = (x_r + a + c y) / (1 - b). In each view the nearest plane (the largest disparity) hides the others, as it does for cameras, so
the views have occlusions and the disparity is right for every pixel of either view. The texture is a function of (x, y), sampled wherever
a view needs it: neither view is a resampled copy of the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabench.data.files import Image
from fabench.data.stereo import Disparity

__all__ = ["Scene", "render"]

_GRID = 64  # texels of a texture along each side; it repeats beyond
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Both views [H, W, 3] and the disparity [H, W] of each, in pixels; `seen` is where the right camera sees the left view's point too."""

    left: Image
    right: Image
    left_disparity: Disparity
    right_disparity: Disparity
    seen: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    a: float
    b: float
    c: float
    box: tuple[float, float, float, float] | None  # x0, y0, x1, y1 in the left view; None reaches everywhere
    texture: _Floats
    texel: float

    def disparity(self, x: _Floats, y: _Floats) -> _Floats:
        inside: NDArray[np.bool_] | bool = True
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
        return np.where(inside, self.a + self.b * x + self.c * y, -np.inf)

    def colour(self, x: _Floats, y: _Floats) -> _Floats:
        """Bilinear in the texture's grid: [H, W, 3]."""
        column, row = x / self.texel, y / self.texel
        i, j = np.floor(column).astype(int), np.floor(row).astype(int)
        u, v = (column - i)[..., None], (row - j)[..., None]
        corner: list[_Floats] = [self.texture[(j + down) % _GRID, (i + across) % _GRID] for down in (0, 1) for across in (0, 1)]
        colour: _Floats = (1 - v) * ((1 - u) * corner[0] + u * corner[1]) + v * ((1 - u) * corner[2] + u * corner[3])
        return colour


def render(rng: np.random.Generator, height: int, width: int, max_disparity: float, planes: int = 5) -> Scene:
    """A scene whose disparities lie below `max_disparity` px and above a twentieth of it. Raises ValueError for views too narrow for that."""
    if not 4 <= max_disparity <= width / 2:
        raise ValueError(f"max_disparity {max_disparity:g} px is not from 4 to half of the width, {width / 2:g}")
    shown = [_plane(rng, height, width, share, max_disparity) for share in np.linspace(0.15, 0.9, planes)]
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    left, left_disparity = _view(shown, [x] * planes, y)
    right, right_disparity = _view(shown, [(x + plane.a + plane.c * y) / (1 - plane.b) for plane in shown], y)
    return Scene(
        left, right, left_disparity, right_disparity, _seen(shown, x - left_disparity, y, left_disparity.astype(np.float64))
    )


def _plane(rng: np.random.Generator, height: int, width: int, share: float, max_disparity: float) -> _Plane:
    """The farthest plane is everywhere; the others are rectangles. `share` is the middle's disparity in `max_disparity`."""
    box, x, y = None, width / 2, height / 2
    if share > 0.15:
        w, h = rng.uniform(0.2, 0.45, 2) * (width, height)
        x0, y0 = rng.uniform(0, 1, 2) * (width - w, height - h)
        box, x, y = (x0, y0, x0 + w, y0 + h), x0 + w / 2, y0 + h / 2
    # Over the whole view neither slope changes the disparity by more than a tenth of its range.
    b, c = rng.uniform(-0.1, 0.1, 2) * max_disparity / (width, height)
    texture = rng.uniform(0, 255, (_GRID, _GRID, 3))
    return _Plane(share * max_disparity - b * x - c * y, b, c, box, texture, rng.uniform(2.0, 4.0))


def _view(planes: list[_Plane], columns: list[_Floats], y: _Floats) -> tuple[Image, Disparity]:
    """A view in which each plane shows its points (columns, y): the nearest one's colour and disparity."""
    disparities = np.stack([plane.disparity(x, y) for plane, x in zip(planes, columns, strict=True)])
    colours = np.stack([plane.colour(x, y) for plane, x in zip(planes, columns, strict=True)])
    nearest = disparities.argmax(axis=0)
    colour = np.take_along_axis(colours, nearest[None, ..., None], axis=0)[0]
    return np.round(colour).astype(np.uint8), disparities.max(axis=0).astype(np.float32)


def _seen(planes: list[_Plane], at: _Floats, y: _Floats, disparity: _Floats) -> NDArray[np.bool_]:
    """Where nothing nearer stands at column `at` of the right view, and the column is in it."""
    nearest: _Floats = np.max([plane.disparity((at + plane.a + plane.c * y) / (1 - plane.b), y) for plane in planes], axis=0)
    seen: NDArray[np.bool_] = (nearest - disparity < 1e-3) & (at >= 0)
    return seen
