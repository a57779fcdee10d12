"""What an error means, for each way in which drivers, torch, compilers and the host word it."""

import pytest
import torch

from fabench.measure.failure import ended
from fabench.schema import Case, Cell, Record, Status

RECORD = Record(Cell("factorized", "cuda", Case(n=8, m=8)), Status.OK, flop=7)


class OutOfResources(Exception):
    """As Triton names it."""


def wrapped(inner: Exception, outer: Exception, cause: bool) -> Exception:
    """`outer`, raised from `inner` or while it was handled."""
    if cause:
        outer.__cause__ = inner
    else:
        outer.__context__ = inner
    return outer


# Source of the wording: torch's allocators and CUDA's runtime (torch 2.6 to 2.14), Triton 3, Inductor's tuner, glibc and libstdc++.
LACKS = [
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.1 GiB"), "out_of_memory"),
    (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
    (RuntimeError("HIP out of memory. Tried to allocate"), "out_of_memory"),
    (RuntimeError("Triton Error [CUDA]: out of memory"), "out_of_memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out_of_memory"),
    (OutOfResources("shared memory"), "out_of_resources"),
    (RuntimeError("No valid triton configs. OutOfMemoryError: out of resource: triton_ Required: 147456 Hardware limit:101376"), "out_of_resources"),
    (RuntimeError("CUDA error: too many resources requested for launch"), "out_of_resources"),
    (MemoryError(), "out_of_host_memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_host_memory"),
    (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."), "out_of_host_memory"),
    (RuntimeError("std::bad_alloc"), "out_of_host_memory"),
    (OSError(12, "Cannot allocate memory"), "out_of_host_memory"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status"), LACKS, ids=lambda value: str(value)[:50])
def test_three_ways_to_lack_room_are_three_statuses(error: Exception, status: str) -> None:
    record = ended(RECORD, error, "timing", "cuda")
    assert record.status == status
    assert (record.reason or "").startswith("in timing: ")
    assert record.flop == 7


def test_on_a_cpu_the_hosts_memory_is_the_devices() -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("std::bad_alloc")):
        assert ended(RECORD, error, "check", "cpu").status == "out_of_memory"


STICKY = [
    ("CUDA error: an illegal memory access was encountered", "memory that is not its own (usually an index"),
    ("HIP error: an illegal memory access was encountered", "memory that is not its own"),
    ("CUDA error: device-side assert triggered", "an assertion inside a kernel failed (usually an index out of range)"),
    ("CUDA error: misaligned address", "not aligned"),
    ("CUDA error: unspecified launch failure", "ended by an exception on the device"),
    ("CUDA error: the launch timed out and was terminated", "ran too long"),
    ("CUDA error: an illegal instruction was encountered", "the device can't execute"),
    ("CUDA error: uncorrectable ECC error encountered", "can't correct (usually worn memory"),
    ("CUDA error: uncorrectable NVLink error detected during the execution", "a link between devices failed"),
    ("CUDA error: unknown error", "without a word for it"),
]


@pytest.mark.parametrize("kind", [RuntimeError, getattr(torch, "AcceleratorError", RuntimeError)])
@pytest.mark.parametrize(("text", "words"), STICKY, ids=lambda value: str(value)[:40])
def test_a_sticky_error_names_the_fault_and_its_usual_cause(text: str, words: str, kind: type[Exception]) -> None:
    record = ended(RECORD, kind(f"{text}\nCUDA kernel errors might be asynchronously reported"), "warm-up", "cuda")
    assert (record.status, record.device_lost) == ("crashed", False)
    assert words in (record.reason or "")
    assert text in (record.reason or "")
    assert "\n" not in (record.reason or "")
    assert "nothing more was tried in this process" in (record.reason or "")


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: GPU has fallen off the bus",
        "GPU is lost",
        "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
    ],
)
def test_a_lost_device_is_told_apart(text: str) -> None:
    record = ended(RECORD, RuntimeError(text), "timing", "cuda")
    assert (record.status, record.device_lost) == ("crashed", True)
    assert "the device was lost" in (record.reason or "")


@pytest.mark.parametrize("cause", [True, False])
def test_what_others_wrap_is_found(cause: bool) -> None:
    inner = RuntimeError("CUDA error: misaligned address")
    assert "not aligned" in (ended(RECORD, wrapped(inner, ValueError("tuning failed"), cause), "compile", "cuda").reason or "")
    inner = torch.OutOfMemoryError("CUDA out of memory")
    assert ended(RECORD, wrapped(inner, KeyError("x"), cause), "compile", "cuda").status == "out_of_memory"


def test_an_error_that_hides_its_context_stands_for_itself() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("on purpose") from None
    except ValueError as error:
        assert ended(RECORD, error, "check", "cuda").reason == "in check: ValueError: on purpose"


def test_other_errors_are_crashes_of_one_line() -> None:
    record = ended(RECORD, ZeroDivisionError("division\nby zero" + "!" * 999), "check", "cuda")
    assert record.status == "crashed"
    assert (record.reason or "").startswith("in check: ZeroDivisionError: division by zero!")
    assert len(record.reason or "") < 350
