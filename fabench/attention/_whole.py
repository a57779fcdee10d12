import torch
from typing import Any
from torch.autograd.function import once_differentiable
Tensor = torch.Tensor


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights, key_weights, inverse, context = _parts(q, k, v)
        ctx.save_for_backward(weights, key_weights, v, context, inverse)
        return torch.matmul(weights, context)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, key_weights, v, context, inverse = ctx.saved_tensors
        grad_context = torch.matmul(weights.transpose(-1, -2), grad_out)
        grad_weights = torch.matmul(grad_out, context.transpose(-1, -2))
        grad_q = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        delta = torch.linalg.vecdot(context, grad_context).unsqueeze(-2)*inverse
        grad_context *= inverse.transpose(-1, -2)
        grad_v = torch.matmul(key_weights, grad_context)
        grad_k = torch.matmul(v, grad_context.transpose(-1, -2)).sub_(delta).mul_(key_weights)
        return grad_q, grad_k, grad_v


def _parts(q,k,v):
    key_weights = k.exp()
    inverse = key_weights.sum(-2, keepdim=True).reciprocal_()
    context = torch.matmul(key_weights.transpose(-1, -2), v).mul_(inverse.transpose(-1, -2))
    return q.softmax(-1), key_weights, inverse, context

def whole(q,k,v):
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _Attend.apply(q, k, v)
    weights, _, _, context = _parts(q, k, v)
    return torch.matmul(weights, context)
