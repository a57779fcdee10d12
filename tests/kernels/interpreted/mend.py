"""The interpreter's bfloat16, mended: it stores bit patterns, multiplies them as whole numbers and cuts off what hardware rounds.

And, for Triton 3.6 beside numpy 2.4, ranges whose ends are arguments: numpy no longer makes a number of an array with one element.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import triton.language as tl
from triton.runtime import interpreter

Bits = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]


def rounded(x: Floats) -> Bits:
    """To nearest, ties to even, as hardware does."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    result = ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), result)


def widened(bits: Bits) -> Floats:
    """Exactly."""
    return (np.ascontiguousarray(bits).astype(np.uint32) << 16).view(np.float32)


@contextmanager
def mended() -> Iterator[None]:
    """Inside, conversions round and products are taken of numbers."""
    builder: Any = interpreter.InterpreterBuilder
    cast, dot, convert = builder.cast_impl, builder.create_dot, builder.create_fp_to_fp
    handle, patch = interpreter.TensorHandle, interpreter._patch_lang_tensor

    def cast_impl(self: Any, source: Any, target: Any) -> Any:
        before, after = source.dtype.scalar, target.scalar
        if before == tl.bfloat16 and after in (tl.float32, tl.float64):
            return handle(widened(source.data).astype(interpreter._get_np_dtype(after)), after)
        if before in (tl.float32, tl.float64) and after == tl.bfloat16:
            return handle(rounded(source.data.astype(np.float32)), after)
        return cast(self, source, target)

    def create_fp_to_fp(self: Any, source: Any, target: Any, rounding: Any) -> Any:
        if tl.bfloat16 in (source.dtype.scalar, target.scalar):
            return cast_impl(self, source, target)
        return convert(self, source, target, rounding)

    def create_dot(self: Any, a: Any, b: Any, d: Any, precision: Any, inexact: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = handle(widened(a.data), tl.float32), handle(widened(b.data), tl.float32)
        return dot(self, a, b, d, precision, inexact)

    def patch_lang_tensor(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    builder.cast_impl, builder.create_dot, builder.create_fp_to_fp = cast_impl, create_dot, create_fp_to_fp
    interpreter._patch_lang_tensor = patch_lang_tensor
    try:
        # Hardware gives Inf and NaN without a word, and an optimistic kernel looks for them in its sums.
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    finally:
        interpreter._patch_lang_tensor = patch
        builder.cast_impl, builder.create_dot, builder.create_fp_to_fp = cast, dot, convert
