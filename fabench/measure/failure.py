"""What an error means: which status it is, and in plain words what went wrong and what usually causes it.

Three ways to lack room are three statuses (see `fabench.schema.Status`). A sticky error is one after which every call of the process
fails alike, because the device's context is gone (CUDA's runtime documents which: "the process must be terminated and relaunched"):
nothing more may be tried in this process. A lost device outlives the process, so its other cells can't run either.

Errors are told apart by their words, because torch raises the same fault as RuntimeError or AcceleratorError, compilers and tuners
wrap it in errors of their own, and other drivers than CUDA word it alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from fabench.schema import Record, Status

__all__ = ["ended"]

_MOST = 300  # characters of an error's own text
_NO_ROOM = ("out of resource", "outofresources", "too many resources requested")
_NO_HOST_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc")
_NO_MEMORY = ("out of memory", "alloc_failed", "cudaerrormemoryallocation")


@dataclass(frozen=True, slots=True)
class _Fault:
    """A sticky error by words that its text has, its name, and where it usually comes from. `lost`: the device itself is gone."""

    words: tuple[str, ...]
    name: str
    cause: str
    lost: bool = False


_FAULTS = (
    _Fault(
        ("fallen off the bus", "gpu is lost", "gpu has been lost", "device lost", "device_lost", "device is lost"),
        "the device was lost",
        "it no longer answers on its bus: usually power, heat, the slot or the driver; the kernel's log says more",
        lost=True,
    ),
    _Fault(
        ("uncorrectable ecc", "eccuncorrectable", "ecc error"),
        "the device's memory has an error that it can't correct",
        "usually worn memory: the driver retires the page, often only after a reset",
    ),
    _Fault(("nvlink",), "a link between devices failed", "usually its cable, bridge or the other device"),
    _Fault(
        ("illegal memory access", "illegaladdress", "memory access fault"),
        "a kernel read or wrote memory that is not its own",
        "usually an index, stride or size that is wrong or overflows 32 bits",
    ),
    _Fault(
        ("device-side assert", "device assert"),
        "an assertion inside a kernel failed",
        "usually an index out of range",
    ),
    _Fault(
        ("misaligned address", "misalignedaddress"),
        "a kernel used an address that is not aligned to what it reads",
        "usually wide loads from a view that begins at an odd element",
    ),
    _Fault(
        ("illegal instruction", "invalid program counter", "hardware stack error", "operation not supported on global"),
        "a kernel ran into code that the device can't execute",
        "usually code built for another device, or a stack that overflowed",
    ),
    _Fault(
        ("launch timed out", "launchtimeout"),
        "the driver ended a kernel that ran too long",
        "usually a device that also drives a display, which limits how long a kernel may run",
    ),
    _Fault(
        ("unspecified launch failure", "launch failure", "launchfailure"),
        "a kernel was ended by an exception on the device",
        "usually an invalid pointer or shared memory out of bounds",
    ),
    _Fault(
        ("cuda error: unknown error", "hip error: unknown error", "cudaerrorunknown"),
        "the driver failed without a word for it",
        "usually the driver or the device itself, after a suspend or a hardware fault",
    ),
)  # fmt: skip


def ended(record: Record, error: Exception, phase: str, device: str) -> Record:
    """The record of a cell that `error` ended in `phase`; what was measured before stays in it."""
    for link in _chain(error):
        text = " ".join(str(link).split())[:_MOST] or type(link).__name__
        fault = next((fault for fault in _FAULTS if _says(link, fault.words)), None)
        if fault is not None and device != "cpu":
            reason = f"in {phase}: {fault.name} ({fault.cause}); nothing more was tried in this process: {text}"
            return replace(record, status=Status.CRASHED, reason=reason, device_lost=fault.lost)
        lacking = _lacks(link, device)
        if lacking is not None:
            return replace(record, status=lacking, reason=f"in {phase}: {text}")
    text = " ".join(str(error).split())[:_MOST] or type(error).__name__
    return replace(record, status=Status.CRASHED, reason=f"in {phase}: {type(error).__name__}: {text}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, then those that it was raised from or while handling."""
    link: BaseException | None = error
    seen: list[BaseException] = []
    while link is not None and link not in seen:
        seen.append(link)
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _says(error: BaseException, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def _lacks(error: BaseException, device: str) -> Status | None:
    """Of what there was not enough, or None. On a CPU the device's memory is the host's."""
    if type(error).__name__ == "OutOfResources" or _says(error, _NO_ROOM):
        return Status.OUT_OF_RESOURCES
    if isinstance(error, torch.OutOfMemoryError):
        return Status.OUT_OF_MEMORY
    if isinstance(error, MemoryError) or _says(error, _NO_HOST_MEMORY):
        return Status.OUT_OF_MEMORY if device == "cpu" else Status.OUT_OF_HOST_MEMORY
    return Status.OUT_OF_MEMORY if _says(error, _NO_MEMORY) else None
