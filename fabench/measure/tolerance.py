"""How far from float64 a correct implementation may be, derived from roundings; nothing here is fitted to an implementation.

Errors are measured in norm: ||x - ref||_F / ||ref||_F. With u_s the unit roundoff of the stored dtype, u_a that of the accumulator
(float32 for the half types), a chain of operations adds up

    R u_s            R roundings of stored intermediates on the longest path
    S u_s            the softmax's argument is rounded to u_s |s|, which moves a weight by that much relatively. |s| is taken where
                     the weight is: for logits of standard deviation sigma, softmax tilts their mean to sigma^2, so S = sigma^2 + sigma
    u_a sqrt(L)      a sum of L products of random sign: rounding errors of a sequential sum reach u_a sqrt(L / 2) of its size
    S u_a (sqrt(d_k) + 2 sqrt(C))   where sigma is measured, on a network's maps: errors of the products behind a logit grow with it
    m eta / 2        weights near 1/m stored in float16 lie among its subnormals (spacing eta = 2^-24): relative error m eta / 2

    R = 4 forward (weights of Q and K or map, context, output, the normaliser), 6 more backward, where two of them pass a
    difference (dP - delta) and count twice.

and the sum is doubled: the terms are standard errors of a typical element, not bounds. A result of zeros has error 1, a wrong 1 % of
the rows error 0.1. A single wrong row is caught by the second criterion: max|x - ref| <= 4 tolerance max|ref| (an element's error
exceeds its standard error fourfold in 1 of 16,000 elements, while max|ref| exceeds the typical element four- to fivefold).
"""

from __future__ import annotations

import math

from fabench.schema import Case

__all__ = ["WORST_FACTOR", "tolerance"]

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_SUBNORMAL_SPACING = {"float16": 2.0**-24}
WORST_FACTOR = 4.0
_SAFETY = 2.0


def tolerance(case: Case, function: str, gradient: bool, sigma: float | None = None) -> float:
    """The largest admissible relative error of an output, or of a gradient, of `case`.

    `sigma`: root mean square of the softmax's argument, where it was measured; None for N(0, 1) inputs.
    """
    stored = UNIT_ROUNDOFF[case.dtype]
    accumulated = min(stored, UNIT_ROUNDOFF["float32"])
    roundings = 4.0 + (8.0 if gradient else 0.0) + (4.0 if case.scope == "module" else 0.0)
    products = 0.0 if sigma is None else math.sqrt(case.d_k) + 2 * math.sqrt(case.channels or 0)
    sigma = _logit_sigma(case, function) if sigma is None else sigma
    argument = sigma * sigma + sigma
    sums = math.sqrt(case.d_k) + math.sqrt(case.d_v) + math.sqrt(max(case.n, case.m))
    if case.channels is not None:
        sums += 2 * math.sqrt(case.channels)
    subnormal = max(case.n, case.m) * _SUBNORMAL_SPACING.get(case.dtype, 0.0) / 2
    return _SAFETY * ((roundings + argument) * stored + accumulated * (sums + argument * products) + subnormal)


def _logit_sigma(case: Case, function: str) -> float:
    """Standard deviation of the softmax's argument for N(0, 1) inputs; 0 where there is no softmax."""
    if case.normalisation == "scaling":
        return 0.0
    if function.startswith("factorized"):
        return 1.0
    return math.sqrt(case.d_k) * case.scale_value
