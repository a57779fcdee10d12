"""Rules for what a cell's memory has beside `fabench.cost`'s prediction: reasons, each with least and most bytes from the case alone.

Exact where the case leaves no choice (biases, the map that a form without softmax doesn't need), a range where implementations are
free. The ranges are in copies of Q, K and V at most, so they never reach to a tensor of another order: a map of n x m in an
implementation that is declared linear in memory stays unexplained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabench.cost import Cost
from fabench.schema import Case

__all__ = ["Reason", "Sizes", "of_inputs", "of_output", "of_saved", "of_working"]

_FLOAT_BYTES = 4  # sums of half precision are kept in float32
_INDEX_BYTES = 8
_NUMBERS_BYTES = 64  # the scalars of a call, each in a block of its own


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a measured line may differ from its prediction, by `low_bytes` to `high_bytes`."""

    text: str
    low_bytes: int
    high_bytes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """A case's tensors in bytes, over batch and heads. `wide` is the size of an element of sums, `rows` one such number per query."""

    case: Case
    time_order: int
    memory_order: int

    @property
    def heads(self) -> int:
        """Batch times heads."""
        return self.case.batch * self.case.heads

    @property
    def keys(self) -> int:
        """Key positions after pooling."""
        axes = min(2, len(self.case.dimensions))
        return self.case.m // math.prod([self.case.pool or 1] * axes)

    @property
    def wide(self) -> int:
        """Bytes of an element of sums."""
        return max(_FLOAT_BYTES, self.case.element_bytes)

    @property
    def elements(self) -> int:
        """Elements of Q, K and V together."""
        return self.heads * (self.case.n * self.case.d_k + self.keys * (self.case.d_k + self.case.d_v))

    @property
    def outputs(self) -> int:
        """Elements of the core's output."""
        return self.heads * self.case.n * self.case.d_v

    @property
    def rows(self) -> int:
        """One number of sums per query row."""
        return self.heads * self.case.n * self.wide

    @property
    def map(self) -> int:
        """Elements of an n x m map."""
        return self.heads * self.case.n * self.keys

    @property
    def context(self) -> int:
        """Elements of the d_k x d_v contexts."""
        return self.heads * self.case.d_k * self.case.d_v

    @property
    def mask(self) -> int:
        """The padding mask, one byte per key."""
        return self.case.batch * self.case.m if self.case.mask == "padding" else 0

    @property
    def biases(self) -> int:
        """The biases of a module's projections."""
        case = self.case
        if case.scope == "core" or case.channels is None:
            return 0
        put_out = case.heads * (2 * case.d_k + case.d_v) + (case.channels if case.reprojection else 0)
        return case.element_bytes * put_out

    @property
    def unpooled(self) -> int:
        """K and V before pooling, and the index of each maximum; 0 without pooling."""
        case = self.case
        if case.pool in (None, 1):
            return 0
        width = case.d_k + case.d_v
        return self.heads * (case.n * width * case.element_bytes + self.keys * width * _INDEX_BYTES)


def _applying(*reasons: Reason) -> tuple[Reason, ...]:
    return tuple(one for one in reasons if one.low_bytes or one.high_bytes)


def of_inputs(sizes: Sizes) -> tuple[Reason, ...]:
    """Biases, exactly."""
    return _applying(Reason("biases of the projections", sizes.biases, sizes.biases))


def of_output(sizes: Sizes, known: Cost) -> tuple[Reason, ...]:
    """What exists of the outputs at the peak: all or a part."""
    gradients = known.input_bytes if sizes.case.needs_gradients else 0
    biases = sizes.biases if sizes.case.needs_gradients else 0
    return _applying(
        Reason("not all of it exists at the peak, or shares another tensor's memory", -known.output_bytes - gradients, 0),
        Reason("gradients of the biases", 0, biases),
    )


def of_saved(sizes: Sizes) -> tuple[Reason, ...]:
    """What autograd keeps beyond v1's formula, or in place of a part of it."""
    case, size = sizes.case, sizes.case.element_bytes
    linear, fused = sizes.time_order == 1, sizes.time_order == 2 and sizes.memory_order == 1
    masked = sizes.mask * (1 + sizes.wide) if case.scope == "core" else 0
    # A sequence's reprojection keeps that very tensor, which is counted; an image's keeps a copy in another order.
    shared = case.scope == "module" and case.reprojection and case.space is None
    put_out = 0 if shared else size * sizes.outputs
    channels = 2 * sizes.heads * case.d_k * sizes.wide if linear and case.normalisation == "softmax" else 0
    context = sizes.context * (sizes.wide - size)
    widened = (sizes.elements + sizes.map + sizes.outputs) * (sizes.wide - size)
    return _applying(
        Reason("the padding mask, as it is and as numbers", 0, masked),
        Reason("maximum and 1/l of each key channel", 0, channels),
        Reason("the context in float32", 0, context if linear else 0),
        Reason(
            "a fused kernel keeps its output and a number per row, and no context",
            -size * sizes.context if fused else 0,
            put_out + sizes.rows - size * sizes.context if fused else 0,
        ),
        Reason("all of it in float32", 0, widened if sizes.memory_order == 2 else 0),
        Reason("K and V before pooling, and where their maxima were", 0, sizes.unpooled),
    )


def of_working(sizes: Sizes, known: Cost) -> tuple[Reason, ...]:
    """What stands at the peak beside the tensors that the prediction knows, or is not there yet."""
    case, size = sizes.case, sizes.case.element_bytes
    quadratic, gradients = sizes.memory_order == 2, case.needs_gradients
    absent = known.output_bytes + (known.input_bytes if gradients else 0)
    inside = 0 if case.scope == "core" else size * (sizes.elements + sizes.outputs)
    one_less = -size * sizes.map if quadratic and case.normalisation == "scaling" else 0
    copies = (2 if gradients else 1) * (sizes.elements + sizes.outputs) * sizes.wide
    widened = (3 if gradients else 2) * (sizes.wide - size) + size if sizes.wide > size and quadratic else 0
    sums = 3 * sizes.context * sizes.wide + 4 * sizes.heads * (case.d_k + case.d_v) * sizes.wide
    return _applying(
        Reason("outputs or gradients that do not exist yet at the peak", -absent, 0),
        Reason("projections that do not exist any more, or not yet", -inside, inside if gradients else 0),
        Reason("no softmax, so one map less", one_less, one_less),
        Reason("maps in float32, and one rounded", 0, widened * sizes.map),
        Reason("copies or tiles of Q, K, V and the output (softmaxes, exponentials), with gradients also theirs", 0, copies),
        Reason(
            "contexts, sums and maxima of the key channels, numbers per row, scalars", 0, sums + 4 * sizes.rows + _NUMBERS_BYTES
        ),
        Reason("the padding mask as numbers", 0, sizes.mask * (1 + sizes.wide)),
        Reason("gradients of the biases", 0, sizes.biases if gradients else 0),
        Reason("K and V before pooling, and where their maxima were", 0, (2 if gradients else 1) * sizes.unpooled),
    )
