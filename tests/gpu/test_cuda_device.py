"""The CUDA device on hardware: its clock, its flush, its memory. Never run so far."""

import pytest
import torch

from fabench.devices.base import load
from fabench.measure import cell
from fabench.schema import Case, Cell, Job, Measure

pytestmark = pytest.mark.gpu


def test_the_event_clock_agrees_with_the_host() -> None:
    import time

    device = load("cuda")
    device.prepare(Measure())
    a = torch.randn(4096, 4096, device="cuda")
    device.sample(lambda: a @ a, 10, cold=False)
    start = time.perf_counter()
    seconds = device.sample(lambda: a @ a, 50, cold=False)
    elapsed = (time.perf_counter() - start) / 50
    assert seconds == pytest.approx(elapsed, rel=0.1)


def test_cold_samples_are_not_faster_than_hot_ones() -> None:
    device = load("cuda")
    device.prepare(Measure())
    small = torch.randn(2**18, device="cuda")
    out = torch.empty_like(small)
    hot = min(device.sample(lambda: torch.mul(small, 2, out=out), 100, cold=False) for _ in range(5))
    cold = min(device.sample(lambda: torch.mul(small, 2, out=out), 100, cold=True) for _ in range(5))
    assert cold >= 0.95 * hot


def test_the_peak_is_what_was_allocated() -> None:
    device = load("cuda")
    device.prepare(Measure())
    assert device.peak(lambda: torch.empty(2**20, dtype=torch.float32, device="cuda")).delta_bytes == 2**22


@pytest.mark.parametrize("name", ["dot_product", "factorized", "sdpa_flash", "sdpa_efficient", "sdpa_cudnn", "sdpa_math"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_cells_end_ok_or_say_why(name: str, dtype: str) -> None:
    case = Case(n=2048, m=2048, heads=4, dtype=dtype, mode="fwd_bwd")
    record = cell.run(Job(Cell(name, "cuda", case), Measure(max_s=0.1)), lambda phase: None)
    assert record.status in ("ok", "unsupported"), record.reason
