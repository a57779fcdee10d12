"""A launch of the noise sheet, on a processor whose products take scripted time."""

import gc
import itertools
import time

import pytest
import torch

from fabench.devices.cpu import Device
from fabench.measure.noise import CLASSES_S, noise_floor

FLOP_PER_S, OVERHEAD_S = 4e10, 1e-6


@pytest.fixture
def slower(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Products take their operations at a scripted rate times the factor held here; clocks see only that, and a step for each look."""
    factor, now, tick = [1.0], [100.0], itertools.count()

    def multiply(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> None:
        now[0] += factor[0] * (OVERHEAD_S + 2 * a.shape[0] ** 3 / FLOP_PER_S)

    def clock() -> float:
        return now[0] + next(tick) * 1e-10

    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr(time, "perf_counter", clock)
    monkeypatch.setattr(gc, "collect", lambda: 0)  # 0.3 s each time in a process that has run other tests
    return factor


def test_each_class_has_work_of_its_duration_and_a_few_medians(slower: list[float]) -> None:
    answer = noise_floor(Device("cpu"))
    assert list(answer["classes"]) == ["2e-05", "0.0002", "0.002", "0.02"]
    for seconds, entries in zip(CLASSES_S, answer["classes"].values(), strict=True):
        assert len(entries) == 3
        for entry in entries:
            assert entry["median_s"] == pytest.approx(seconds, rel=0.3)
            assert entry["minor_faults"] >= 0
            assert entry["involuntary_switches"] >= 0
    for name, (side, count) in answer["work"].items():
        assert 1 <= count <= 8
        exact = count * (OVERHEAD_S + 2 * side**3 / FLOP_PER_S)
        assert answer["classes"][name][0]["median_s"] == pytest.approx(exact, rel=1e-3)
    assert 0 < answer["clock_step_s"] < 1e-9


def test_a_later_launch_does_the_same_work_and_shows_what_differs_in_its_process(slower: list[float]) -> None:
    first = noise_floor(Device("cpu"))
    slower[0] = 1.25
    second = noise_floor(Device("cpu"), first["work"])
    assert second["work"] == first["work"]
    for name in first["classes"]:
        assert second["classes"][name][0]["median_s"] / first["classes"][name][0]["median_s"] == pytest.approx(1.25, rel=1e-3)
