"""The null device: what its scripts say is what its clocks, its allocator and its driver tell; and that it says it is scripted."""

import gc
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fabench.devices._null_noise import Disturbance
from fabench.devices._null_script import CLOCKS, Fault, Levels, Noise, Ramp, Throttle
from fabench.devices.base import Call, Unfit, Work, load
from fabench.devices.null import Device
from fabench.errors import UsageError
from fabench.schema import Measure
from tests.devices.contract import Contract, Rig, nothing

Play = Callable[[str], Device]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """A null device that plays a script."""

    def make(script: str) -> Device:
        (tmp_path / "script.toml").write_text(script)
        monkeypatch.setenv("FABENCH_NULL", str(tmp_path / "script.toml"))
        device = load("null")
        assert isinstance(device, Device)
        device.prepare(Measure())
        return device

    return make


def writes(bytes_: int) -> Work:
    """A call of one operator that touches so many bytes and allocates none."""
    block = torch.zeros(bytes_, dtype=torch.uint8)
    return Work(lambda: block.fill_(1), bytes_, lambda: lambda: block.fill_(1))


class TestContract(Contract):
    @pytest.fixture
    def rig(self, play: Play) -> Rig:
        device = play(
            "speed = {bytes_per_s = 1e8, operator_s = 1e-9, launch_s = 250e-6, cold = 1}\nnoise = {jitter = 0}\n[clocks]\nqueue = 4096"
        )

        def allocate(bytes_: int) -> Call:
            return lambda: torch.zeros(bytes_, dtype=torch.uint8)

        return Rig(
            device=device,
            work=lambda seconds: writes(round(seconds * 1e8)),
            pause=device.pass_time,
            allocate=allocate,
            durations_s=(1e-3, 4e-3),
            slow=lambda device_s, host_s: writes(round(device_s * 1e8)),
        )


def test_it_says_plainly_that_it_is_scripted(play: Play) -> None:
    facts = play('title = "Throttles"').describe()
    assert facts["scripted"] is True
    assert facts["name"] == "null device, scripted: Throttles"
    assert len(facts["script"]) == 16
    assert all(clock.startswith("null_") for clock in CLOCKS)


def test_without_a_script_it_is_steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FABENCH_NULL", raising=False)
    facts = load("null:1").describe()
    assert (facts["name"], facts["script"], facts["scripted"]) == ("null device, scripted: a steady device", "built in", True)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("nois = {}", "nois is not known"),
        ("noise = {jiter = 0.1}", "noise.jiter is not known"),
        ('noise = {jitter = "much"}', "noise.jitter is 'much', not a finite number"),
        ("noise = {correlation = 1}", "noise: correlation is 1"),
        ("noise = {levels = {stay = 0.5}}", "noise.levels.times is missing"),
        ('fault = [{what = "gremlins"}]', "fault: what is 'gremlins', must be one of out_of_memory"),
        ('fault = [{what = "signal", signal = "SIGNOTHING"}]', "signal is 'SIGNOTHING'"),
        ('clocks = {unfit = {sundial = "night"}}', "unfit.sundial is no clock"),
        ('driver = {unsupported = ["tea"]}', "unsupported has 'tea'"),
        ("memory = {bytes = 0}", "bytes is 0, must be above 0"),
        ('digest = "x"', "digest is not known"),
        ("noise = {", "end of document"),
    ],
)
def test_a_mistake_in_a_script_is_one_line_that_names_it(script: str, error: str, play: Play) -> None:
    with pytest.raises(UsageError) as raised:
        play(script)
    assert error in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("FABENCH_NULL=")


def test_a_script_that_is_not_there_is_why_the_device_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FABENCH_NULL", str(tmp_path / "none.toml"))
    assert load("null").missing() == f"FABENCH_NULL={tmp_path / 'none.toml'}: No such file or directory"


@pytest.mark.parametrize("name", ["null:", "null:x", "null:1:2"])
def test_other_names_are_not_there(name: str) -> None:
    assert "there is no device" in (load(name).missing() or "")


@pytest.mark.parametrize(("work_s", "launch_s", "host_s"), [(300e-6, 100e-6, 310e-6), (50e-6, 100e-6, 110e-6)])
def test_the_hosts_clock_reads_launches_where_they_are_slower(play: Play, work_s: float, launch_s: float, host_s: float) -> None:
    device = play(f"speed = {{bytes_per_s = 1e8, operator_s = 1e-9, launch_s = {launch_s}}}\nnoise = {{jitter = 0}}")
    work = writes(round(work_s * 1e8))
    read = {clock: device.stopwatch(clock, work, False, nothing).take(1, 1).samples_s[0] for clock in CLOCKS}
    assert read == pytest.approx({"null_event": work_s, "null_graph": work_s, "null_host": host_s})


def test_an_operator_takes_as_long_as_its_bytes_or_its_operations(play: Play) -> None:
    device = play("speed = {bytes_per_s = 1e9, flop_per_s = 1e9, operator_s = 1e-5}")
    a, out = torch.ones(64, 64), torch.empty(64, 64)
    assert device.spent(lambda: torch.mm(a, a, out=out)).busy_s == pytest.approx(2 * 64**3 / 1e9)
    assert device.spent(lambda: torch.add(a, a, out=out)).busy_s == pytest.approx(3 * 64 * 64 * 4 / 1e9)
    assert device.spent(lambda: torch.add(a[:1, :1], 1)).busy_s == 1e-5
    views = device.spent(lambda: a.view(-1).unsqueeze(0).transpose(0, 1))
    assert (views.busy_s, views.launches) == (0.0, 0)


def test_cold_takes_longer_and_a_graph_says_what_it_goes_through(play: Play) -> None:
    device = play("speed = {call_s = 1e-3, cold = 1.5}\nnoise = {jitter = 0}")
    work = writes(30 * 2**20)
    for clock in CLOCKS[:2]:
        watch = device.stopwatch(clock, work, True, nothing)
        assert watch.take(2, 1).samples_s[0] == pytest.approx(1.5e-3)
    assert watch.touched_bytes == 4 * 30 * 2**20  # more than twice the cache
    for other, why in ((writes(2**20), "copies"), (Work(work.call), "no copies")):
        with pytest.raises(Unfit, match=why):
            device.stopwatch("null_graph", other, True, nothing)


def test_a_full_queue_deadlocks_once_and_then_takes_fewer(play: Play) -> None:
    device = play("speed = {call_s = 1e-3}\nclocks = {queue = 100, timeout_s = 1}")
    watch = device.stopwatch("null_event", writes(64), False, nothing)
    before = device.now_s()
    assert len(watch.take(30, 16).samples_s) == 2  # 16, 8, 4 of 30 launches each are too many
    assert 3 < device.now_s() - before < 3.2
    assert watch.batch == 2
    before = device.now_s()
    assert len(watch.take(30, 16).samples_s) == 2
    assert device.now_s() - before < 1
    with pytest.raises(Unfit, match="deadlocked"):
        watch.take(101, 1)


def test_a_call_that_waits_inside_is_for_the_hosts_clock_unless_it_says_so(play: Play) -> None:
    device = play("speed = {call_s = 1e-3}\nclocks = {synchronises = true}")
    work = writes(64)
    with pytest.raises(Unfit, match="deadlocked"):
        device.stopwatch("null_event", work, False, nothing).take(1, 4)
    with pytest.raises(Unfit, match="captured"):
        device.stopwatch("null_graph", work, False, nothing)
    assert device.stopwatch("null_host", work, False, nothing).take(1, 1).blocked is None
    said = Work(work.call, synchronises=True)
    assert device.stopwatch("null_event", said, False, nothing).take(1, 1).blocked is False


def test_one_clock_steps_and_the_other_does_not(play: Play) -> None:
    device = play("speed = {call_s = 1e-3}\nnoise = {jitter = 0}\nclocks = {step_at_s = 0.005, step_s = 0.25, skew = 0.1}")
    event, graph = (device.stopwatch(clock, writes(64), False, nothing) for clock in CLOCKS[:2])
    samples = event.take(1, 8).samples_s
    assert sorted(samples)[:-1] == pytest.approx([1.1e-3] * 7)
    assert max(samples) == pytest.approx(0.2511)
    assert graph.take(1, 3).samples_s == pytest.approx((1e-3,) * 3)


def factors(noise: Noise, count: int, every_s: float = 1e-3, cell: str = "a") -> list[float]:
    disturbance = Disturbance(noise, 0, cell)
    return [disturbance.factor(index * every_s) for index in range(count)]


@given(st.floats(0, 0.3), st.floats(-0.9, 0.9))
def test_jitter_has_median_one_and_the_scripted_spread(jitter: float, correlation: float) -> None:
    logs = [math.log(factor) for factor in factors(Noise(jitter=jitter, correlation=correlation), 4000)]
    wider = math.sqrt((1 + correlation) / (1 - correlation))  # by so much a correlated mean is less certain
    mean = sum(logs) / len(logs)
    assert abs(mean) <= 6 * jitter * wider / math.sqrt(len(logs)) + 1e-12
    assert math.sqrt(sum(value * value for value in logs) / len(logs)) == pytest.approx(jitter, rel=0.3, abs=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.5])
def test_samples_keep_the_scripted_part_of_the_last_one(correlation: float) -> None:
    logs = [math.log(factor) for factor in factors(Noise(jitter=0.1, correlation=correlation), 20_000)]
    kept = sum(a * b for a, b in pairwise(logs)) / sum(value * value for value in logs)
    assert kept == pytest.approx(correlation, abs=0.03)


def test_drift_ramp_throttle_and_levels_are_as_scripted() -> None:
    assert factors(Noise(jitter=0, drift_per_s=0.5), 3, 1.0) == pytest.approx([1.0, 1.5, 2.0])
    ramp = factors(Noise(jitter=0, ramp=Ramp(times=3, within_s=1)), 3, 1.0)
    assert ramp == pytest.approx([3.0, 1 + 2 / math.e, 1 + 2 / math.e**2])
    assert factors(Noise(jitter=0, throttle=Throttle(after_s=2, times=1.4)), 4, 1.0) == pytest.approx([1, 1, 1.4, 1.4])
    levels = factors(Noise(jitter=0, levels=Levels(times=2, stay=0.9)), 10_000)
    assert set(levels) == {1.0, 2.0}
    changes = sum(a != b for a, b in pairwise(levels))
    assert changes / len(levels) == pytest.approx(0.1, abs=0.01)


def test_the_same_cell_meets_the_same_noise_and_another_one_other() -> None:
    assert factors(Noise(), 50) == factors(Noise(), 50)
    assert factors(Noise(), 50) != factors(Noise(), 50, cell="b")


def test_its_memory_is_what_an_allocator_would_count(play: Play) -> None:
    device = play("[memory]\nblock_bytes = 512\nsegment_bytes = 4096\ncontext_bytes = 1000000\n[driver]\nforeign_bytes = 5000")
    kept: list[torch.Tensor] = []

    def call() -> None:
        kept.append(torch.zeros(100, dtype=torch.uint8))
        torch.zeros(1000, dtype=torch.uint8)
        torch.zeros(600, dtype=torch.uint8)

    with device.measuring("cell"):
        held = torch.zeros(5000, dtype=torch.uint8)
        peak = device.peak(call)
        again = device.peak(lambda: None)
    assert held.nbytes == 5000
    assert (peak.baseline_bytes, peak.baseline_requested_bytes) == (5120, 5000)
    assert (peak.delta_bytes, peak.requested_bytes) == (512 + 1024, 100 + 1000)
    assert peak.reserved_bytes == 8192
    assert peak.process_bytes == 8192 + 1_000_000
    assert peak.device_bytes == 8192 + 1_000_000 + 5000
    assert (again.baseline_bytes, again.delta_bytes) == (5120 + 512, 0)


def test_what_does_not_fit_is_out_of_memory(play: Play) -> None:
    device = play("[memory]\nbytes = 1000000\ncontext_bytes = 0")
    with device.measuring("cell"):
        torch.zeros(900_000, dtype=torch.uint8)
        held = torch.zeros(600_000, dtype=torch.uint8)
        with pytest.raises(torch.OutOfMemoryError, match="scripted"):
            torch.zeros(500_000, dtype=torch.uint8)
    assert held.nbytes == 600_000


def test_the_driver_tells_what_is_scripted_and_refuses_what_is_not_supported(play: Play) -> None:
    device = play(
        "speed = {call_s = 1e-3}\nnoise = {jitter = 0, throttle = {after_s = 0.1, times = 2, reasons = ['hw_slowdown']}}\n"
        "driver = {sm_hz = 1000, power_w = 200, foreign_processes = 2, ecc_errors = 1, unsupported = ['temperature']}"
    )
    observer = device.observer()
    watch = device.stopwatch("null_event", writes(64), False, observer.look)
    for _ in range(20):
        watch.take(1, 10)
    told = observer.finish()
    first, last = told.looks[0], told.looks[-1]
    assert (first.at_s, first.sm_hz, first.power_w, first.reasons) == (0.0, 1000, 200, ())
    assert (last.sm_hz, last.power_w, last.reasons, last.temperature_c) == (500, 100, ("hw_slowdown",), None)
    assert len(told.looks) < 22
    assert (told.foreign_processes, told.ecc_errors) == (2, 1)
    assert told.reads_failed == ("temperature: not supported [scripted]",)


@pytest.mark.parametrize(("step_s", "known"), [(0.05, True), (0.5, False), (100.0, False)])
def test_energy_is_read_from_a_counter_that_steps_or_not_at_all(play: Play, step_s: float, known: bool) -> None:
    device = play(f"speed = {{call_s = 1e-3}}\nnoise = {{jitter = 0}}\ndriver = {{power_w = 200, energy_step_s = {step_s}}}")
    joules = device.energy(writes(64).call)
    assert joules == (pytest.approx(0.2, rel=0.05) if known else None)


STICKY = ["illegal_access", "device_assert", "misaligned", "launch_failure", "launch_timeout", "ecc", "unknown", "lost"]


@pytest.mark.parametrize("kind", [RuntimeError, getattr(torch, "AcceleratorError", RuntimeError)])
@pytest.mark.parametrize("what", STICKY)
def test_after_a_sticky_error_every_operator_raises_the_same(what: str, kind: type[Exception], play: Play) -> None:
    accelerator = str(kind is not RuntimeError).lower()
    device = play(f"fault = [{{what = '{what}', phase = 'timing', accelerator = {accelerator}}}]")
    work = writes(64)
    with device.measuring("cell") as follow:
        work.call()
        follow("timing")
        texts = set()
        for call in (work.call, work.call, device.synchronise, lambda: device.peak(work.call)):
            with pytest.raises(kind) as raised:
                call()
            assert type(raised.value) is kind
            texts.add(str(raised.value))
    assert len(texts) == 1
    work.call()


def test_an_asynchronous_fault_comes_to_light_when_the_host_waits(play: Play) -> None:
    device = play("fault = [{what = 'illegal_access', phase = 'check', asynchronous = true}]")
    work = writes(64)
    with device.measuring("cell") as follow:
        follow("check")
        work.call()
        with pytest.raises(RuntimeError, match="illegal"):
            device.synchronise()
        with pytest.raises(RuntimeError, match="illegal"):
            work.call()
    with device.measuring("cell") as follow:
        follow("check")
        block = torch.ones(1)
        with pytest.raises(RuntimeError, match="illegal"):
            block.item()


def test_a_fault_is_for_the_cells_that_it_names(play: Play) -> None:
    device = play("fault = [{what = 'error', phase = 'timing', cell = 'factorized/null:1/'}]")
    for cell, fails in (("factorized/null:1/core", True), ("factorized/null/core", False)):
        with device.measuring(cell) as follow:
            follow("timing")
            if fails:
                with pytest.raises(ValueError, match="planted"):
                    torch.ones(1)
            else:
                torch.ones(1)


def test_spoilt_results_are_not_finite_in_that_phase_only(play: Play) -> None:
    device = play("fault = [{what = 'nan', phase = 'first call'}]")
    with device.measuring("cell") as follow:
        follow("first call")
        spoilt = torch.ones(3) * 2
        follow("check")
        fine = torch.ones(3) * 2
    assert bool(spoilt.isnan().all())
    assert bool((fine == 2).all())


def test_outside_a_cell_operators_are_left_alone(play: Play) -> None:
    device = play("fault = [{what = 'error', phase = 'prepare'}]")
    torch.ones(1)
    device.stopwatch("null_event", writes(64), False, nothing).take(1, 1)
    gc.collect()
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []


def test_every_fault_has_words_of_its_own() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Fault(what="other")
