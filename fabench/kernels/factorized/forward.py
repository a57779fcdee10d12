"""The forward kernels: contexts of parts of the keys, their combination, the queries. See the header of this folder, and `tiles`."""

# What Triton compiles has its own types, which annotations can't tell.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc, no-any-return"

from __future__ import annotations

import triton
import triton.language as tl

from fabench.kernels.factorized.tiles import (
    base_of,
    decay,
    hidden_of,
    load_context,
    load_tile,
    place,
    power,
    query_weights,
    square,
    store_tile,
)

__all__ = ["attend", "combine_contexts", "key_contexts"]

# Sums of a part between these, with a reference that need not be its maximum, are as good as any: terms that vanish beside them are below
# 2^-94 of them, and neither the sums with V nor what backward divides by them can overflow.
SMALLEST, LARGEST = tl.constexpr(2.0**-32), tl.constexpr(2.0**32)


@triton.jit
def _finish_context(total, context, columns_k, columns_v, row, C, INVERSE, REFERENCE, reference, first,
                    D_K: tl.constexpr, D_V: tl.constexpr, SOFTMAX: tl.constexpr, scale):  # fmt: skip
    """Normalise a context and write it, with 1/l and m where `first`."""
    if SOFTMAX:
        empty = total == 0
        inverse = tl.where(empty, 0.0, 1.0 / tl.where(empty, 1.0, total))
        context = context * inverse[:, None]
        here = first & (columns_k < D_K)
        tl.store(INVERSE + row.to(tl.int64) * D_K + columns_k, inverse, mask=here)
        tl.store(REFERENCE + row.to(tl.int64) * D_K + columns_k, reference, mask=here)
    else:
        context = context * scale
    at, inside = square(C, row, columns_k, columns_v, D_K, D_V)
    tl.store(at, context, mask=inside)


@triton.jit
def _key_tile(k_base, v_base, hidden_base, start, count, k_n, v_n, hidden_n, columns_k, columns_v,
              D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, FULL_K: tl.constexpr, FULL_V: tl.constexpr,
              SOFTMAX: tl.constexpr, MASKED: tl.constexpr, WIDE: tl.constexpr, STEP: tl.constexpr):  # fmt: skip
    """A tile of K in WIDE and of V, with what takes no part neutral: K is -inf (0 in the scaling form), V is 0."""
    empty = float("-inf") if SOFTMAX else 0.0
    k = load_tile(k_base, start, count, k_n, columns_k, D_K, empty, BLOCK_N, FULL_K, STEP).to(WIDE)
    v = load_tile(v_base, start, count, v_n, columns_v, D_V, 0.0, BLOCK_N, FULL_V, STEP)
    if MASKED:
        keep = hidden_of(hidden_base, start, count, hidden_n, BLOCK_N)
        k = tl.where(keep[:, None], k, empty)
        v = tl.where(keep[:, None], v, 0.0)
    return k, v


@triton.jit
def key_contexts(
    K, V, HIDDEN, SUMS, MAXIMA, TOTALS, C, INVERSE, REFERENCE, scale, heads, length, parts, part_length,
    k_b, k_h, k_n, v_b, v_h, v_n, hidden_b, hidden_n,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    TILES_K: tl.constexpr, TILES_V: tl.constexpr, SOFTMAX: tl.constexpr, MASKED: tl.constexpr, WHOLE: tl.constexpr,
    OPTIMISTIC: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Of a part of the keys: m = max K, l = sum exp(K - m), exp(K - m)^T V. Where the part is the WHOLE, the context is finished.

    OPTIMISTIC: m is the maximum of the part's first tile. Any m gives the same quotient as long as the sums stay far from overflow and
    from vanishing; where one did not, the part is walked through again with the running maximum.

    SCALED: the scale multiplies K and not the context. In float32 an operand that goes as it is from memory into a transposed product is
    read 32 bits at a time; one that was touched on its way is read 128 bits at a time.
    """
    row, part, tile_k, tile_v = place(parts, TILES_K, TILES_V)
    columns_k, columns_v = tile_k * BLOCK_K + tl.arange(0, BLOCK_K), tile_v * BLOCK_V + tl.arange(0, BLOCK_V)
    full_k: tl.constexpr = BLOCK_K * TILES_K == D_K
    full_v: tl.constexpr = BLOCK_V * TILES_V == D_V
    kind: tl.constexpr = K.dtype.element_ty
    first = part * part_length
    count = tl.minimum(length - first, part_length)
    k_base = base_of(K, row, heads, first, k_b, k_h, k_n, STEP)
    v_base = base_of(V, row, heads, first, v_b, v_h, v_n, STEP)
    hidden_base = HIDDEN
    if MASKED:
        hidden_base = HIDDEN + (row // heads).to(tl.int64) * hidden_b + first.to(tl.int64) * hidden_n
    reference = tl.full([BLOCK_K], float("-inf"), WIDE)
    total = tl.zeros([BLOCK_K], WIDE)
    context = tl.zeros([BLOCK_K, BLOCK_V], WIDE)
    exact = True
    if OPTIMISTIC:
        k, v = _key_tile(k_base, v_base, hidden_base, 0, count, k_n, v_n, hidden_n, columns_k, columns_v,
                         D_K, D_V, BLOCK_N, full_k, full_v, SOFTMAX, MASKED, WIDE, STEP)  # fmt: skip
        reference = tl.max(k, axis=0)
        reference = tl.where(reference == float("-inf"), 0.0, reference)
        # Sums over positions as a product with ones: tensor cores are idle here, and adding across threads takes turns.
        ones = tl.full([BLOCK_N, 16], 1.0, tl.float32).to(kind)
        weights = tl.trans(decay(k, reference[None, :], kind, WIDE).to(kind))
        sums = tl.dot(weights, ones, input_precision=PRECISION, out_dtype=WIDE)
        context = tl.dot(weights, v, context, input_precision=PRECISION, out_dtype=WIDE)
        for start in range(BLOCK_N, count, BLOCK_N):
            k, v = _key_tile(k_base, v_base, hidden_base, start, count, k_n, v_n, hidden_n, columns_k, columns_v,
                             D_K, D_V, BLOCK_N, full_k, full_v, SOFTMAX, MASKED, WIDE, STEP)  # fmt: skip
            weights = tl.trans(decay(k, reference[None, :], kind, WIDE).to(kind))
            sums = tl.dot(weights, ones, sums, input_precision=PRECISION, out_dtype=WIDE)
            context = tl.dot(weights, v, context, input_precision=PRECISION, out_dtype=WIDE)
        total = tl.max(sums, axis=1)  # all columns are equal
        sound = ((total > SMALLEST) & (total < LARGEST)) | (columns_k >= D_K)
        exact = tl.min(sound.to(tl.int32), axis=0) == 0
    if exact:
        reference = tl.full([BLOCK_K], float("-inf"), WIDE)
        total = tl.zeros([BLOCK_K], WIDE)
        context = tl.zeros([BLOCK_K, BLOCK_V], WIDE)
        for start in range(0, count, BLOCK_N):
            k, v = _key_tile(k_base, v_base, hidden_base, start, count, k_n, v_n, hidden_n, columns_k, columns_v,
                             D_K, D_V, BLOCK_N, full_k, full_v, SOFTMAX, MASKED, WIDE, STEP)  # fmt: skip
            if SOFTMAX:
                raised = tl.maximum(reference, tl.max(k, axis=0))
                finite = tl.where(raised == float("-inf"), 0.0, raised)
                shrink = power(tl.where(reference == float("-inf"), finite, reference) - finite, WIDE)
                k = decay(k, finite[None, :], kind, WIDE)
                total = total * shrink + tl.sum(k, axis=0)
                context = context * shrink[:, None]
                reference = raised
            if SCALED:
                k = k * scale
            context = tl.dot(tl.trans(k.to(kind)), v, context, input_precision=PRECISION, out_dtype=WIDE)
    if WHOLE:
        after = 1.0 if SCALED else scale
        finite = tl.where(reference == float("-inf"), 0.0, reference)
        _finish_context(
            total, context, columns_k, columns_v, row, C, INVERSE, REFERENCE, finite, tile_v == 0, D_K, D_V, SOFTMAX, after
        )
    else:
        slot = row.to(tl.int64) * parts + part
        at, inside = square(SUMS, slot, columns_k, columns_v, D_K, D_V)
        tl.store(at, context, mask=inside)
        if SOFTMAX:
            here = (tile_v == 0) & (columns_k < D_K)
            tl.store(MAXIMA + slot * D_K + columns_k, reference, mask=here)
            tl.store(TOTALS + slot * D_K + columns_k, total, mask=here)


@triton.jit
def combine_contexts(
    SUMS, MAXIMA, TOTALS, C, INVERSE, REFERENCE, scale, parts,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr, SOFTMAX: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """One row of one context: what the parts left, brought to a common maximum, added up in a fixed order, normalised."""
    row, channel = (tl.program_id(0) // D_K).to(tl.int64), tl.program_id(0) % D_K
    columns = tl.arange(0, BLOCK_V)
    reference = tl.full([1], float("-inf"), WIDE)
    if SOFTMAX:
        for chunk in tl.static_range(CHUNKS):
            part = chunk * CHUNK + tl.arange(0, CHUNK)
            maxima = tl.load(MAXIMA + (row * parts + part) * D_K + channel, mask=part < parts, other=float("-inf"))
            reference = tl.maximum(reference, tl.max(maxima, axis=0))
        reference = tl.where(reference == float("-inf"), 0.0, reference)
    total = tl.zeros([1], WIDE)
    context = tl.zeros([BLOCK_V], WIDE)
    for chunk in tl.static_range(CHUNKS):
        part = chunk * CHUNK + tl.arange(0, CHUNK)
        here = part < parts
        sums = tl.load(
            SUMS + ((row * parts + part[:, None]) * D_K + channel) * D_V + columns[None, :],
            mask=here[:, None] & (columns[None, :] < D_V), other=0.0,
        )  # fmt: skip
        if SOFTMAX:
            maxima = tl.load(MAXIMA + (row * parts + part) * D_K + channel, mask=here, other=float("-inf"))
            share = power(maxima - reference, WIDE)
            total += tl.sum(share * tl.load(TOTALS + (row * parts + part) * D_K + channel, mask=here, other=0.0), axis=0)
            sums = sums * share[:, None]
        context += tl.sum(sums, axis=0)
    if SOFTMAX:
        inverse = tl.where(total == 0, 0.0, 1.0 / tl.where(total == 0, 1.0, total))
        one = tl.arange(0, 1)
        tl.store(INVERSE + row * D_K + channel + one, inverse)
        tl.store(REFERENCE + row * D_K + channel + one, reference)
        context = context * inverse
    else:
        context = context * scale
    tl.store(C + (row * D_K + channel) * D_V + columns, context, mask=columns < D_V)


@triton.jit
def attend(
    Q, C, OUT, heads, length, parts, part_length, q_b, q_h, q_n, o_b, o_h, o_n,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    TILES_V: tl.constexpr, SOFTMAX: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """O = softmax_channels(Q) C for a part of the queries."""
    row, part, _, _ = place(parts, 1, 1)
    columns_k = tl.arange(0, BLOCK_K)
    first = part * part_length
    count = tl.minimum(length - first, part_length)
    q_base = base_of(Q, row, heads, first, q_b, q_h, q_n, STEP)
    o_base = base_of(OUT, row, heads, first, o_b, o_h, o_n, STEP)
    empty = float("-inf") if SOFTMAX else 0.0
    # A context of one tile stays where it is for the whole walk; one of several tiles is read again for each tile of positions.
    if TILES_V == 1:
        context = load_context(C, row, columns_k, 0, BLOCK_V, D_K, D_V).to(Q.dtype.element_ty)
    for start in range(0, count, BLOCK_N):
        q = load_tile(q_base, start, count, q_n, columns_k, D_K, empty, BLOCK_N, BLOCK_K == D_K, STEP)
        weights = query_weights(q, SOFTMAX, WIDE).to(q.dtype)
        for tile in tl.range(0, TILES_V, num_stages=1):
            columns_v = tile * BLOCK_V + tl.arange(0, BLOCK_V)
            if TILES_V > 1:
                context = load_context(C, row, columns_k, tile, BLOCK_V, D_K, D_V).to(q.dtype)
            out = tl.dot(weights, context, input_precision=PRECISION, out_dtype=WIDE)
            store_tile(o_base, start, count, o_n, columns_v, D_V, out, BLOCK_N, BLOCK_V * TILES_V == D_V, STEP)
