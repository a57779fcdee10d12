"""Which GPU, which shape, and so which configuration of each kernel. No torch, no Triton.

One fixed configuration of each kernel is the rule (`tiling`): a choice that depended on the moment would give other bits from run to run.
Around it are a few that a device may be faster with (`candidates`), for whoever tunes and holds on to what was found: see `choice`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["ISSUE_BOUND", "TARGETS", "Shape", "Target", "Tiling", "candidates", "tiling"]

_ELEMENT_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU as far as launches depend on it: its multiprocessors, and the shared memory that one program may have."""

    name: str
    processors: int
    shared_bytes: int


# Multiprocessors of the largest product of each, from the vendors' data sheets; shared memory per block from the CUDA programming guide
# (table of compute capabilities), LDS per workgroup from AMD's CDNA 3 instruction set guide.
TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", 108, 166_912),  # A100
        Target("sm_86", 84, 101_376),  # RTX 3090, A40
        Target("sm_89", 142, 101_376),  # L40, RTX 4090
        Target("sm_90", 132, 232_448),  # H100, H200
        Target("sm_100", 148, 232_448),  # B200
        Target("sm_120", 170, 101_376),  # RTX 5090
        Target("gfx942", 304, 65_536),  # MI300X
    )
}

# Where a running maximum over K would take half or more of the time that memory takes (64 channels of bfloat16; loop instructions of
# compiled code against data sheets: A100 75 %, H100 52 %, B200 109 %; RTX 5090 24 %).
ISSUE_BOUND = frozenset({"sm_80", "sm_90", "sm_100", "gfx942"})


@dataclass(frozen=True, slots=True)
class Shape:
    """Q [B, H, n, d_k], K [B, H, m, d_k], V [B, H, m, d_v]. All sizes at least 1."""

    batch: int
    heads: int
    n: int
    m: int
    d_k: int
    d_v: int
    dtype: str
    softmax: bool = True
    masked: bool = False
    precision: str = "ieee"

    @property
    def rows(self) -> int:
        """Heads of all batch elements."""
        return self.batch * self.heads

    @property
    def element_bytes(self) -> int:
        """Of the inputs."""
        return _ELEMENT_BYTES[self.dtype]

    @property
    def wide_bytes(self) -> int:
        """Of a sum: float32, or float64 for float64 inputs."""
        return 8 if self.dtype == "float64" else 4


@dataclass(frozen=True, slots=True)
class Tiling:
    """A kernel's configuration. A tile of the context has block_k x block_v channels; a program needs as many as fill its part."""

    block_n: int
    block_k: int
    block_v: int
    warps: int
    stages: int


def padded(channels: int) -> int:
    """The power of two, 16 at least, that a tile of so many channels takes: products need 16."""
    return max(16, 1 << (channels - 1).bit_length())


def _kind(shape: Shape) -> str:
    """half: 16 bit. tf32: float32 on tensor cores. full: without them, so that operands of products live in registers."""
    if shape.element_bytes == 2:
        return "half"
    return "tf32" if shape.dtype == "float32" and shape.precision == "tf32" else "full"


@dataclass(frozen=True, slots=True)
class _Choice:
    """A tiling (block_n, block_k, block_v, warps, stages), the targets that it is for (none named: all), and whether for scaling only."""

    tiling: Tiling
    targets: frozenset[str]
    scaling: bool


def _choice(n: int, k: int, v: int, warps: int, stages: int, *targets: str, scaling: bool = False) -> _Choice:
    return _Choice(Tiling(n, k, v, warps, stages), frozenset(targets), scaling)


# By kind and widest channels, the choices of each kernel in order of preference: the first that is for the target is taken. Found by
# compiling for all targets: the largest tiles without a spill that fit into shared memory; a context whole in one tile before one in
# several, because that saves reads.
_GROUPS = ("sm_90", "sm_100")  # whole warp groups multiply, from shared memory: larger tiles fit
_LARGE = ("sm_80", "sm_90", "sm_100")  # more than 100 KiB of shared memory
_CHOICES: dict[tuple[str, int], dict[str, tuple[_Choice, ...]]] = {
    ("half", 32): {"*": (_choice(64, 32, 32, 4, 2),)},
    ("half", 64): {
        "key_contexts": (_choice(64, 64, 64, 4, 2, *_GROUPS), _choice(32, 64, 64, 4, 2)),
        "attend": (_choice(64, 64, 64, 4, 3, "sm_100", scaling=True), _choice(64, 64, 64, 4, 2)),
        "key_gradients": (_choice(64, 64, 64, 4, 3, "sm_100", scaling=True), _choice(64, 64, 64, 4, 2)),
        "*": (_choice(64, 64, 64, 4, 2),),
    },
    ("half", 128): {
        "key_contexts": (_choice(64, 128, 128, 8, 2, *_GROUPS), _choice(32, 128, 128, 8, 2)),
        "query_contexts": (_choice(32, 128, 128, 8, 2),),
        "attend": (_choice(64, 128, 128, 8, 2),),
        "query_gradients": (
            _choice(64, 128, 128, 8, 2, *_GROUPS),
            _choice(64, 128, 128, 8, 1, "gfx942"),
            _choice(16, 128, 128, 8, 1, "sm_80"),
            _choice(64, 128, 64, 8, 1),
        ),
        "key_gradients": (
            _choice(64, 128, 128, 8, 2, *_GROUPS),
            _choice(16, 128, 128, 8, 1, "gfx942"),
            _choice(32, 128, 128, 8, 2),
        ),
    },
    ("half", 256): {
        "key_contexts": (_choice(32, 128, 128, 8, 2),),
        "query_contexts": (_choice(64, 128, 128, 8, 2, *_GROUPS), _choice(32, 128, 128, 8, 2)),
        "attend": (_choice(16, 256, 32, 4, 1, "gfx942"), _choice(64, 256, 64, 8, 1)),
        "query_gradients": (_choice(64, 256, 64, 8, 1, *_GROUPS), _choice(32, 256, 32, 8, 1)),
        "key_gradients": (
            _choice(32, 256, 64, 8, 1, *_LARGE),
            _choice(16, 256, 16, 8, 1, "gfx942"),
            _choice(16, 256, 32, 8, 1),
        ),
    },
    ("tf32", 32): {"*": (_choice(32, 32, 32, 4, 2),)},
    ("tf32", 64): {"*": (_choice(32, 64, 64, 4, 2),)},
    ("tf32", 128): {
        "key_contexts": (_choice(32, 128, 128, 8, 2),),
        "query_contexts": (_choice(32, 128, 128, 8, 2),),
        "attend": (_choice(64, 128, 128, 8, 2, *_GROUPS), _choice(64, 128, 128, 8, 1, "gfx942"), _choice(32, 128, 128, 8, 1)),
        "query_gradients": (
            _choice(64, 128, 128, 8, 1, "sm_100"),
            _choice(16, 128, 128, 8, 1, "sm_90", "gfx942"),
            _choice(64, 128, 64, 8, 1),
        ),
        "key_gradients": (
            _choice(64, 128, 128, 8, 1, "sm_100"),
            _choice(16, 128, 128, 8, 1, "sm_80", "sm_90", "gfx942"),
            _choice(32, 128, 64, 8, 1),
        ),
    },
    ("tf32", 256): {
        "key_contexts": (_choice(32, 128, 128, 8, 2),),
        "query_contexts": (_choice(16, 128, 128, 8, 2),),
        "attend": (_choice(32, 256, 32, 8, 1),),
        "query_gradients": (_choice(32, 256, 32, 8, 1),),
        "key_gradients": (_choice(16, 256, 32, 8, 1),),
    },
    ("full", 32): {"*": (_choice(32, 32, 32, 4, 2),)},
    ("full", 64): {
        "key_gradients": (_choice(16, 64, 32, 4, 1, "gfx942"), _choice(32, 64, 64, 8, 2)),
        "*": (_choice(32, 64, 64, 8, 2),),
    },
    ("full", 128): {
        "key_contexts": (_choice(32, 64, 64, 8, 2),),
        "query_contexts": (_choice(32, 64, 64, 8, 2),),
        "attend": (_choice(32, 128, 64, 8, 1),),
        "query_gradients": (_choice(16, 128, 32, 8, 1),),
        "key_gradients": (_choice(16, 128, 128, 8, 1),),
    },
    ("full", 256): {
        "key_contexts": (_choice(32, 64, 64, 8, 2),),
        "query_contexts": (_choice(16, 64, 64, 8, 1),),
        "attend": (_choice(32, 256, 32, 8, 1),),
        "query_gradients": (_choice(16, 256, 16, 8, 1),),
        "key_gradients": (_choice(16, 256, 16, 8, 1),),
    },
}


def tiling(kernel: str, shape: Shape, target: Target) -> Tiling:
    """The configuration of a kernel: the first candidate that the target takes."""
    k, v = padded(shape.d_k), padded(shape.d_v)
    choices = _CHOICES[_kind(shape), max(32, k, v)]
    for choice in choices.get(kernel) or choices["*"]:
        if (target.name in choice.targets or not choice.targets) and not (choice.scaling and shape.softmax):
            return replace(choice.tiling, block_k=min(choice.tiling.block_k, k), block_v=min(choice.tiling.block_v, v))
    raise KeyError(f"no configuration of {kernel} for {target.name}")


def _shared_bytes(kernel: str, one: Tiling, shape: Shape) -> int:
    """About what a program holds in shared memory: the tiles in flight, the weights as an operand, and a context where one stays."""
    rows = one.block_n * (one.block_k if kernel == "attend" else one.block_k + one.block_v)
    stays = 0 if kernel in ("key_contexts", "query_contexts") else one.block_k * one.block_v
    return shape.element_bytes * (one.stages * rows + one.block_n * one.block_k + stays)


# What the pruner lets through and the compiler spills all the same, reads narrowly, or gives more shared memory than there is (Triton 3.8.0, `fabench inspect --candidates`): target, kind, width,
# kernel, positions, warps, stages.
_REFUSED = frozenset(
    {
        ("sm_100", "half", 64, "query_gradients", 128, 8, 2),
        ("sm_100", "half", 256, "query_gradients", 32, 8, 1),
        ("sm_100", "half", 64, "key_contexts", 32, 4, 2),
        ("sm_100", "tf32", 64, "key_contexts", 32, 8, 2),
        ("sm_100", "tf32", 64, "key_gradients", 64, 8, 2),
        ("sm_100", "tf32", 256, "query_gradients", 16, 8, 1),
        ("sm_80", "half", 64, "query_gradients", 128, 8, 2),
        ("sm_80", "half", 32, "key_contexts", 64, 8, 2),
        ("sm_80", "full", 32, "key_contexts", 32, 8, 2),
        ("sm_120", "half", 64, "key_contexts", 32, 4, 3),
        ("sm_120", "half", 64, "query_gradients", 128, 8, 2),
        ("sm_120", "half", 64, "key_gradients", 64, 4, 1),
        ("sm_120", "half", 128, "key_gradients", 32, 8, 3),
        ("gfx942", "half", 128, "key_contexts", 16, 8, 2),
        ("gfx942", "half", 128, "attend", 32, 8, 2),
        ("gfx942", "half", 128, "query_gradients", 32, 8, 1),
        ("gfx942", "half", 256, "attend", 32, 8, 1),
        ("gfx942", "tf32", 64, "key_gradients", 32, 8, 2),
        ("gfx942", "tf32", 128, "attend", 32, 8, 1),
        ("sm_100", "tf32", 128, "key_gradients", 32, 8, 1),
    }
)


def candidates(kernel: str, shape: Shape, target: Target) -> tuple[Tiling, ...]:
    """Configurations worth timing, the fixed one first: half and double the positions, double the warps, a stage more or less.

    Pruned without compiling: none may hold more numbers per thread than the fixed one, which is known not to spill, nor more shared memory
    than the target has. One stage is fixed where two did not fit, so none is added there; without tensor cores, operands live in registers
    and fewer positions make more code of them, so there only warps are varied. A context's tiles are not varied, because they decide
    how often tensors are read.
    """
    fixed = tiling(kernel, shape, target)

    def per_thread(one: Tiling) -> float:
        return (one.block_n * (one.block_k + one.block_v) + one.block_k * one.block_v) / one.warps

    varied = [replace(fixed, warps=fixed.warps * 2)]
    if _kind(shape) != "full":
        varied += [
            replace(fixed, block_n=fixed.block_n // 2),
            replace(fixed, block_n=fixed.block_n * 2, warps=fixed.warps * 2),
            replace(fixed, stages=fixed.stages - 1),
        ]
        varied += [replace(fixed, stages=fixed.stages + 1)] if fixed.stages > 1 else []
    kept = [
        one
        for one in varied
        if one.block_n >= 16 and one.warps <= 8 and one.stages >= 1
        and (target.name, _kind(shape), max(32, padded(shape.d_k), padded(shape.d_v)), kernel, one.block_n, one.warps, one.stages) not in _REFUSED
        and per_thread(one) <= per_thread(fixed) and _shared_bytes(kernel, one, shape) <= target.shared_bytes
    ]  # fmt: skip
    return fixed, *kept
