"""One grid: its axes multiplied into cells.

The order is by n ascending, then case by case with all implementations of a case side by side, so that a machine whose speed drifts
treats them alike.

With `network`, `image` is what the network gets, and scope "module" is the block alone at each single position that `positions` name, on
its map: that decides channels and d_v. A network without attention is one cell, whatever implementations, heads and widths are asked for.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabench import positions
from fabench.errors import SuiteError, UsageError
from fabench.places import WITHOUT
from fabench.schema import Case, Cell
from fabench.suite.axes import MODULE_ONLY, NETWORK_ONLY, OF_POSITIONS, Axis, Level
from fabench.suite.ranges import LARGEST

__all__ = ["MOST_CELLS", "Grid"]

MOST_CELLS = 100_000

_DEFAULTS: dict[str, Any] = {
    "implementation": None, "device": "auto", "m": None, "batch": 1, "heads": 1, "d_k": 64, "d_v": None, "dtype": "float32",
    "mode": "fwd", "normalisation": "softmax", "scale": "1/sqrt(d_k)", "mask": "none", "scope": "core",
    "channels": None, "reprojection": True, "residual": True, "pool": 1, "network": None, "backbone": None, "positions": WITHOUT,
}  # fmt: skip
_CASE_AXES = (
    "m", "batch", "heads", "d_k", "d_v", "dtype", "mode", "normalisation", "scale", "mask", "scope", *MODULE_ONLY, *NETWORK_ONLY,
)  # fmt: skip
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
            for case in self._cases(n, space, dict(zip(_CASE_AXES, values, strict=True))):
                yield from (Cell(name, device, case) for device in devices for name in _answering(case, names))

    def uses(self, name: str) -> bool:
        """Whether the axis `name` changes anything here."""
        scopes = set(self._values("scope"))
        if name in NETWORK_ONLY:
            return "network" in self.axes and bool(scopes & ({"network"} if name == "backbone" else {"network", "module"}))
        if "network" in self.axes and name in OF_POSITIONS:
            return False
        return name not in MODULE_ONLY or bool(scopes & ({"network", "module"} if name == "pool" else {"module"}))

    def _values(self, name: str) -> list[Any]:
        for held, (decided, _) in _HELD.items():
            if decided == name and held in self.axes:
                return list(self.axes[held].values)
        if name in (*MODULE_ONLY, *NETWORK_ONLY) and not self.uses(name):
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
        if "network" in self.axes and name != "image":
            raise SuiteError(self.file, self.axes[name].key, "is no input of a network", "give image = '480x640' in its place")
        if name == "n":
            return [(n, None) for n in sorted(self.axes[name].values)]
        sizes = [(math.prod(sides), "x".join(map(str, sides))) for sides in self.axes[name].values]
        if max(sizes)[0] > LARGEST:
            raise SuiteError(self.file, self.axes[name].key, "has a layout of more than 2^40 positions", "give smaller sides")
        return sorted(sizes, key=lambda size: size[0])

    def _cases(self, n: int, space: str | None, values: dict[str, Any]) -> list[Case]:
        """The case; of a network's blocks, one for each position."""
        for held, (decided, divisor) in _HELD.items():
            if held in self.axes:
                values[decided] = self._share(self.axes[held], held, values[decided], divisor, {"n": n, **values}[divisor])
        try:
            if "network" in self.axes:
                return self._of_network(str(space), values)
            return [_alone(n, space, values)]
        except (UsageError, ValueError) as error:
            raise SuiteError(
                self.file, self._key_of(str(error), values), str(error), "change it, or give such cases a [[grid]] of their own"
            ) from None

    def _of_network(self, space: str, values: Mapping[str, Any]) -> list[Case]:
        network, words, scope = values["network"], values["positions"], values["scope"]
        if scope == "core":
            raise ValueError("scope is core, but the parts of a network are modules")
        try:
            chosen = positions.parse(network, words)
        except UsageError as error:
            raise ValueError(f"positions: {error}") from None
        attention = positions.Attention(WITHOUT, values["heads"] * values["d_k"], values["heads"], values["pool"])
        height, width = (int(side) for side in space.split("x"))
        given = {name: values[name] for name in ("batch", "dtype", "mode")}
        if scope == "network":
            return [positions.network_case(network, words, attention, height, width, backbone=values["backbone"], **given)]
        positions.network_case(network, words, attention, height, width)  # which refuses an image that the network can't get
        return [positions.case(one, attention, height, width, **given) for one in chosen]

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
        words = problem.replace(",", " ").replace(":", " ").split()
        return next((self.axes[word].key for word in words if word in values and word in self.axes), self.key)


def _alone(n: int, space: str | None, values: dict[str, Any]) -> Case:
    if values["scope"] == "network":
        raise ValueError("scope is network, but no network is named")
    values |= {"n": n, "m": n if values["m"] is None else values["m"], **dict.fromkeys(NETWORK_ONLY)}
    if values["d_v"] is None:
        values["d_v"] = values["d_k"]
    if values["scope"] == "core":
        values |= dict.fromkeys(MODULE_ONLY)
    elif values["channels"] is None:
        values["channels"] = values["heads"] * values["d_v"]
    return Case(space=space, **values)


def _answering(case: Case, names: Sequence[str]) -> list[str]:
    """Which of these implementations the case is for; without attention none of them, and just once what stands in their place."""
    if case.positions == WITHOUT:
        return [WITHOUT]
    return [name for name in names if name != WITHOUT]
