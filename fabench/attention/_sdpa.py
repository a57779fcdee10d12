"""torch's scaled_dot_product_attention with one backend forced, and proof of which kernel ran.

`sdpa_kernel` alone is no proof: what torch falls back to depends on its version and device. So every case is probed on a small tensor
(two batch elements and heads at most) of the same dtype, head dimensions, mask and gradient need; a dispatch mode records the operators that ran, and anything else than the backend's own is
reported as unsupported.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, register_flop_formula

from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["core", "reason"]

_FUSED = ("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention")
_PROBE_POSITIONS = 64


def core(case: Case, backend: SDPBackend) -> Core:
    """The forced backend: Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] -> softmax(scale Q K^T) V."""
    scale = case.scale_value

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        if backend != SDPBackend.MATH:
            # Fused kernels refuse channels that are not adjacent, as those of an image's heads are: the copy is part of the call.
            q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
        # torch's mask is True where a key takes part. Left to broadcast over the queries: torch makes numbers of what it is given, and
        # of an expanded mask it would make n x m.
        mask = None if padding is None else ~padding[:, None, None, :]
        with sdpa_kernel([backend]):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    return attend


class _Operators(TorchDispatchMode):
    """Remembers the names of all operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__ if hasattr(func, "overloadpacket") else str(func))
        return func(*args, **(kwargs or {}))


def reason(case: Case, device: str, backend: SDPBackend, operator: str | None) -> str | None:
    """Why the backend can't run `case`, in torch's words, or None. `operator`: the start of its operator's name; None for math."""
    if case.normalisation != "softmax":
        return "scaled_dot_product_attention has no scaling form"
    if device.startswith("null"):
        return "which of torch's kernels would run is a matter of the device, and this one is scripted"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            ran = _probe(case, device, backend)
        except (RuntimeError, ValueError) as error:
            return _words(error, [str(entry.message) for entry in said])
    fused = sorted(name for name in ran if name.startswith(_FUSED) and not name.endswith("backward"))
    if operator is None:
        return f"torch ran {fused[0]} instead" if fused else None
    if not any(name.startswith(operator) for name in fused):
        return f"torch ran {fused[0] if fused else 'its math kernel'} instead"
    return None


def _probe(case: Case, device: str, backend: SDPBackend) -> set[str]:
    """The operators of one small call (with its backward pass where the case has one)."""
    dtype: torch.dtype = getattr(torch, case.dtype)
    n, m = min(case.n, _PROBE_POSITIONS), min(case.m, _PROBE_POSITIONS)
    batch, heads = min(case.batch, 2), min(case.heads, 2)
    shapes = ((batch, heads, n, case.d_k), (batch, heads, m, case.d_k), (batch, heads, m, case.d_v))
    q, k, v = (torch.ones(shape, dtype=dtype, device=device, requires_grad=case.needs_gradients) for shape in shapes)
    padding = None
    if case.mask == "padding":
        padding = torch.zeros(batch, m, dtype=torch.bool, device=device)
    with _Operators() as operators:
        output = core(case, backend)(q, k, v, padding)
        if case.needs_gradients:
            output.sum().backward()
    names: set[str] = operators.names
    return names


def _words(error: Exception, warned: list[str]) -> str:
    """torch's reasons as one line: what it warned of says why, the error only that nothing was left."""
    reasons = []
    for text in warned:
        line = text.split("(Triggered internally")[0].strip()
        if line and not line.endswith("because:") and "has been runtime disabled" not in line and line not in reasons:
            reasons.append(line)
    return " ".join(reasons or [" ".join(str(error).split())])[:300]


def _flash_forward_flop(q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """4 B H n m d from the shapes [B, H, n, d] and [B, H, m, d]."""
    return int(4 * q[0] * q[1] * q[2] * k[2] * q[3])


def _flash_backward_flop(grad: Any, q: Any, k: Any, v: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """10 B H n m d: the map once more, and two products for each of the two factors."""
    return int(10 * q[0] * q[1] * q[2] * k[2] * q[3])


# torch's counter knows the flash kernel of GPUs, not the one of CPUs.
for _suffix, _formula in (("", _flash_forward_flop), ("_backward", _flash_backward_flop)):
    _operator = getattr(torch.ops.aten, f"_scaled_dot_product_flash_attention_for_cpu{_suffix}", None)
    if _operator is not None and _operator not in flop_registry:
        register_flop_formula(_operator)(_formula)
