"""What the kernels have in common, in Triton. Formulas, passes and bytes: the header of this folder.

- A program's first index says which head of which batch element (`row`) and which part of its positions it works on; it walks through
  that part in tiles of BLOCK_N positions. Parts depend on shapes and on the target only, and what parts leave behind is added up in a
  fixed order: equal calls give equal bits. No atomics.
- Offsets of a row and of a part's first position are 64 bit; inside a part they are 32 bit (the host sees to it that they fit).
- Strides come divided by STEP, a constexpr, and are multiplied by it here: so the compiler knows that rows start at multiples of
  STEP elements and reads them 128 bits at a time, also where a stride is no multiple of 16 (40 channels, for example).
- Channels are padded to powers of two; a padded channel reads as -inf (keys and queries of the softmax form) or 0, and is never written.
- The softmax form subtracts the maximum BEFORE it multiplies by log2(e): the other way round loses digits with the size of the logits
  (K + 20000 in float32: 2.5e-4 instead of 5.5e-7). Not so for bfloat16 inputs: where logits are that large, neighbours in bfloat16 lie so
  far apart that the digits decide nothing, and one multiply-add per element is saved.
- WIDE is the type of sums: float32, or float64 for float64 inputs. Products take operands of the inputs' type.
"""

# What Triton compiles has its own types, which annotations can't tell.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc, no-any-return"

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "base_of",
    "decay",
    "hidden_of",
    "load_context",
    "load_tile",
    "place",
    "power",
    "query_weights",
    "square",
    "store_tile",
]


LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def place(parts, tiles_k: tl.constexpr, tiles_v: tl.constexpr):
    """This program's row on the axis [B * H], its part of the positions, and its tile of the context: (row, part, k, v)."""
    index = tl.program_id(0)
    tile = index % (tiles_k * tiles_v)
    index = index // (tiles_k * tiles_v)
    return index // parts, index % parts, tile // tiles_v, tile % tiles_v


@triton.jit
def base_of(pointer, row, heads, first, stride_b, stride_h, stride_n, STEP: tl.constexpr):
    """Where position `first` of a row begins, in 64 bit."""
    batch, head = (row // heads).to(tl.int64), (row % heads).to(tl.int64)
    return pointer + (batch * stride_b + head * stride_h + first.to(tl.int64) * stride_n) * STEP


@triton.jit
def load_tile(
    base,
    start,
    count,
    stride_n,
    columns,
    WIDTH: tl.constexpr,
    other,
    BLOCK_N: tl.constexpr,
    FULL: tl.constexpr,
    STEP: tl.constexpr,
):
    """A tile [BLOCK_N, columns] from position `start` of a part of `count` positions; `other` where there is none."""
    rows = start + tl.arange(0, BLOCK_N)
    pointers = base + rows[:, None] * (stride_n * STEP) + columns[None, :]
    mask = rows[:, None] < count
    if not FULL:
        mask = mask & (columns[None, :] < WIDTH)
    return tl.load(pointers, mask=mask, other=other)


@triton.jit
def store_tile(
    base,
    start,
    count,
    stride_n,
    columns,
    WIDTH: tl.constexpr,
    value,
    BLOCK_N: tl.constexpr,
    FULL: tl.constexpr,
    STEP: tl.constexpr,
):
    """A tile [BLOCK_N, columns] to where `load_tile` reads it."""
    rows = start + tl.arange(0, BLOCK_N)
    pointers = base + rows[:, None] * (stride_n * STEP) + columns[None, :]
    mask = rows[:, None] < count
    if not FULL:
        mask = mask & (columns[None, :] < WIDTH)
    tl.store(pointers, value.to(base.dtype.element_ty), mask=mask)


@triton.jit
def power(x, WIDE: tl.constexpr):
    """exp(x) for x in WIDE."""
    if tl.float64 == WIDE:
        return tl.exp(x)
    return tl.exp2(x * LOG2E)


@triton.jit
def decay(x, reference, TYPE: tl.constexpr, WIDE: tl.constexpr):
    """exp(x - reference) for x, an input in WIDE, whose own type is TYPE. A reference is finite, x may be -inf."""
    if tl.bfloat16 == TYPE:
        return tl.exp2(x * LOG2E - reference * LOG2E)
    return power(x - reference, WIDE)


@triton.jit
def hidden_of(base, start, count, stride_n, BLOCK_N: tl.constexpr):
    """Which positions of a tile take part, of a mask that is 0 there."""
    rows = start + tl.arange(0, BLOCK_N)
    return tl.load(base + rows * stride_n, mask=rows < count, other=1) == 0


@triton.jit
def query_weights(q, SOFTMAX: tl.constexpr, WIDE: tl.constexpr):
    """softmax_channels(Q), or Q itself in the scaling form, in WIDE."""
    kind: tl.constexpr = q.dtype
    q = q.to(WIDE)
    if SOFTMAX:
        top = tl.max(q, axis=1)
        # A row that is -inf throughout has no softmax: its weights are 0, and not NaN.
        q = decay(q, tl.where(top == float("-inf"), 0.0, top)[:, None], kind, WIDE)
        total = tl.sum(q, axis=1)
        q = q * (1.0 / tl.where(total == 0, 1.0, total))[:, None]
    return q


@triton.jit
def square(pointer, row, columns_k, columns_v, D_K: tl.constexpr, D_V: tl.constexpr):
    """Pointers to a tile of a row's context [D_K, D_V], and which of them are inside."""
    at = pointer + row.to(tl.int64) * (D_K * D_V) + columns_k[:, None] * D_V + columns_v[None, :]
    return at, (columns_k[:, None] < D_K) & (columns_v[None, :] < D_V)


@triton.jit
def load_context(pointer, row, columns_k, tile, BLOCK_V: tl.constexpr, D_K: tl.constexpr, D_V: tl.constexpr):
    """A tile [D_K, BLOCK_V] of a row's context."""
    at, inside = square(pointer, row, columns_k, tile * BLOCK_V + tl.arange(0, BLOCK_V), D_K, D_V)
    return tl.load(at, mask=inside, other=0.0)
