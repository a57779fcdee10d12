"""What is known of a compiled kernel without running it: one sheet per kernel, case and target."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KERNEL_TYPES", "SHEET_VERSION", "KernelSheet", "SheetFile"]

SHEET_VERSION = 1

# What kernels are asked for by, and the type of the inputs and the precision of float32 products that each means.
KERNEL_TYPES = {
    "bf16": ("bfloat16", "ieee"),
    "fp16": ("float16", "ieee"),
    "fp32": ("float32", "ieee"),
    "tf32": ("float32", "tf32"),
}


@dataclass(frozen=True, slots=True)
class KernelSheet:
    """Facts of the machine code, and what the plan says it moves and multiplies. `reason` says why there is no code, else it is None.

    `spills`: instructions that keep registers in memory. `occupancy`: share of a multiprocessor's warps that fit at once.
    `tensor_instructions`, `loads`, `wide_loads` (128 bit), ...: instructions in the code, not executions. `loop_instructions`: of the
    loop that ordinarily runs, which walks through `loop_positions` positions at a time, all programs together through `walked`; an inner
    loop in it counts once (`nested`).
    `precision`: what float32 products may round to.
    """

    implementation: str
    kernel: str
    target: str
    dtype: str
    precision: str
    d_k: int
    d_v: int
    n: int
    rows: int
    programs: int
    read_bytes: int
    written_bytes: int
    flop: int
    registers: int | None = None
    stack_bytes: int | None = None
    spills: int | None = None
    warps: int | None = None
    shared_bytes: int | None = None
    shared_limit_bytes: int | None = None
    occupancy: float | None = None
    tensor_instructions: int | None = None
    loads: int | None = None
    wide_loads: int | None = None
    stores: int | None = None
    wide_stores: int | None = None
    tiling: str | None = None
    loop_instructions: int | None = None
    loop_positions: int | None = None
    walked: int | None = None
    nested: bool = False
    binary_sha: str | None = None
    reason: str | None = None

    @property
    def slots_per_position(self) -> float | None:
        """Instructions that all warps of a program together issue for a position; None without a loop, or with one inside it."""
        if self.loop_instructions is None or not self.loop_positions or self.warps is None or self.nested:
            return None
        return self.loop_instructions * self.warps / self.loop_positions

    @property
    def key(self) -> str:
        """What is the same thing in two files: everything but the facts of the code."""
        size = f"d={self.d_k}x{self.d_v},n={self.n},rows={self.rows}"
        return f"{self.implementation}/{self.kernel}/{self.target}/{self.dtype}:{self.precision}/{size}"


@dataclass(frozen=True, slots=True)
class SheetFile:
    """Sheets, and the compiler that they came from."""

    triton: str
    sheets: tuple[KernelSheet, ...]
    version: int = SHEET_VERSION
