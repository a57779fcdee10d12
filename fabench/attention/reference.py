"""The truth that every result is checked against: float64, plain, slow, and linear in memory.

Functions of Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] (paper section 3), each in chunks of query rows:

    dot-product softmax attention    softmax_keys(s Q K^T) V
    factorized softmax attention     softmax_channels(Q) (softmax_positions(K)^T V)
    scaled product attention         s Q (K^T V): both families' scaling form, the same function by associativity
    causal scaled product attention  s (L . Q K^T) V with L lower triangular: what other linear attention computes

Gradients are written out instead of left to autograd, which would keep every chunk's map:

    dot product   P = softmax(S), dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(P dP)), dQ = s dS K, dK = s dS^T Q
    factorized    P = softmax(Q), W = softmax_positions(K), C = W^T V; dC = P^T dO, dP = dO C^T, dQ = P (dP - rowsum(P dP)),
                  dV = W dC, dK = W (V dC^T - colsum(C dC)), as sum_n W (V dC^T) = sum_e C dC
    scaled        C = s K^T V; dQ = dO C^T, dC = s Q^T dO, dK = V dC^T, dV = K dC
    causal        A = s L . Q K^T, dA = s L . dO V^T; dQ = dA K, dK = dA^T Q, dV = A^T dO

`padding` [B, M] is True where a key takes no part. Where no key takes part, outputs and gradients are 0.
`rows` selects query rows: outputs and dQ are those rows only, dK and dV those of an upstream gradient that is zero elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from fabench.schema import Case

__all__ = ["FUNCTIONS", "gradients", "output"]

_CHUNK_ELEMENTS = 2**22  # of the n x m map that exist at once, over batch and heads
_Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _hidden(k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys as the softmax sees them (-inf where padding) and values (0 where padding)."""
    if padding is None:
        return k, v
    mask = padding[:, None, :, None]
    return k.masked_fill(mask, -torch.inf), v.masked_fill(mask, 0)


def _softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax that is 0 where every argument is -inf; a NaN stays a NaN."""
    return torch.softmax(x, dim).masked_fill_(x.amax(dim, keepdim=True) == -torch.inf, 0.0)


def _chunks(count: int, per_row: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ELEMENTS // max(1, per_row))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def _map(q: torch.Tensor, k: torch.Tensor, case: Case, padding: torch.Tensor | None) -> torch.Tensor:
    """P = softmax(s Q K^T) for a chunk of rows."""
    scores = case.scale_value * (q @ k.transpose(-1, -2))
    if padding is not None:
        scores = scores.masked_fill(padding[:, None, None, :], -torch.inf)
    return _softmax(scores, -1)


def _per_row(k: torch.Tensor) -> int:
    return k.shape[0] * k.shape[1] * k.shape[2]


def _dot_product(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case, padding: torch.Tensor | None) -> torch.Tensor:
    _, v = _hidden(k, v, padding)
    result = q.new_empty(*q.shape[:-1], v.shape[-1])
    for part in _chunks(q.shape[2], _per_row(k)):
        result[:, :, part] = _map(q[:, :, part], k, case, padding) @ v
    return result


def _dot_product_gradients(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor, case: Case, padding: torch.Tensor | None
) -> _Gradients:
    _, values = _hidden(k, v, padding)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for part in _chunks(q.shape[2], _per_row(k)):
        weights = _map(q[:, :, part], k, case, padding)
        dweights = grad[:, :, part] @ values.transpose(-1, -2)
        dscores = case.scale_value * weights * (dweights - (weights * dweights).sum(-1, keepdim=True))
        dq[:, :, part] = dscores @ k
        dk += dscores.transpose(-1, -2) @ q[:, :, part]
        dv += weights.transpose(-1, -2) @ grad[:, :, part]
    return dq, dk, dv if padding is None else dv.masked_fill(padding[:, None, :, None], 0)


def _factorized(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case, padding: torch.Tensor | None) -> torch.Tensor:
    keys, values = _hidden(k, v, padding)
    return _softmax(q, -1) @ (_softmax(keys, -2).transpose(-1, -2) @ values)


def _factorized_gradients(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor, case: Case, padding: torch.Tensor | None
) -> _Gradients:
    keys, values = _hidden(k, v, padding)
    query_weights, key_weights = _softmax(q, -1), _softmax(keys, -2)
    context = key_weights.transpose(-1, -2) @ values
    dcontext = query_weights.transpose(-1, -2) @ grad
    dweights = grad @ context.transpose(-1, -2)
    dq = query_weights * (dweights - (query_weights * dweights).sum(-1, keepdim=True))
    dv = key_weights @ dcontext
    dk = key_weights * (values @ dcontext.transpose(-1, -2) - (context * dcontext).sum(-1)[:, :, None, :])
    return dq, dk, dv if padding is None else dv.masked_fill(padding[:, None, :, None], 0)


def _scaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case, padding: torch.Tensor | None) -> torch.Tensor:
    _, values = _hidden(k, v, padding)
    return q @ (case.scale_value * (k.transpose(-1, -2) @ values))


def _scaled_gradients(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor, case: Case, padding: torch.Tensor | None
) -> _Gradients:
    _, values = _hidden(k, v, padding)
    dcontext = case.scale_value * (q.transpose(-1, -2) @ grad)
    dq = grad @ (case.scale_value * (k.transpose(-1, -2) @ values)).transpose(-1, -2)
    dk, dv = values @ dcontext.transpose(-1, -2), k @ dcontext
    return dq, dk, dv if padding is None else dv.masked_fill(padding[:, None, :, None], 0)


def _causal(positions: torch.Tensor, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """q k^T where key j is not after the query, whose position is given; else 0."""
    seen = torch.arange(k.shape[2], device=k.device)[None, :] <= positions[:, None]
    return (q @ k.transpose(-1, -2)).masked_fill_(~seen, 0)


def _causal_scaled(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case, padding: torch.Tensor | None, positions: torch.Tensor
) -> torch.Tensor:
    _, values = _hidden(k, v, padding)
    result = q.new_empty(*q.shape[:-1], v.shape[-1])
    for part in _chunks(q.shape[2], _per_row(k)):
        result[:, :, part] = case.scale_value * _causal(positions[part], q[:, :, part], k) @ values
    return result


def _causal_scaled_gradients(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor, case: Case, padding: torch.Tensor | None,
    positions: torch.Tensor,
) -> _Gradients:  # fmt: skip
    _, values = _hidden(k, v, padding)
    dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for part in _chunks(q.shape[2], _per_row(k)):
        weights = case.scale_value * _causal(positions[part], q[:, :, part], k)
        dweights = case.scale_value * _causal(positions[part], grad[:, :, part], values)
        dq[:, :, part] = dweights @ k
        dk += dweights.transpose(-1, -2) @ q[:, :, part]
        dv += weights.transpose(-1, -2) @ grad[:, :, part]
    return dq, dk, dv if padding is None else dv.masked_fill(padding[:, None, :, None], 0)


_OUTPUT: dict[str, Callable[..., torch.Tensor]] = {
    "dot-product softmax attention": _dot_product,
    "factorized softmax attention": _factorized,
    "scaled product attention": _scaled,
    "causal scaled product attention": _causal_scaled,
}
_GRADIENTS: dict[str, Callable[..., _Gradients]] = {
    "dot-product softmax attention": _dot_product_gradients,
    "factorized softmax attention": _factorized_gradients,
    "scaled product attention": _scaled_gradients,
    "causal scaled product attention": _causal_scaled_gradients,
}
FUNCTIONS = tuple(_OUTPUT)


def _where(function: str, q: torch.Tensor, rows: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    """The queries' positions, for the functions that depend on them."""
    if not function.startswith("causal"):
        return ()
    return (torch.arange(q.shape[2], device=q.device) if rows is None else rows.to(q.device),)


def output(
    function: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, case: Case,
    padding: torch.Tensor | None = None, rows: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """O [B, H, N or len(rows), D_v] in float64. Raises KeyError for a function that has no reference."""
    where = _where(function, q, rows)
    q = q if rows is None else q[:, :, rows.to(q.device)]
    return _OUTPUT[function](q.double(), k.double(), v.double(), case, padding, *where)


def gradients(
    function: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, grad: torch.Tensor, case: Case,
    padding: torch.Tensor | None = None, rows: torch.Tensor | None = None,
) -> _Gradients:  # fmt: skip
    """(dQ, dK, dV) in float64 for the upstream gradient `grad` [B, H, N or len(rows), D_v]; dQ has grad's rows."""
    where = _where(function, q, rows)
    q = q if rows is None else q[:, :, rows.to(q.device)]
    return _GRADIENTS[function](q.double(), k.double(), v.double(), grad.double(), case, padding, *where)
