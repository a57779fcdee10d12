"""The backward kernels: queries with dC, its combination, keys and values. See the header of this folder, and `tiles`."""

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

__all__ = ["combine_gradients", "key_gradients", "query_contexts", "query_gradients"]


@triton.jit
def _finish_gradient(grad_context, row, columns_k, columns_v, C, INVERSE, DC, DELTA, scale, D_K: tl.constexpr, D_V: tl.constexpr,
                     SOFTMAX: tl.constexpr):  # fmt: skip
    """Write what the pass over keys needs: dC / l and delta / l, delta = rowsum(C * dC); s dC in the scaling form."""
    if SOFTMAX:
        inverse = tl.load(INVERSE + row.to(tl.int64) * D_K + columns_k, mask=columns_k < D_K, other=0.0)
        at, inside = square(C, row, columns_k, columns_v, D_K, D_V)
        context = tl.load(at, mask=inside, other=0.0)
        grad_context = grad_context * inverse[:, None]
        tl.store(DELTA + row.to(tl.int64) * D_K + columns_k, tl.sum(context * grad_context, axis=1), mask=columns_k < D_K)
    else:
        grad_context = grad_context * scale
    at, inside = square(DC, row, columns_k, columns_v, D_K, D_V)
    tl.store(at, grad_context, mask=inside)


@triton.jit
def _unit_context(DC, row, columns_k, tile, TYPE: tl.constexpr, BLOCK_V: tl.constexpr, D_K: tl.constexpr, D_V: tl.constexpr):
    """A tile of dC / l in the inputs' type, and what it is to be multiplied by.

    dC / l is about 1/n: far below float16's normal numbers. There it is brought to 1 for the products, and back after them.
    """
    grad_context = load_context(DC, row, columns_k, tile, BLOCK_V, D_K, D_V)
    unit = tl.full([], 1.0, grad_context.dtype)
    if tl.float16 == TYPE:
        unit = tl.max(tl.max(tl.abs(grad_context), axis=1), axis=0)
        unit = tl.where(unit == 0, 1.0, unit)
        grad_context = grad_context * (1.0 / unit)
    return grad_context.to(TYPE), unit


@triton.jit
def query_gradients(
    Q, DO, C, INVERSE, DQ, SUMS, DC, DELTA, scale, heads, length, parts, part_length,
    q_b, q_h, q_n, do_b, do_h, do_n, dq_b, dq_h, dq_n,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    TILES_V: tl.constexpr, SOFTMAX: tl.constexpr, WHOLE: tl.constexpr, FUSED: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """dQ = P * (dO C^T - rowsum(P * dO C^T)) for a part of the queries; where FUSED also its share of dC = P^T dO."""
    row, part, _, _ = place(parts, 1, 1)
    columns_k = tl.arange(0, BLOCK_K)
    first = part * part_length
    count = tl.minimum(length - first, part_length)
    q_base = base_of(Q, row, heads, first, q_b, q_h, q_n, STEP)
    do_base = base_of(DO, row, heads, first, do_b, do_h, do_n, STEP)
    dq_base = base_of(DQ, row, heads, first, dq_b, dq_h, dq_n, STEP)
    empty = float("-inf") if SOFTMAX else 0.0
    grad_context = tl.zeros([BLOCK_K, BLOCK_V], WIDE)
    if TILES_V == 1:
        context = load_context(C, row, columns_k, 0, BLOCK_V, D_K, D_V).to(Q.dtype.element_ty)
    for start in range(0, count, BLOCK_N):
        q = load_tile(q_base, start, count, q_n, columns_k, D_K, empty, BLOCK_N, BLOCK_K == D_K, STEP)
        weights = query_weights(q, SOFTMAX, WIDE)
        grad_weights = tl.zeros([BLOCK_N, BLOCK_K], WIDE)
        for tile in tl.range(0, TILES_V, num_stages=1):
            columns_v = tile * BLOCK_V + tl.arange(0, BLOCK_V)
            do = load_tile(do_base, start, count, do_n, columns_v, D_V, 0.0, BLOCK_N, BLOCK_V * TILES_V == D_V, STEP)
            if TILES_V > 1:
                context = load_context(C, row, columns_k, tile, BLOCK_V, D_K, D_V).to(do.dtype)
            grad_weights = tl.dot(do, tl.trans(context), grad_weights, input_precision=PRECISION, out_dtype=WIDE)
            if FUSED:
                grad_context = tl.dot(tl.trans(weights.to(do.dtype)), do, grad_context, input_precision=PRECISION, out_dtype=WIDE)
        if SOFTMAX:
            grad_weights = weights * (grad_weights - tl.sum(weights * grad_weights, axis=1)[:, None])
        store_tile(dq_base, start, count, dq_n, columns_k, D_K, grad_weights, BLOCK_N, BLOCK_K == D_K, STEP)
    if FUSED:
        columns_v = tl.arange(0, BLOCK_V)
        if WHOLE:
            _finish_gradient(grad_context, row, columns_k, columns_v, C, INVERSE, DC, DELTA, scale, D_K, D_V, SOFTMAX)
        else:
            at, inside = square(SUMS, row.to(tl.int64) * parts + part, columns_k, columns_v, D_K, D_V)
            tl.store(at, grad_context, mask=inside)


@triton.jit
def query_contexts(
    Q, DO, SUMS, scale, heads, length, parts, part_length, q_b, q_h, q_n, do_b, do_h, do_n,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    TILES_K: tl.constexpr, TILES_V: tl.constexpr, SOFTMAX: tl.constexpr, SCALED: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """A tile of a part's P^T dO, where the whole does not fit into one program. Q is read twice: all channels for the softmax's sums.

    SCALED: see `key_contexts`.
    """
    row, part, tile_k, tile_v = place(parts, TILES_K, TILES_V)
    columns = tl.arange(0, BLOCK_D)
    columns_k, columns_v = tile_k * BLOCK_K + tl.arange(0, BLOCK_K), tile_v * BLOCK_V + tl.arange(0, BLOCK_V)
    first = part * part_length
    count = tl.minimum(length - first, part_length)
    q_base = base_of(Q, row, heads, first, q_b, q_h, q_n, STEP)
    do_base = base_of(DO, row, heads, first, do_b, do_h, do_n, STEP)
    kind: tl.constexpr = Q.dtype.element_ty
    empty = float("-inf") if SOFTMAX else 0.0
    grad_context = tl.zeros([BLOCK_K, BLOCK_V], WIDE)
    for start in range(0, count, BLOCK_N):
        weights = load_tile(q_base, start, count, q_n, columns_k, D_K, empty, BLOCK_N, BLOCK_K * TILES_K == D_K, STEP).to(WIDE)
        if SOFTMAX:
            q = load_tile(q_base, start, count, q_n, columns, D_K, empty, BLOCK_N, BLOCK_D == D_K, STEP).to(WIDE)
            top = tl.max(q, axis=1)
            top = tl.where(top == float("-inf"), 0.0, top)
            total = tl.sum(decay(q, top[:, None], kind, WIDE), axis=1)
            weights = decay(weights, top[:, None], kind, WIDE) * (1.0 / tl.where(total == 0, 1.0, total))[:, None]
        elif SCALED:
            weights = weights * scale
        do = load_tile(do_base, start, count, do_n, columns_v, D_V, 0.0, BLOCK_N, BLOCK_V * TILES_V == D_V, STEP)
        grad_context = tl.dot(tl.trans(weights.to(do.dtype)), do, grad_context, input_precision=PRECISION, out_dtype=WIDE)
    at, inside = square(SUMS, row.to(tl.int64) * parts + part, columns_k, columns_v, D_K, D_V)
    tl.store(at, grad_context, mask=inside)


@triton.jit
def combine_gradients(
    SUMS, C, INVERSE, DC, DELTA, scale, parts,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_V: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr, SOFTMAX: tl.constexpr,
    WIDE: tl.constexpr,
):  # fmt: skip
    """One row of one context's gradient: the parts added up in a fixed order, and finished as `_finish_gradient` does."""
    row, channel = (tl.program_id(0) // D_K).to(tl.int64), tl.program_id(0) % D_K
    columns = tl.arange(0, BLOCK_V)
    grad_context = tl.zeros([BLOCK_V], WIDE)
    for chunk in tl.static_range(CHUNKS):
        part = chunk * CHUNK + tl.arange(0, CHUNK)
        sums = tl.load(
            SUMS + ((row * parts + part[:, None]) * D_K + channel) * D_V + columns[None, :],
            mask=(part[:, None] < parts) & (columns[None, :] < D_V), other=0.0,
        )  # fmt: skip
        grad_context += tl.sum(sums, axis=0)
    at = (row * D_K + channel) * D_V + columns
    if SOFTMAX:
        grad_context = grad_context * tl.load(INVERSE + row * D_K + channel)
        context = tl.load(C + at, mask=columns < D_V, other=0.0)
        tl.store(DELTA + row * D_K + channel, tl.sum(context * grad_context, axis=0))
    else:
        grad_context = grad_context * scale
    tl.store(DC + at, grad_context, mask=columns < D_V)


@triton.jit
def key_gradients(
    K, V, HIDDEN, REFERENCE, DC, DELTA, DK, DV, heads, length, parts, part_length,
    k_b, k_h, k_n, v_b, v_h, v_n, hidden_b, hidden_n, dk_b, dk_h, dk_n, dv_b, dv_h, dv_n,
    D_K: tl.constexpr, D_V: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
    TILES_V: tl.constexpr, SOFTMAX: tl.constexpr, MASKED: tl.constexpr, WIDE: tl.constexpr, PRECISION: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    """dV = W dC and dK = W * (V dC^T - delta) for a part of the keys, W = exp(K - m), 1/l being in dC and delta."""
    row, part, _, _ = place(parts, 1, 1)
    columns_k = tl.arange(0, BLOCK_K)
    first = part * part_length
    count = tl.minimum(length - first, part_length)
    k_base = base_of(K, row, heads, first, k_b, k_h, k_n, STEP)
    v_base = base_of(V, row, heads, first, v_b, v_h, v_n, STEP)
    dk_base = base_of(DK, row, heads, first, dk_b, dk_h, dk_n, STEP)
    dv_base = base_of(DV, row, heads, first, dv_b, dv_h, dv_n, STEP)
    hidden_base = HIDDEN
    if MASKED:
        hidden_base = HIDDEN + (row // heads).to(tl.int64) * hidden_b + first.to(tl.int64) * hidden_n
    reference = tl.zeros([BLOCK_K], WIDE)
    delta = tl.zeros([BLOCK_K], WIDE)
    if SOFTMAX:
        reference = tl.load(REFERENCE + row.to(tl.int64) * D_K + columns_k, mask=columns_k < D_K, other=0.0)
        delta = tl.load(DELTA + row.to(tl.int64) * D_K + columns_k, mask=columns_k < D_K, other=0.0)
    empty = float("-inf") if SOFTMAX else 0.0
    if TILES_V == 1:
        grad_context, unit = _unit_context(DC, row, columns_k, 0, K.dtype.element_ty, BLOCK_V, D_K, D_V)
    for start in range(0, count, BLOCK_N):
        k = load_tile(k_base, start, count, k_n, columns_k, D_K, empty, BLOCK_N, BLOCK_K == D_K, STEP)
        weights = k.to(WIDE)
        keep = start + tl.arange(0, BLOCK_N) < count
        if MASKED:
            keep = hidden_of(hidden_base, start, count, hidden_n, BLOCK_N)
            weights = tl.where(keep[:, None], weights, empty)
        if SOFTMAX:
            weights = power(
                weights - reference[None, :], WIDE
            )  # `decay` takes 46 registers more here on sm_90, for 5 % of the loop
        grad_weights = tl.zeros([BLOCK_N, BLOCK_K], WIDE)
        for tile in tl.range(0, TILES_V, num_stages=1):
            columns_v = tile * BLOCK_V + tl.arange(0, BLOCK_V)
            v = load_tile(v_base, start, count, v_n, columns_v, D_V, 0.0, BLOCK_N, BLOCK_V * TILES_V == D_V, STEP)
            if MASKED:
                v = tl.where(keep[:, None], v, 0.0)
            if TILES_V > 1:
                grad_context, unit = _unit_context(DC, row, columns_k, tile, K.dtype.element_ty, BLOCK_V, D_K, D_V)
            if k.dtype == tl.float16:
                grad_weights += tl.dot(v, tl.trans(grad_context), out_dtype=WIDE) * unit
            else:
                grad_weights = tl.dot(v, tl.trans(grad_context), grad_weights, input_precision=PRECISION, out_dtype=WIDE)
            grad_v = tl.dot(weights.to(v.dtype), grad_context, input_precision=PRECISION, out_dtype=WIDE)
            if k.dtype == tl.float16:
                grad_v = grad_v * unit
            store_tile(dv_base, start, count, dv_n, columns_v, D_V, grad_v, BLOCK_N, BLOCK_V * TILES_V == D_V, STEP)
        if SOFTMAX:
            grad_weights = weights * (grad_weights - delta[None, :])
        elif MASKED:
            grad_weights = tl.where(keep[:, None], grad_weights, 0.0)
        store_tile(dk_base, start, count, dk_n, columns_k, D_K, grad_weights, BLOCK_N, BLOCK_K == D_K, STEP)
