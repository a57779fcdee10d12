"""What is asked of an implementation: shapes, dtype, passes, normalisation, scope.

Shapes are head-first, as in torch's SDPA: Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v]. `d_k` and `d_v` are PER HEAD;
the paper's totals are heads * d_k and heads * d_v.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabench.errors import UsageError
from fabench.places import BACKBONES, MULTIPLES, NETWORKS, WITHOUT, parse, written

__all__ = [
    "DTYPES",
    "DTYPE_BYTES",
    "MASKS",
    "MODES",
    "NORMALISATIONS",
    "SCALES",
    "SCOPES",
    "SHORT_DTYPE",
    "Case",
    "require_one_of",
    "require_positive",
]

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
DTYPES = tuple(DTYPE_BYTES)
MODES = ("fwd", "bwd", "fwd_bwd")
NORMALISATIONS = ("softmax", "scaling")
SCALES = ("1/sqrt(d_k)", "1/d_k", "1/n", "1")
SCOPES = ("core", "module", "network")
MASKS = ("none", "padding")
_D_K = 64
SHORT_DTYPE = {"float64": "fp64", "float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def require_positive(owner: object, *names: str) -> None:
    """Raises ValueError where one of these attributes is below 1 (None passes)."""
    for name in names:
        value = getattr(owner, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} is {value}, must be at least 1")


def require_one_of(owner: object, name: str, allowed: tuple[str, ...]) -> None:
    """Raises ValueError where this attribute is not among `allowed`."""
    if getattr(owner, name) not in allowed:
        raise ValueError(f"{name} is {getattr(owner, name)!r}, must be one of {', '.join(allowed)}")


def _sides(name: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise ValueError(f"{name} is {text!r}, write it as 64x64 or 64x64x32") from None


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked of an implementation.

    `n` query and `m` key positions; `space` is their layout ("64x64" image, "64x64x32" video, None for a sequence).
    `scale` names the scalar of the dot product (paper section 3: 1/d_k in v1, 1/sqrt(d_k) and 1/n elsewhere); the softmax form of
    factorized attention has none. `mask`: "padding" hides a seeded part of the keys of each batch element.
    Only at scope "module": `channels` C of input and output, `reprojection` d_v -> C, `residual`, `pool` (2 = 2x2 max-pool of K, V);
    and, of a block that belongs to a network, which `network`, its one place there (`positions`), and the `image` that the network gets.

    At scope "network" `space` is the image and n its pixels; `network`, its `backbone` (or form), `positions` as `fabench.places` writes
    them, `heads`, `d_k` and `pool` of each block. Channels and d_v follow from each position: the field d_v repeats d_k. Without
    positions there is no attention, and its fields are left as they are by default. Mode "fwd" is inference, "fwd_bwd" the forward and
    backward pass of one training step. Raises ValueError where the fields contradict each other.
    """

    n: int
    m: int
    batch: int = 1
    heads: int = 1
    d_k: int = _D_K
    d_v: int = _D_K
    dtype: str = "float32"
    mode: str = "fwd"
    normalisation: str = "softmax"
    scale: str = "1/sqrt(d_k)"
    mask: str = "none"
    scope: str = "core"
    space: str | None = None
    channels: int | None = None
    reprojection: bool | None = None
    residual: bool | None = None
    pool: int | None = None
    network: str | None = None
    positions: str | None = None
    backbone: str | None = None
    image: str | None = None

    def __post_init__(self) -> None:
        require_positive(self, "n", "m", "batch", "heads", "d_k", "d_v", "channels", "pool")
        for name, allowed in (
            ("dtype", DTYPES), ("mode", MODES), ("normalisation", NORMALISATIONS),
            ("scale", SCALES), ("mask", MASKS), ("scope", SCOPES),
        ):  # fmt: skip
            require_one_of(self, name, allowed)
        if self.space is not None and math.prod(self.dimensions) != self.n:
            raise ValueError(f"space {self.space} has {math.prod(self.dimensions)} positions, but n is {self.n}")
        {"core": self._check_core, "module": self._check_module, "network": self._check_network}[self.scope]()

    def _check_core(self) -> None:
        if any(value is not None for value in (self.channels, self.reprojection, self.residual, self.pool)):
            raise ValueError("channels, reprojection, residual and pool belong to scope module")
        if any(value is not None for value in (self.network, self.positions, self.backbone, self.image)):
            raise ValueError("network, positions, backbone and image belong to scope network, or to a module of a network")

    def _check_module(self) -> None:
        if None in (self.channels, self.reprojection, self.residual, self.pool):
            raise ValueError("scope module needs channels, reprojection, residual and pool")
        if self.m != self.n:
            raise ValueError("a module attends to its own input, so m must equal n")
        if not self.reprojection and self.residual and self.channels != self.heads * self.d_v:
            raise ValueError("a residual without reprojection needs channels = heads * d_v")
        if self.backbone is not None:
            raise ValueError("a module is the same on every backbone, so backbone must be left out")
        if {self.network, self.positions, self.image} == {None}:
            return
        if None in (self.network, self.positions, self.image):
            raise ValueError("a module of a network needs network, positions and image together")
        _sides("image", str(self.image))
        if self._places() != 1:
            raise ValueError(f"positions is {self.positions!r}, but a module has one place in its network")

    def _check_network(self) -> None:
        if None in (self.network, self.positions, self.backbone, self.pool):
            raise ValueError("scope network needs network, positions, backbone and pool")
        if any(value is not None for value in (self.channels, self.reprojection, self.residual, self.image)):
            raise ValueError("channels, reprojection and residual follow from the positions, and image is the space of a network")
        count = self._places()
        require_one_of(self, "backbone", BACKBONES[str(self.network)])
        multiple = MULTIPLES[str(self.network)]
        if self.space is None or len(self.dimensions) != 2 or any(side % multiple for side in self.dimensions):
            raise ValueError(
                f"space is {self.space!r}, but the image of {self.network} has two sides that are multiples of {multiple}, as it is padded"
            )
        if self.m != self.n or self.d_v != self.d_k:
            raise ValueError("m and d_v of a network follow from its positions: here they repeat n and d_k")
        if self.mode == "bwd":
            raise ValueError("mode bwd is none of a network: it is measured as inference, fwd, or as one training step, fwd_bwd")
        if (self.normalisation, self.scale, self.mask) != ("softmax", "1/sqrt(d_k)", "none"):
            raise ValueError(
                "normalisation, scale and mask of a network are softmax, 1/sqrt(d_k) and none, as its blocks have them"
            )
        if not count and (self.heads, self.d_k, self.pool) != (1, _D_K, 1):
            raise ValueError("heads, d_k and pool of a network without attention are left as they are by default")

    def _places(self) -> int:
        """How many positions; they must be written in the one way there is."""
        require_one_of(self, "network", NETWORKS)
        try:
            found = parse(str(self.network), str(self.positions))
        except UsageError as error:
            raise ValueError(f"positions: {error}") from None
        if written(str(self.network), found) != self.positions:
            raise ValueError(f"positions is {self.positions!r}, write it as {written(str(self.network), found)!r}")
        return len(found)

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Sizes of the position axes: (n,) for a sequence, (h, w) for an image, (a, b, c) for a video."""
        if self.space is None:
            return (self.n,)
        return _sides("space", self.space)

    @property
    def keys(self) -> int:
        """Key positions that are attended to: m, or what pooling leaves, which drops the rest at the end of each axis."""
        if self.pool in (None, 1):
            return self.m
        sides = self.dimensions
        return math.prod(sides[:-2]) * math.prod(side // self.pool for side in sides[-2:])

    @property
    def scale_value(self) -> float:
        """The scalar that `scale` names, for this case. "1/n" counts the keys, over which the map's rows run."""
        return {"1/sqrt(d_k)": 1 / math.sqrt(self.d_k), "1/d_k": 1 / self.d_k, "1/n": 1 / self.m, "1": 1.0}[self.scale]

    @property
    def element_bytes(self) -> int:
        """Bytes of one element of the case's dtype."""
        return DTYPE_BYTES[self.dtype]

    @property
    def needs_gradients(self) -> bool:
        """Whether the mode has a backward pass."""
        return self.mode != "fwd"

    @property
    def label(self) -> str:
        """Readable, stable and complete: equal labels mean equal cases. A choice of positions has no comma in it."""
        if self.scope == "network":
            return self._network_label()
        size = f"n={self.space or self.n}" + (f",m={self.m}" if self.m != self.n else "")
        parts = [self.scope, self.normalisation, SHORT_DTYPE[self.dtype], self.mode]
        shape = f"{size},b={self.batch},h={self.heads},dk={self.d_k},dv={self.d_v}"
        if self.scope == "module":
            shape += f",c={self.channels}" + (",reprojection" if self.reprojection else "")
            shape += (",residual" if self.residual else "") + (f",pool={self.pool}" if self.pool != 1 else "")
        if self.scale != "1/sqrt(d_k)":
            shape += f",scale={self.scale}"
        if self.mask != "none":
            shape += f",mask={self.mask}"
        if self.network is not None:
            shape += f",of={self.network},at={self.positions},image={self.image}"
        return "/".join([*parts, shape])

    def _network_label(self) -> str:
        parts = [self.scope, str(self.network), str(self.backbone), str(self.positions), SHORT_DTYPE[self.dtype], self.mode]
        shape = f"image={self.space},b={self.batch}"
        if self.positions != WITHOUT:
            shape += f",h={self.heads},dk={self.d_k}" + (f",pool={self.pool}" if self.pool != 1 else "")
        return "/".join([*parts, shape])
