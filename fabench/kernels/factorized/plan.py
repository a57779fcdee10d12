"""What is launched for a shape, from the shape and the target alone: parts, tiles, grids, bytes and operations. No torch, no Triton.

Nothing here depends on values or on the moment, so equal shapes on equal targets give equal bits; and everything can be asked for any
GPU without having one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fabench.kernels.factorized.tilings import ISSUE_BOUND, Shape, Target, Tiling, tiling

__all__ = ["Launch", "Plan", "parts"]

# Positions of a part at least; a part's first position is a multiple of the largest tile.
_PART, _TILE = 1024, 128
# Parts in memory that a program of `combine` adds up at once.
_CHUNK = 16


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def parts(positions: int, rows: int, processors: int) -> tuple[int, int]:
    """How many parts, and positions of each: at most two programs for each multiprocessor, but no part below 1,024 positions.

    More programs than that would wait for a third round of a few; in a smaller part, what it leaves behind costs more than it brings.
    """
    wanted = max(1, min(_ceil(positions, _PART), 2 * processors // rows))
    length = _ceil(_ceil(positions, wanted), _TILE) * _TILE
    return _ceil(positions, length), length


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel of a plan: its programs, and what it reads and writes, every byte as often as it is asked for.

    `mac`: multiply-accumulates of its products. `walked`: positions that all its programs walk through together, 0 where none does;
    `nested`: whether a step of that walk loops over tiles of a context.
    """

    kernel: str
    programs: int
    tiling: Tiling | None
    read_bytes: int
    written_bytes: int
    mac: int
    walked: int = 0
    nested: bool = False


@dataclass(frozen=True)
class Plan:
    """The launches of a shape on a target; `tilings` names the kernels that don't take their fixed configuration."""

    shape: Shape
    target: Target
    tilings: tuple[tuple[str, Tiling], ...] = ()

    @cached_property
    def key_parts(self) -> tuple[int, int]:
        """Parts of the keys, and their length."""
        return parts(self.shape.m, self.shape.rows, self.target.processors)

    @cached_property
    def query_parts(self) -> tuple[int, int]:
        """Parts of the queries, and their length."""
        return parts(self.shape.n, self.shape.rows, self.target.processors)

    def tiling(self, kernel: str) -> Tiling:
        """The kernel's configuration."""
        return dict(self.tilings).get(kernel) or tiling(kernel, self.shape, self.target)

    def tiles(self, kernel: str) -> tuple[int, int]:
        """Tiles of a context along d_k and along d_v."""
        chosen = self.tiling(kernel)
        return _ceil(self.shape.d_k, chosen.block_k), _ceil(self.shape.d_v, chosen.block_v)

    @cached_property
    def fused(self) -> bool:
        """Whether dC fits beside dQ into one program, so that Q and dO are read once."""
        return self.tiles("query_gradients") == (1, 1)

    @cached_property
    def optimistic(self) -> bool:
        """Whether the softmax of K takes the first tile's maximum for all: for bfloat16, where instructions are scarcer than bytes.

        float16 has no room for it: one key of +11 above that maximum overflows. float32 has twice the bytes for as many instructions.
        """
        return self.shape.softmax and self.shape.dtype == "bfloat16" and self.target.name in ISSUE_BOUND

    @property
    def scaled(self) -> bool:
        """Whether the scaling form's factor goes into an operand of the product and not into its result: in float32."""
        return not self.shape.softmax and self.shape.dtype == "float32"

    @staticmethod
    def chunks(count: int) -> int:
        """Rounds in which so many parts are added up. A power of two, so that few kernels are compiled."""
        return _ceil(1 << (count - 1).bit_length(), _CHUNK)

    @property
    def chunk(self) -> int:
        """Parts added up at once."""
        return _CHUNK

    @cached_property
    def _sizes(self) -> tuple[int, int, int, int]:
        """Bytes of Q, of K, of V and of O (or their gradients)."""
        shape = self.shape
        unit = shape.rows * shape.element_bytes
        return unit * shape.n * shape.d_k, unit * shape.m * shape.d_k, unit * shape.m * shape.d_v, unit * shape.n * shape.d_v

    @cached_property
    def _small(self) -> tuple[int, int]:
        """Bytes of all contexts, and of one number per key channel."""
        shape = self.shape
        unit = shape.rows * shape.d_k * shape.wide_bytes
        return unit * shape.d_v, unit

    def _mask_bytes(self, times: int) -> int:
        return self.shape.rows * self.shape.m * times if self.shape.masked else 0

    @property
    def forward(self) -> tuple[Launch, ...]:
        """O from Q, K and V."""
        shape, (q, k, v, o), (context, channel) = self.shape, self._sizes, self._small
        mac = shape.rows * shape.d_k * shape.d_v
        count, (tiles_k, tiles_v) = self.key_parts[0], self.tiles("key_contexts")
        statistics = 2 * channel if shape.softmax else 0
        launches = [
            Launch(
                "key_contexts", shape.rows * count * tiles_k * tiles_v, self.tiling("key_contexts"),
                tiles_v * k + tiles_k * v + self._mask_bytes(tiles_k * tiles_v), count * (context + statistics), mac * shape.m,
                shape.rows * shape.m * tiles_k * tiles_v,
            )
        ]  # fmt: skip
        if count > 1:
            read = count * (context + 3 * channel if shape.softmax else context)  # the maxima twice
            launches.append(Launch("combine_contexts", shape.rows * shape.d_k, None, read, context + statistics, 0))
        count = self.query_parts[0]
        launches.append(
            Launch(
                "attend", shape.rows * count, self.tiling("attend"), q + self._contexts("attend"), o, mac * shape.n,
                shape.rows * shape.n, self.tiles("attend")[1] > 1,
            )
        )  # fmt: skip
        return tuple(launches)

    def _contexts(self, kernel: str, length: int | None = None) -> int:
        """Bytes of contexts that a walk over positions reads: once for each part, or for each tile where a context has several."""
        positions, (count, part) = (self.shape.n, self.query_parts) if length is None else (length, self.key_parts)
        if self.tiles(kernel)[1] > 1:
            step = self.tiling(kernel).block_n
            count = sum(_ceil(min(part, positions - first), step) for first in range(0, positions, part))
        return count * self._small[0]

    @property
    def backward(self) -> tuple[Launch, ...]:
        """dQ, dK and dV from dO, the inputs and what the forward pass kept."""
        shape, (q, k, v, o), (context, channel) = self.shape, self._sizes, self._small
        mac = shape.rows * shape.d_k * shape.d_v
        count, softmax = self.query_parts[0], shape.softmax
        whole = self.fused and count == 1
        kept = context + channel if softmax else 0  # C and 1/l, to finish dC and delta
        finished = context + channel if softmax else context
        launches = [
            Launch(
                "query_gradients", shape.rows * count, self.tiling("query_gradients"),
                q + o + self._contexts("query_gradients") + (kept if whole else 0),
                q + (finished if whole else count * context if self.fused else 0), mac * shape.n * (2 if self.fused else 1),
                shape.rows * shape.n, self.tiles("query_gradients")[1] > 1,
            )
        ]  # fmt: skip
        if not self.fused:
            tiles_k, tiles_v = self.tiles("query_contexts")
            passes = tiles_v * (1 + tiles_k) if softmax else tiles_v
            launches.append(
                Launch(
                    "query_contexts", shape.rows * count * tiles_k * tiles_v, self.tiling("query_contexts"),
                    passes * q + tiles_k * o, count * context, mac * shape.n,
                    shape.rows * shape.n * tiles_k * tiles_v,
                )
            )  # fmt: skip
        if not whole:
            launches.append(Launch("combine_gradients", shape.rows * shape.d_k, None, count * context + kept, finished, 0))
        statistics = self.key_parts[0] * 2 * channel if softmax else 0
        launches.append(
            Launch(
                "key_gradients", shape.rows * self.key_parts[0], self.tiling("key_gradients"),
                k + v + self._contexts("key_gradients", shape.m) + statistics + self._mask_bytes(1), k + v, 2 * mac * shape.m,
                shape.rows * shape.m, self.tiles("key_gradients")[1] > 1,
            )
        )  # fmt: skip
        return tuple(launches)
