"""One grid: its axes multiplied into cells.

The order is by n ascending, then case by case with all implementations of a case side by side, so that a machine whose speed drifts
treats them alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fabench.errors import SuiteError
from fabench.schema import Case, Cell
from fabench.suite.axes import MODULE_ONLY, Axis, Level
from fabench.suite.ranges import LARGEST

__all__ = ["MOST_CELLS", "Grid"]

MOST_CELLS = 100_000

_DEFAULTS: dict[str, Any] = {
    "implementation": None, "device": "auto", "m": None, "batch": 1, "heads": 1, "d_k": 64, "d_v": None, "dtype": "float32",
    "mode": "fwd", "normalisation": "softmax", "scale": "1/sqrt(d_k)", "mask": "none", "scope": "core",
    "channels": None, "reprojection": True, "residual": True, "pool": 1,
}  # fmt: skip
_CASE_AXES = ("m", "batch", "heads", "d_k", "d_v", "dtype", "mode", "normalisation", "scale", "mask", "scope", *MODULE_ONLY)
# A held total: the axis it decides, and the one that divides it.
_HELD = {"tokens": ("batch", "n"), "d_k_total": ("d_k", "heads"), "d_v_total": ("d_v", "heads")}


@dataclass(frozen=True)
class Grid:
    """The merged axes of one grid. `key` is its name in messages: `axes`, or `grid[2]`."""

    file: str
    key: str
    axes: Level

    def cells(self) -> Iterator[Cell]:
        """Its cells in order. Raises SuiteError where axes contradict each other."""
        sizes = self._sizes()
        axes = {name: self._values(name) for name in _CASE_AXES}
        devices, names = self._values("device"), self.axes["implementation"].values
        count = math.prod(map(len, (sizes, devices, names, *axes.values())))
        if count > MOST_CELLS:
            raise SuiteError(self.file, self.key, f"makes {count} cells, more than {MOST_CELLS}", "give its axes fewer values")
        for (n, space), *values in itertools.product(sizes, *axes.values()):
            case = self._case(n, space, dict(zip(_CASE_AXES, values, strict=True)))
            yield from (Cell(name, device, case) for device in devices for name in names)

    def uses(self, name: str) -> bool:
        """Whether the axis `name` changes anything here."""
        return name not in MODULE_ONLY or "module" in self._values("scope")

    def _values(self, name: str) -> list[Any]:
        for held, (decided, _) in _HELD.items():
            if decided == name and held in self.axes:
                return list(self.axes[held].values)
        if name in MODULE_ONLY and "module" not in self._values("scope"):
            return [None]
        return list(self.axes[name].values) if name in self.axes else [_DEFAULTS[name]]

    def _sizes(self) -> list[tuple[int, str | None]]:
        """n and its layout, ascending in n."""
        for name in ("n", "image", "video"):
            if name in self.axes:
                break
        else:
            raise SuiteError(self.file, self.key, "has no n, image or video", "add for example n = '1024..65536x2'")
        if "implementation" not in self.axes:
            raise SuiteError(self.file, self.key, "has no implementation", "add for example implementation = 'all'")
        if name == "n":
            return [(n, None) for n in sorted(self.axes[name].values)]
        sizes = [(math.prod(sides), "x".join(map(str, sides))) for sides in self.axes[name].values]
        if max(sizes)[0] > LARGEST:
            raise SuiteError(self.file, self.axes[name].key, "has a layout of more than 2^40 positions", "give smaller sides")
        return sorted(sizes, key=lambda size: size[0])

    def _case(self, n: int, space: str | None, values: dict[str, Any]) -> Case:
        values |= {"n": n, "m": n if values["m"] is None else values["m"]}
        for held, (decided, divisor) in _HELD.items():
            if held in self.axes:
                values[decided] = self._share(self.axes[held], held, values[decided], divisor, values[divisor])
        if values["d_v"] is None:
            values["d_v"] = values["d_k"]
        if values["scope"] == "core":
            values |= dict.fromkeys(MODULE_ONLY)
        elif values["channels"] is None:
            values["channels"] = values["heads"] * values["d_v"]
        try:
            return Case(space=space, **values)
        except ValueError as error:
            raise SuiteError(
                self.file, self._key_of(str(error), values), str(error), "change it, or give such cases a [[grid]] of their own"
            ) from None

    def _share(self, axis: Axis, held: str, total: int, divisor: str, parts: int) -> int:
        if total % parts:
            raise SuiteError(
                self.file,
                axis.key,
                f"{total} cannot be divided by {divisor} = {parts}",
                f"give values of {divisor} that divide it",
            )
        return total // parts

    def _key_of(self, problem: str, values: Mapping[str, Any]) -> str:
        """The key to mend: the first axis in the message that this suite sets."""
        words = problem.replace(",", " ").split()
        return next((self.axes[word].key for word in words if word in values and word in self.axes), self.key)
