"""The CPU against the contract of a device. Calls of known time are loops that watch a clock; others share the machine, so the best of
many samples counts, which only a clock that reads wrong can move.
"""

from __future__ import annotations

import mmap
import time

import pytest
import torch

from fabench.devices.base import Call, Work, load
from fabench.schema import Measure
from tests.devices.contract import Contract, Rig


def busy(seconds: float) -> Work:
    """A loop that ends by CLOCK_MONOTONIC_RAW, which is neither of the clocks that samples are read by first."""

    def call() -> None:
        end = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) + round(seconds * 1e9)
        while time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) < end:
            pass

    return Work(call)


def allocate(size: int) -> Call:
    return lambda: torch.empty(size, dtype=torch.uint8)


class TestContract(Contract):
    @pytest.fixture
    def rig(self) -> Rig:
        device = load("cpu")
        device.prepare(Measure(threads=1))
        return Rig(
            device,
            work=busy,
            pause=time.sleep,
            allocate=allocate,
            durations_s=(300e-6, 2e-3),
            reads=min,
            samples=5,
            most=500,
            window_s=1e-3,
        )


def test_both_clocks_of_a_sample_read_the_same_calls() -> None:
    batch = load("cpu").stopwatch("perf_counter", busy(1e-3), False, lambda: None).take(2, 9)
    assert len(batch.witness_s) == len(batch.samples_s) == len(batch.minor_faults) == 9
    differences = [abs(sample - witness) / sample for sample, witness in zip(batch.samples_s, batch.witness_s, strict=True)]
    assert min(differences) < 1e-3


def test_pages_touched_for_the_first_time_are_counted_with_their_sample() -> None:
    blocks: list[torch.Tensor] = []  # mapped anew: malloc may hand out pages that another test has touched

    def touch_new() -> None:
        blocks.append(torch.frombuffer(mmap.mmap(-1, 2**25), dtype=torch.float64).fill_(1.0))

    touch = Work(touch_new)
    fresh = load("cpu").stopwatch("perf_counter", touch, False, lambda: None).take(1, 3)
    idle = load("cpu").stopwatch("perf_counter", Work(lambda: None), False, lambda: None).take(1, 3)
    assert min(fresh.minor_faults) >= 8  # 32 MiB, in pages of 4 KiB or of 2 MiB
    assert min(idle.minor_faults) == 0
