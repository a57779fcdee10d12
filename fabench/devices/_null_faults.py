"""Faults that a script plants, in the words and with the types that torch, Triton, the C++ runtime and the kernel use for them.

After a sticky error every operator of the process raises the same, as on a device whose context is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

import torch

from fabench.devices._null_script import Fault

__all__ = ["OutOfResources", "Planted"]


# Older versions of torch raise RuntimeError alone.
_ACCELERATOR_ERROR: type[Exception] = getattr(torch, "AcceleratorError", RuntimeError)


class OutOfResources(Exception):
    """By this name Triton says that one program wants more shared memory than there is."""


_STICKY = {
    "illegal_access": "CUDA error: an illegal memory access was encountered",
    "device_assert": "CUDA error: device-side assert triggered",
    "misaligned": "CUDA error: misaligned address",
    "launch_failure": "CUDA error: unspecified launch failure",
    "launch_timeout": "CUDA error: the launch timed out and was terminated",
    "ecc": "CUDA error: uncorrectable ECC error encountered",
    "unknown": "CUDA error: unknown error",
    "lost": "CUDA error: GPU has fallen off the bus",
}
_OTHER: dict[str, tuple[type[Exception], str]] = {
    "out_of_memory": (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 20.00 GiB"),
    "out_of_resources": (OutOfResources, "out of resource: shared memory, Required: 131072, Hardware limit: 101376"),
    "host_memory": (MemoryError, ""),
    "host_allocator": (RuntimeError, "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
    "error": (ValueError, "a planted error of the code itself"),
}


class Planted:
    """The faults of one cell; `phase` is where the cell is."""

    def __init__(self, faults: Sequence[Fault], cell: str) -> None:
        self.phase = "prepare"
        self._waiting = [fault for fault in faults if fault.cell in cell]
        self._surfaces: Fault | None = None
        self._sticky: Fault | None = None
        self._spoilt: str | None = None

    def follow(self, phase: str) -> None:
        """The cell enters a phase."""
        self.phase = phase

    @property
    def spoils(self) -> bool:
        """Whether results of this phase are NaN."""
        return self._spoilt == self.phase

    def operator(self) -> None:
        """An operator is submitted."""
        if self._sticky is not None:
            raise _error(self._sticky)
        for fault in [fault for fault in self._waiting if fault.phase == self.phase]:
            self._waiting.remove(fault)
            if fault.asynchronous:
                self._surfaces = fault
            else:
                self._happen(fault)

    def wait(self) -> None:
        """The host waits for the device: what happened there comes to light."""
        if self._sticky is not None:
            raise _error(self._sticky)
        if self._surfaces is not None:
            fault, self._surfaces = self._surfaces, None
            self._happen(fault)

    def _happen(self, fault: Fault) -> None:
        if fault.what == "nan":
            self._spoilt = self.phase
        elif fault.what in ("hang", "signal", "exit", "bad_alloc"):
            _end_process(fault)
        else:
            self._sticky = fault if fault.what in _STICKY else None
            raise _error(fault)


def _error(fault: Fault) -> Exception:
    if fault.what in _STICKY:
        return (_ACCELERATOR_ERROR if fault.accelerator else RuntimeError)(f"{_STICKY[fault.what]} [scripted]")
    kind, text = _OTHER[fault.what]
    return kind(f"{text} [scripted]") if text else kind()


def _end_process(fault: Fault) -> None:
    if fault.what == "signal":
        os.kill(os.getpid(), signal.Signals[fault.signal])
    elif fault.what == "exit":
        os._exit(fault.status)
    elif fault.what == "bad_alloc":
        sys.stderr.write("terminate called after throwing an instance of 'std::bad_alloc' [scripted]\n")
        sys.stderr.flush()
        os.abort()
    time.sleep(24 * 3600.0)  # hangs; after a signal, until it comes
