"""From tensors to launches: shapes checked, strides made ready, memory for what parts leave behind. Reads no value of any tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import torch
import triton.language as tl

from fabench.kernels.factorized import backward as grads
from fabench.kernels.factorized import forward as values
from fabench.kernels.factorized.choice import chosen
from fabench.kernels.factorized.plan import Plan
from fabench.kernels.factorized.tilings import TARGETS, Shape, Target, Tiling

__all__ = ["Kept", "backward", "forward", "launching", "like", "on_target", "ready", "strides", "target_of", "with_tilings"]

Tensor = torch.Tensor
Launcher: TypeAlias = Callable[..., None]


class Kept(NamedTuple):
    """What the forward pass keeps beside Q, K and V: C [B * H, D_k, D_v], 1/l and m [B * H, D_k]; both empty in the scaling form."""

    context: Tensor
    inverse: Tensor
    reference: Tensor


def _launch(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
    kernel[(programs,)](*arguments, **options)


_launcher: ContextVar[Launcher] = ContextVar("launcher", default=_launch)
_target: ContextVar[Target | None] = ContextVar("target", default=None)
_tilings: ContextVar[dict[str, Tiling] | None] = ContextVar("tilings", default=None)


@contextmanager
def launching(launcher: Launcher) -> Iterator[None]:
    """Inside, `launcher(kernel, programs, *arguments, **options)` takes each launch: to compile it, to watch it, to count it."""
    token = _launcher.set(launcher)
    try:
        yield
    finally:
        _launcher.reset(token)


@contextmanager
def on_target(target: Target) -> Iterator[None]:
    """Inside, launches are planned for `target`, whatever device there is."""
    token = _target.set(target)
    try:
        yield
    finally:
        _target.reset(token)


@contextmanager
def with_tilings(tilings: dict[str, Tiling]) -> Iterator[None]:
    """Inside, these kernels take these configurations and all others their fixed ones."""
    token = _tilings.set(tilings)
    try:
        yield
    finally:
        _tilings.reset(token)


def target_of(device: torch.device) -> Target:
    """What launches on `device` are planned for; an H100 where there is no GPU to ask."""
    chosen = _target.get()
    if chosen is not None:
        return chosen
    if device.type != "cuda":
        return TARGETS["sm_90"]
    facts = torch.cuda.get_device_properties(device)
    arch = getattr(facts, "gcnArchName", "").split(":")[0] if torch.version.hip else f"sm_{facts.major}{facts.minor}"
    known = TARGETS.get(arch, TARGETS["sm_80"])
    return Target(arch, facts.multi_processor_count, known.shared_bytes)


def _plan(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, softmax: bool, precision: str) -> Plan:
    (batch, heads, n, d_k), (m, d_v) = q.shape, v.shape[2:]
    dtype = str(q.dtype).removeprefix("torch.")
    shape, target = Shape(batch, heads, n, m, d_k, d_v, dtype, softmax, padding is not None, precision), target_of(q.device)
    tilings = _tilings.get()
    return Plan(shape, target, chosen(shape, target).tilings if tilings is None else tuple(sorted(tilings.items())))


def ready(x: Tensor, part_length: int) -> Tensor:
    """x, or a copy where its channels are not side by side or a part spans more than 32-bit offsets reach."""
    adjacent = x.stride(3) == 1 or x.shape[3] == 1
    return x if adjacent and part_length * abs(x.stride(2)) < 2**31 else x.contiguous()


def strides(*tensors: Tensor) -> tuple[int, list[int]]:
    """STEP, and the strides of batch, head and position of each tensor divided by it; an axis of length 1 has none."""
    found = [stride if size > 1 else 0 for x in tensors for size, stride in zip(x.shape[:3], x.stride()[:3], strict=True)]
    step = math.gcd(8, *found)
    return step, [stride // step for stride in found]


def like(x: Tensor, width: int) -> Tensor:
    """An uninitialised [B, H, N, width] in the memory order of x [B, H, N, D], channels last."""
    order = [*sorted(range(3), key=x.stride().__getitem__, reverse=True), 3]
    return torch.empty_permuted((*x.shape[:3], width), order, dtype=x.dtype, device=x.device)


class _Call:
    """What all launches of one call share."""

    def __init__(self, plan: Plan, q: Tensor) -> None:
        shape = plan.shape
        self.plan, self.q = plan, q
        self.wide = torch.float64 if q.dtype == torch.float64 else torch.float32
        self.channels = {"D_K": shape.d_k, "D_V": shape.d_v, "SOFTMAX": shape.softmax}
        self.types = {"WIDE": tl.float64 if q.dtype == torch.float64 else tl.float32}
        self.launch = _launcher.get()

    def small(self, *sizes: int) -> Tensor:
        """Uninitialised memory in the type of sums."""
        return self.q.new_empty(sizes, dtype=self.wide)

    def options(self, kernel: str) -> dict[str, Any]:
        """The constexprs of a kernel's tiling, and how it is launched."""
        chosen = self.plan.tiling(kernel)
        blocks = {"BLOCK_N": chosen.block_n, "BLOCK_K": chosen.block_k, "BLOCK_V": chosen.block_v}
        launched = {"num_warps": chosen.warps, "num_stages": chosen.stages, "PRECISION": self.plan.shape.precision}
        return self.channels | self.types | blocks | launched

    def combine(self, kernel: Any, count: int, *arguments: Any) -> None:
        """One program for each row of each context."""
        plan, width = self.plan, 1 << (self.plan.shape.d_v - 1).bit_length()
        sizes = {"BLOCK_V": width, "CHUNK": plan.chunk, "CHUNKS": plan.chunks(count), "num_warps": 1 if width <= 64 else 4}
        self.launch(kernel, plan.shape.rows * plan.shape.d_k, *arguments, count, **self.channels, **self.types, **sizes)


def _contexts(call: _Call, k: Tensor, v: Tensor, padding: Tensor | None, scale: float) -> Kept:
    plan, shape = call.plan, call.plan.shape
    count, length = plan.key_parts
    kept = Kept(
        call.small(shape.rows, shape.d_k, shape.d_v),
        *(call.small(shape.rows if shape.softmax else 0, shape.d_k) for _ in range(2)),
    )
    slots = 0 if count == 1 else shape.rows * count
    sums = call.small(slots, shape.d_k, shape.d_v)
    maxima, totals = (call.small(slots if shape.softmax else 0, shape.d_k) for _ in range(2))
    k, v = ready(k, length), ready(v, length)
    step, steps = strides(k, v)
    hidden = k if padding is None else padding.view(torch.uint8)
    hidden_strides = (0, 0) if padding is None else padding.stride()
    tiles_k, tiles_v = plan.tiles("key_contexts")
    call.launch(
        values.key_contexts, shape.rows * count * tiles_k * tiles_v,
        k, v, hidden, sums, maxima, totals, *kept, scale, shape.heads, shape.m, count, length, *steps, *hidden_strides,
        TILES_K=tiles_k, TILES_V=tiles_v, MASKED=padding is not None, WHOLE=count == 1, OPTIMISTIC=plan.optimistic,
        SCALED=plan.scaled, STEP=step, **call.options("key_contexts"),
    )  # fmt: skip
    if count > 1:
        call.combine(values.combine_contexts, count, sums, maxima, totals, *kept, 1.0 if plan.scaled else scale)
    return kept


def forward(
    q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, scale: float, softmax: bool, precision: str
) -> tuple[Tensor, Kept]:
    """O [B, H, N, D_v] and what backward needs. Shapes as in `factorized_attention`; no size may be 0."""
    call = _Call(_plan(q, k, v, padding, softmax, precision), q)
    plan, shape = call.plan, call.plan.shape
    kept = _contexts(call, k, v, padding, scale)
    count, length = plan.query_parts
    q = ready(q, length)
    out = like(q, shape.d_v)
    step, steps = strides(q, out)
    call.launch(
        values.attend, shape.rows * count, q, kept.context, out, shape.heads, shape.n, count, length, *steps,
        TILES_V=plan.tiles("attend")[1], STEP=step, **call.options("attend"),
    )  # fmt: skip
    return out, kept


def _query_gradients(call: _Call, q: Tensor, grad: Tensor, kept: Kept, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """dQ, and what the pass over keys needs: dC / l [B * H, D_k, D_v] and delta / l [B * H, D_k]."""
    plan, shape = call.plan, call.plan.shape
    count, length = plan.query_parts
    q, grad = ready(q, length), ready(grad, length)
    grad_q, whole = like(q, shape.d_k), plan.fused and count == 1
    sums = call.small(0 if whole else shape.rows * count, shape.d_k, shape.d_v)
    grad_context = call.small(shape.rows, shape.d_k, shape.d_v)
    delta = call.small(shape.rows if shape.softmax else 0, shape.d_k)
    step, steps = strides(q, grad, grad_q)
    call.launch(
        grads.query_gradients, shape.rows * count,
        q, grad, kept.context, kept.inverse, grad_q, sums, grad_context, delta, scale, shape.heads, shape.n, count, length, *steps,
        TILES_V=plan.tiles("query_gradients")[1], WHOLE=whole, FUSED=plan.fused, STEP=step, **call.options("query_gradients"),
    )  # fmt: skip
    if not plan.fused:
        tiles_k, tiles_v = plan.tiles("query_contexts")
        step, steps = strides(q, grad)
        call.launch(
            grads.query_contexts, shape.rows * count * tiles_k * tiles_v,
            q, grad, sums, scale, shape.heads, shape.n, count, length, *steps,
            BLOCK_D=1 << (shape.d_k - 1).bit_length(), TILES_K=tiles_k, TILES_V=tiles_v, SCALED=plan.scaled, STEP=step,
            **call.options("query_contexts"),
        )  # fmt: skip
    if not whole:
        after = 1.0 if plan.scaled and not plan.fused else scale
        call.combine(grads.combine_gradients, count, sums, kept.context, kept.inverse, grad_context, delta, after)
    return grad_q, grad_context, delta


def backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, kept: Kept, scale: float, softmax: bool, precision: str
) -> tuple[Tensor, Tensor, Tensor]:
    """dQ, dK and dV for the upstream gradient `grad` [B, H, N, D_v]; what the rest is: see `forward`."""
    call = _Call(_plan(q, k, v, padding, softmax, precision), q)
    plan, shape = call.plan, call.plan.shape
    grad_q, grad_context, delta = _query_gradients(call, q, grad.to(q.dtype), kept, scale)
    count, length = plan.key_parts
    k, v = ready(k, length), ready(v, length)
    grad_k, grad_v = like(k, shape.d_k), like(v, shape.d_v)
    step, steps = strides(k, v, grad_k, grad_v)
    hidden = k if padding is None else padding.view(torch.uint8)
    hidden_strides = (0, 0) if padding is None else padding.stride()
    call.launch(
        grads.key_gradients, shape.rows * count,
        k, v, hidden, kept.reference, grad_context, delta, grad_k, grad_v, shape.heads, shape.m, count, length,
        *steps[:6], *hidden_strides, *steps[6:],
        TILES_V=plan.tiles("key_gradients")[1], MASKED=padding is not None, STEP=step, **call.options("key_gradients"),
    )  # fmt: skip
    return grad_q, grad_k, grad_v
