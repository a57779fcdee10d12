"""A Triton driver for a GPU that is not here: it answers which GPU is meant, and launches become compilations.

So the implementation's own host code runs, on tensors without memory, and what it would launch is what is compiled, specialisation by
specialisation. Triton keeps compiled kernels by device and not by target: a process compiles for one target only.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver

from fabench.inspect import binary

__all__ = ["compiler_for", "facts"]

_TOOL_TIMEOUT_S = 60


class _Absent:
    """The few questions that Triton's host code asks a driver."""

    def __init__(self, target: GPUTarget) -> None:
        self._target = target

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")


def compiler_for(target: str, seen: Callable[[str, int, Any, dict[str, Any]], None]) -> Callable[..., None]:
    """A launcher that compiles for `target` ("sm_90", "gfx942") and gives kernel, programs, code or exception, and options to `seen`."""
    gpu = GPUTarget("hip", target, 64) if target.startswith("gfx") else GPUTarget("cuda", int(target.removeprefix("sm_")), 32)
    driver.set_active(_Absent(gpu))

    def compile_one(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
        try:
            code = kernel.warmup(*arguments, grid=(programs,), **options)
        except Exception as error:  # whatever a compiler says is this kernel's result
            code = error
        seen(kernel.__name__, programs, code, options)

    return compile_one


def facts(target: str, code: Any, warps: int) -> dict[str, Any]:
    """What the machine code says, by the names of `KernelSheet`."""
    shared = int(code.metadata.shared)
    if target.startswith("gfx"):
        raw, found = code.asm["hsaco"], binary.amd(code.asm["amdgcn"])
    else:
        raw = code.asm["cubin"]
        found = binary.nvidia(*_disassembled(raw))
    known = dict(found, shared_bytes=shared, binary_sha=hashlib.sha256(raw).hexdigest()[:16])
    return known | {"occupancy": binary.occupancy(target, found["registers"] or 0, shared, warps)}


def _disassembled(cubin: bytes) -> tuple[str, str]:
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        commands = ([str(tools / "cuobjdump"), "--dump-resource-usage"], [str(tools / "nvdisasm"), "-c"])
        resources, sass = (
            subprocess.run(
                [*command, str(path)], capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True, env=os.environ | {"LC_ALL": "C"}
            ).stdout
            for command in commands
        )  # fmt: skip
    return resources, sass
