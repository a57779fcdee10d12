"""What a case must cost, from its shape alone: operations, bytes, and the memory a call takes.

Source: paper section 3 (v1), restated per head and for cross-attention (n queries, m keys). True multiply-accumulates:

    quadratic core   B H n m (d_k + d_v)             an n x m map
    linear core      B H (n + m) d_k d_v             a d_k x d_v context per head
    projections      B C H (n d_k + m (d_k + d_v)),  reprojection  B n C H d_v

v1 prints another count, called "MACC", which takes one multiply OR one add and half of the projections (`paper_operations`; see
`analysis.paper` for its errata). One multiply-accumulate is two FLOP. A backward pass repeats every product twice (once for
each factor's gradient): 2x the forward's. What an implementation recomputes beyond that is its own affair and shows in the counted FLOPs.

Bytes saved for backward are v1's memory formula: (C + 2 d_k + 2 d_v) n + context (or map) floats for a module with reprojection,
d_k and d_v over all heads; the convolutions' weights come on top.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fabench.schema import Case

__all__ = ["CHECKED_MAP_ELEMENTS", "Cost", "largest_n", "of", "paper_floats", "paper_operations", "resized"]

# Passes of each mode in units of the forward's products.
_PASSES = {"fwd": 1, "bwd": 2, "fwd_bwd": 3}
# The check of softmax attention over an n x m map compares at most about this many of its elements.
CHECKED_MAP_ELEMENTS = 2**22


@dataclass(frozen=True, slots=True)
class Cost:
    """What the arithmetic says. All predictions, never measurements.

    `mac` and `flop`: products of the case's mode. `compulsory_bytes`: least traffic, each input read once, each output written
    once. `input_bytes`, `output_bytes`: the tensors of the case. `saved_bytes`: kept for backward (None without gradients).
    `working_bytes`: expected peak over the baseline of an eager implementation. `check_bytes`: what the float64 check takes.
    """

    mac: int
    flop: int
    compulsory_bytes: int
    input_bytes: int
    output_bytes: int
    saved_bytes: int | None
    working_bytes: int
    check_bytes: int

    @property
    def total_bytes(self) -> int:
        """Inputs and the call's peak together: what must fit."""
        return self.input_bytes + self.working_bytes


def _core_mac(case: Case, time_order: int) -> int:
    heads = case.batch * case.heads
    if time_order == 2:
        return heads * case.n * case.keys * (case.d_k + case.d_v)
    return heads * (case.n + case.keys) * case.d_k * case.d_v


def _pooled(case: Case) -> int:
    """By how much pooling divides the key positions."""
    return 1 if case.pool in (None, 1) else case.pool ** min(2, len(case.dimensions))


def _projection_mac(case: Case) -> int:
    if case.scope == "core" or case.channels is None:
        return 0
    width = case.heads * (2 * case.d_k + case.d_v + (case.d_v if case.reprojection else 0))
    return case.batch * case.n * case.channels * width


def _elements(case: Case) -> tuple[int, int, int]:
    """Elements of Q, of K and V together, and of the output, over batch and heads."""
    heads = case.batch * case.heads
    return heads * case.n * case.d_k, heads * case.keys * (case.d_k + case.d_v), heads * case.n * case.d_v


def _inner(case: Case, order: int) -> int:
    """Elements of what stands between the two products: the map or the context."""
    heads = case.batch * case.heads
    return heads * (case.n * case.keys if order == 2 else case.d_k * case.d_v)


def _weights(case: Case) -> int:
    if case.channels is None:
        return 0
    return case.channels * case.heads * (2 * case.d_k + case.d_v + (case.d_v if case.reprojection else 0))


def of(case: Case, time_order: int, memory_order: int) -> Cost:
    """The cost of `case` for an implementation whose time and memory grow with these powers of n.

    Raises ValueError at scope "network": of that arithmetic knows the blocks alone (`fabench.position_cost`).
    """
    if case.scope == "network":
        raise ValueError("the cost of a whole network does not follow from its shape")
    size = case.element_bytes
    mac = _PASSES[case.mode] * (_core_mac(case, time_order) + _projection_mac(case))
    q, kv, out = _elements(case)
    inner = _inner(case, memory_order)
    if case.scope == "module" and case.channels is not None:
        inputs = case.batch * case.n * case.channels
        outputs = case.batch * case.n * (case.channels if case.reprojection else case.heads * case.d_v)
    else:
        inputs, outputs = q + kv, out
    saved = None
    if case.needs_gradients:
        saved = size * (q + kv + inner)
        if case.scope == "module":
            saved += size * (inputs + _weights(case) + (out if case.reprojection else 0))
    # Eager code holds the map twice (scores beside their softmax) and, in backward, a third time; a streaming kernel never.
    copies = (3 if case.needs_gradients else 2) if memory_order == 2 else 1
    gradients = (inputs + _weights(case)) if case.needs_gradients else 0
    inside = (q + kv + out) if case.scope == "module" else 0
    working = size * (copies * inner + outputs + inside + gradients)
    traffic = {"fwd": inputs + outputs, "bwd": 2 * inputs + outputs, "fwd_bwd": 3 * inputs + 2 * outputs}[case.mode]
    return Cost(
        mac=mac,
        flop=2 * mac,
        compulsory_bytes=size * traffic,
        input_bytes=size * (inputs + _weights(case)),
        output_bytes=size * outputs,
        saved_bytes=saved,
        working_bytes=working,
        check_bytes=_check_bytes(case, time_order, q + kv + out),
    )


def _check_bytes(case: Case, time_order: int, elements: int) -> int:
    """In float64: inputs, output and softmaxes, with gradients those of each too; and the part of a map that exists at once."""
    copies = (4 if case.needs_gradients else 2) + (case.mask == "padding")
    parts = 0
    if time_order == 2 and case.normalisation == "softmax":
        parts = (5 if case.needs_gradients else 3) * min(CHECKED_MAP_ELEMENTS, case.batch * case.heads * case.n * case.m)
    return 8 * (copies * elements + parts)


def largest_n(case: Case, time_order: int, memory_order: int, limit_bytes: int) -> int:
    """The largest n (= m) of a case like `case` whose inputs and peak fit into `limit_bytes`; 0 if none does."""
    low, high = 0, 2
    while _fits(case, high, time_order, memory_order, limit_bytes):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if _fits(case, middle, time_order, memory_order, limit_bytes):
            low = middle
        else:
            high = middle
    return low


def resized(case: Case, n: int) -> Case:
    """`case` with n = m positions and no layout: one axis, pooled by what the layout's axes are pooled by together."""
    return replace(case, n=n, m=n, space=None, pool=None if case.pool is None else _pooled(case))


def _fits(case: Case, n: int, time_order: int, memory_order: int, limit_bytes: int) -> bool:
    return of(resized(case, n), time_order, memory_order).total_bytes <= limit_bytes


def paper_floats(n: int, d_k: int, channels: int, order: int) -> int:
    """v1's memory count in floats for one head, d_v = C, no reprojection: (2b + 3c) n + b c, or + n^2 for the dot product."""
    return (2 * d_k + 3 * channels) * n + (d_k * channels if order == 1 else n * n)


def paper_operations(n: int, d_k: int, channels: int, order: int) -> int:
    """v1's printed operation count ("MACC"): (8bc + 2c^2) n, or (2bc + c^2) n + (2b + 2c) n^2 for the dot product."""
    if order == 1:
        return (8 * d_k * channels + 2 * channels**2) * n
    return (2 * d_k * channels + channels**2) * n + (2 * d_k + 2 * channels) * n * n
