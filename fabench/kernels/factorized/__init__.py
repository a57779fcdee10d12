"""Factorized attention as fused kernels: forward and backward, each tensor read once and written once.

Paper: "Factorized Attention: Self-Attention with Linear Complexities" (arXiv 1812.01243 v1, section 3; later "Efficient Attention").
With Q [n, d_k], K [m, d_k], V [m, d_v] of one head:

    softmax     O = softmax_channels(Q) (softmax_positions(K)^T V)
    scaling     O = Q (s K^T V)

**Forward.** K enters through one maximum m and one sum l per channel, so a single walk over K and V suffices (online softmax: when the
maximum rises, what was added up so far shrinks by exp(old - new)):

    m = max_n K      l = sum_n exp(K - m)      C = exp(K - m)^T V / l      O = P C,  P = softmax_channels(Q)

The normaliser is folded into the small context C, so no weight is ever divided.

**Backward.** Write W = exp(K - m) / l. From O = P C and C = W^T V:

    dC = P^T dO                         dV = W dC
    dP = dO C^T                         dW = V dC^T
    dQ = P * (dP - rowsum(P * dP))      dK = W * (dW - delta),  delta[d] = sum_n W dW = sum_e C[d, e] dC[d, e]

The last equality is what makes one pass over K enough: delta comes from two small matrices, and O is never needed. Kept for backward,
beyond the inputs: C, m and 1/l, d_k (d_v + 2) numbers per head, whatever n is. m and 1/l, not log-sum-exp: exp(K - m) is exact where it
is 1, and 1/l is folded into dC and delta.

**Passes.** A walk over positions is cut into parts (`plan.parts`: about two programs per multiprocessor, 1,024 positions at least), so
that one head fills a GPU. What parts leave behind is added up in a fixed order: equal calls give equal bits.

    forward     key_contexts       K, V -> m, l, C of each part        combine_contexts     -> C, m, 1/l        attend           Q, C -> O
    backward    query_gradients    Q, dO, C -> dQ, dC of each part     combine_gradients    -> dC/l, delta/l    key_gradients    K, V, dC -> dK, dV

With one part the combine is left out. Bytes: forward 4 tensors, backward 7, the least there is, and beside them what the parts leave
(`plan.Plan` counts both). Where d_k d_v exceeds what a program can hold, contexts are cut into tiles: K and V are then read once per
tile of the other, and dC takes a kernel of its own (`query_contexts`). A program holds 128 x 128, but 64 x 64 without tensor cores; and
at 128 channels backward cuts on sm_86, sm_89 and sm_120, and on sm_80 in tf32 for queries.

**Numbers.** Sums in float32 (float64 for float64). `precision` is what float32 products may round to: "ieee" or "tf32". Unnormalised
weights are at most 1; in float16, where dC / l would vanish, products run on dC scaled to 1.

**Instructions.** Bytes decide only as long as instructions keep up. A running maximum over K rescales the context at every tile and takes
38 issue slots a position (64 channels, bfloat16), half of what an H100 has in the time the bytes take, and more than a B200 has. So for
bfloat16 `key_contexts` is optimistic: the maximum of a part's first tile serves for all of it. Any m gives the same quotient while the
sums are far from overflow and from vanishing, which they tell at the end; where they are not, the part is walked through once more,
exactly. With sums taken by tensor cores, 21 slots (sm_90) and 22 (sm_100) are left: 55 % and 58 %. A walk that starts again reads its part
twice. (The bound is counted in compiled code; what it is worth in time nobody has measured.)

**Tiles.** Each kernel has one fixed configuration per target, so equal calls give equal bits on equal devices. `fabench tune` times the
few others that compile without a spill, and keeps what is faster for this device, type and width; every record says what ran (`choice`).

Nothing here has run on a GPU: numbers come from Triton's interpreter, machine code from its compiler.
"""

from __future__ import annotations

import torch

from fabench.kernels.factorized import host
from fabench.kernels.factorized.host import launching, on_target
from fabench.kernels.factorized.op import attend
from fabench.kernels.factorized.plan import Plan
from fabench.kernels.factorized.tilings import TARGETS, Shape, Target

__all__ = [
    "PRECISIONS",
    "TARGETS",
    "Plan",
    "Shape",
    "Target",
    "factorized_attention",
    "host",
    "launching",
    "on_target",
    "unsupported",
]

PRECISIONS = ("ieee", "tf32")
_DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
_LARGEST_WIDTH = 256


def unsupported(dtype: torch.dtype, d_k: int, d_v: int) -> str | None:
    """Why no kernel is there for these, or None."""
    if dtype not in _DTYPES:
        return f"no kernel for {str(dtype).removeprefix('torch.')}; take bfloat16, float16, float32 or float64"
    if max(d_k, d_v) > _LARGEST_WIDTH:
        return f"{max(d_k, d_v)} channels per head are more than {_LARGEST_WIDTH}; take more heads"
    return None


def factorized_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None = None, *, scale: float | None = None,
    precision: str = "ieee",
) -> torch.Tensor:  # fmt: skip
    """O [B, H, N, D_v] of Q [B, H, N, D_k], K [B, H, M, D_k] and V [B, H, M, D_v], differentiable once.

    Softmax form; with a `scale` the scaling form. `padding` [B, M] is True where a key takes no part; where none does, O is 0.
    Any strides: channels that are not side by side are copied first. Under autocast the inputs take its type.
    Raises ValueError for shapes, types or a precision that don't fit.
    """
    if torch.is_autocast_enabled(q.device.type):
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    _require(q, k, v, padding, precision)
    out: torch.Tensor = attend(q, k, v, padding, 1.0 if scale is None else scale, scale is None, precision)[0]
    return out


def _require(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None, precision: str) -> None:
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ValueError(f"q, k and v are [B, H, N, D], not of {q.ndim}, {k.ndim} and {v.ndim} axes")
    if not (q.shape[:2] == k.shape[:2] == v.shape[:2] and q.shape[3] == k.shape[3] and k.shape[2] == v.shape[2]):
        raise ValueError(
            f"q {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)} don't fit: [B, H, N, D_k], [B, H, M, D_k], [B, H, M, D_v]"
        )
    if not (q.dtype == k.dtype == v.dtype and q.device == k.device == v.device):
        raise ValueError(f"q, k and v differ in type or device: {q.dtype} {q.device}, {k.dtype} {k.device}, {v.dtype} {v.device}")
    reason = unsupported(q.dtype, q.shape[3], v.shape[3])
    if reason is not None:
        raise ValueError(reason)
    if padding is not None and (
        padding.shape != (k.shape[0], k.shape[2]) or padding.dtype != torch.bool or padding.device != k.device
    ):
        raise ValueError(
            f"padding must be boolean, {(k.shape[0], k.shape[2])} and on {k.device}, not {padding.dtype} {tuple(padding.shape)} on {padding.device}"
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, must be one of {', '.join(PRECISIONS)}")
