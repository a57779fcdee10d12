"""torch's scaled_dot_product_attention, the memory-efficient backend forced: the kernel that came from xFormers; GPUs only.

Computes softmax_keys(s Q K^T) V, "dot-product softmax attention" (paper section 3). Cost family: quadratic in n in time;
the n x m map exists in tiles only, so memory is linear while time stays quadratic.
"""

from __future__ import annotations

from torch.nn.attention import SDPBackend

from fabench.attention import _sdpa
from fabench.attention.base import Core
from fabench.schema import Case

__all__ = ["prepare", "supports"]

TIME_ORDER = 2
MEMORY_ORDER = 1
COMPUTES = {"softmax": "dot-product softmax attention"}


def supports(case: Case, device: str) -> str | None:
    """torch's reason where this backend can't run the case."""
    return _sdpa.reason(case, device, SDPBackend.EFFICIENT_ATTENTION, operator="_scaled_dot_product_efficient_attention")


def prepare(case: Case, device: str) -> Core:
    """The core with this backend, and no other, allowed."""
    return _sdpa.core(case, SDPBackend.EFFICIENT_ATTENTION)
