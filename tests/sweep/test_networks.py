"""A network whose attention map does not fit: its cell ends as out of memory, and the same measuring side goes on."""

from collections.abc import Iterator

import pytest

from fabench import positions
from fabench.positions import Attention
from fabench.schema import Cell, Job, Measure, Record
from fabench.sweep.launch import ForkServer

MEASURE = Measure(min_samples=1, max_s=0.0, warmup_max_s=0.0, threads=1)
# 48 x 16 x 32 positions on the volume of a 64x128 pair: a map of 2.4 GB.
LIMIT_BYTES = 3 * 2**29


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    running = ForkServer(MEASURE)
    yield running
    running.close()


def run(server: ForkServer, implementation: str) -> Record:
    case = positions.network_case("stereo", "volume", Attention(implementation), 64, 128, backbone="basic")
    job = Job(Cell(implementation, "cpu", case), MEASURE, LIMIT_BYTES, LIMIT_BYTES)
    return server.run(job, 120.0, lambda name: None)


def test_a_map_that_does_not_fit_ends_its_cell_alone(server: ForkServer) -> None:
    large = run(server, "dot_product")
    assert large.status == "out_of_memory"
    assert large.reason is not None and "2415919104 bytes" in large.reason
    assert (large.timing, large.memory) == (None, None)
    small = run(server, "factorized")
    assert (small.status, small.reason) == ("ok", None)
    assert small.timing is not None and small.memory is not None
    assert small.memory.peak_bytes < LIMIT_BYTES
