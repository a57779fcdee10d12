"""Cells measured in this process: real implementations, and planted faults that must end as the right status."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fabench import cost
from fabench.attention import base
from fabench.catalogue import implementations
from fabench.devices import base as devices
from fabench.measure import cell, check, inputs, memory, subject
from fabench.measure.tolerance import tolerance
from fabench.schema import Case, Cell, Job, Measure, Record, from_json, to_json

QUICK = Measure(warmup_s=0.001, max_s=0.01, min_samples=3, min_sample_s=1e-5)

MODULE: dict[str, Any] = {"channels": 32, "reprojection": True, "residual": True, "pool": 1}


def run(implementation: str, measure: Measure = QUICK, **fields: Any) -> Record:
    case = Case(**({"n": 48, "m": 48, "heads": 2, "d_k": 8, "d_v": 16} | fields))
    phases: list[str] = []
    record = cell.run(Job(Cell(implementation, "cpu", case), measure), phases.append)
    assert phases[-1] == "end"
    assert from_json(Record, to_json(record)) == record
    return record


@pytest.mark.parametrize("mode", ["fwd", "bwd", "fwd_bwd"])
@pytest.mark.parametrize("name", [name for name, facts in implementations().items() if not facts.compiles])
def test_every_implementation_ends_ok_or_says_why(name: str, mode: str) -> None:
    record = run(name, mode=mode, d_k=16)
    if record.status == "unsupported":
        assert record.reason
        return
    assert (record.status, record.reason) == ("ok", None)
    assert record.check is not None
    assert record.timing is not None
    assert record.memory is not None
    assert record.check.passed
    assert [error.name for error in record.check.tensors] == (["output"] if mode == "fwd" else ["output", "dq", "dk", "dv"])
    assert all(sample > 0 for sample in record.timing.samples_s)
    assert record.memory.peak_bytes == record.memory.baseline_bytes + record.memory.delta_bytes
    assert (record.memory.saved_bytes is None) == (mode == "fwd")
    assert record.memory.reserved_bytes is None
    assert record.memory.process_bytes is None


@pytest.mark.parametrize("scope", ["core", "module"])
def test_flops_are_counted(scope: str) -> None:
    extra = MODULE if scope == "module" else {}
    for name, order in (("factorized", 1), ("factorized_plain", 1), ("dot_product", 2)):
        record = run(name, scope=scope, **extra)
        assert record.flop == cost.of(record.cell.case, order, order).flop, name


def plant(monkeypatch: pytest.MonkeyPatch, core: Callable[..., torch.Tensor]) -> None:
    """Lets every implementation's file answer with `core`."""
    real = base.load

    def load(name: str) -> base.Implementation:
        module = SimpleNamespace(supports=lambda case, device: None, prepare=lambda case, device: core)
        return base.Implementation(real(name).facts, module)  # type: ignore[arg-type]

    monkeypatch.setattr(base, "load", load)


def plain(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: Any = None) -> torch.Tensor:
    return q.softmax(-1) @ (k.softmax(-2).transpose(-1, -2) @ v)


WRONG: dict[str, Callable[..., torch.Tensor]] = {
    "zeros": lambda q, k, v, p: 0 * plain(q, k, v),
    "other function": lambda q, k, v, p: torch.nn.functional.scaled_dot_product_attention(q, k, k.repeat(1, 1, 1, 2)),
    "one row": lambda q, k, v, p: plain(q, k, v).index_fill(2, torch.tensor([q.shape[2] - 1]), 0.0),
    "nan": lambda q, k, v, p: plain(q, k, v).index_fill(2, torch.tensor([0]), float("nan")),
    "shape": lambda q, k, v, p: plain(q, k, v)[:, :, :-1],
    "dropped key": lambda q, k, v, p: plain(q, k[:, :, 1:], v[:, :, 1:]),
    "slightly off": lambda q, k, v, p: plain(q, k, v) * 1.0001,
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_result_is_incorrect_and_never_timed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, WRONG[fault])
    record = run("factorized")
    assert record.status == "incorrect"
    assert record.reason
    assert record.reason.startswith("output")
    assert record.timing is None
    assert record.memory is None
    assert record.check is not None
    assert not record.check.passed


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * 1.01


@pytest.mark.parametrize("mode", ["bwd", "fwd_bwd"])
def test_a_wrong_gradient_is_incorrect(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda q, k, v, p: plain(q, _WrongGradient.apply(k), v))
    record = run("factorized", mode=mode)
    assert record.status == "incorrect"
    assert record.reason
    assert record.reason.startswith("dk is off float64 by 0.01")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "out_of_memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
            "out_of_memory",
        ),
        (type("OutOfResources", (Exception,), {})("shared memory"), "out_of_resources"),
        (RuntimeError("CUDA error: an illegal memory access"), "crashed"),
        (ZeroDivisionError("division\nby zero"), "crashed"),
    ],
)
def test_errors_become_statuses_with_a_reason_of_one_line(error: Exception, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> torch.Tensor:
        raise error

    plant(monkeypatch, fail)
    record = run("factorized")
    assert record.status == status
    assert record.reason is not None
    assert record.reason.startswith("in first call: ")
    assert "\n" not in record.reason


def test_what_was_timed_stays_when_the_memory_pass_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(memory, "measure_memory", fail)
    record = run("factorized")
    assert record.status == "out_of_memory"
    assert record.timing is not None


def test_what_is_known_before_a_call_stays_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> torch.Tensor:
        raise ValueError("planted")

    plant(monkeypatch, fail)
    monkeypatch.setattr(base.Implementation, "configuration", lambda *arguments: {"tiles": "64 x 64"})
    record = run("factorized")
    assert (record.status, record.configuration) == ("crashed", {"tiles": "64 x 64"})
    assert (record.function, record.time_order) == ("factorized softmax attention", 1)


def test_seconds_that_a_tuner_spent_are_a_column_and_none_where_there_was_no_tuner() -> None:
    autotuner = pytest.importorskip("triton.runtime.autotuner")
    record = run("factorized")
    assert record.timing is not None
    assert record.timing.autotune_s is None
    idle, busy, other = (autotuner.Autotuner.__new__(autotuner.Autotuner) for _ in range(3))
    busy.bench_time, other.bench_time = 1.25, 0.5
    record = run("factorized")
    assert record.timing is not None
    assert record.timing.autotune_s == 1.75
    del idle


@pytest.mark.parametrize("mode", ["fwd", "bwd", "fwd_bwd"])
@pytest.mark.parametrize("name", [name for name, facts in implementations().items() if not facts.compiles])
def test_the_scripted_device_runs_what_needs_no_gpu_through_everything(
    name: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FABENCH_NULL", raising=False)
    case = Case(n=32, m=32, heads=2, d_k=16, d_v=16, mode=mode)
    phases: list[str] = []
    record = cell.run(Job(Cell(name, "null", case), replace(QUICK, energy=True)), phases.append)
    if base.load(name).supports(case, "null") is not None:
        assert record.status == "unsupported"
        return
    assert (record.status, record.reason) == ("ok", None)
    assert record.timing is not None and record.memory is not None and record.telemetry is not None
    assert record.timing.clock == "null_event"
    assert record.telemetry.energy_j is not None and record.telemetry.energy_j > 0
    assert record.memory.ledger is not None
    ledger = record.memory.ledger
    lines = [ledger.rounding_bytes, ledger.cached_bytes, ledger.context_bytes, ledger.others_bytes]
    driver = [line for line in lines if line is not None and line >= 0]
    assert len(driver) == 4
    assert record.memory.device_bytes is not None
    named = [ledger.input_bytes, ledger.parameter_bytes, ledger.given_bytes, ledger.output_bytes, ledger.saved_bytes or 0]
    assert sum([*named, ledger.workspace_bytes, ledger.residual_bytes, *driver]) == record.memory.device_bytes
    assert torch.utils._python_dispatch._get_current_dispatch_mode_stack() == []


def test_a_device_that_is_not_there_is_unsupported() -> None:
    record = cell.run(Job(Cell("factorized", "cpu:1", Case(n=8, m=8)), QUICK), lambda name: None)
    assert (record.status, record.reason) == ("unsupported", "there is no device cpu:1; the CPU is called cpu")


def test_check_only_times_nothing() -> None:
    record = run("factorized", replace(QUICK, check_only=True))
    assert record.status == "ok"
    assert record.check is not None
    assert record.timing is None


def test_inputs_are_the_same_for_all_and_differ_between_cases() -> None:
    case = Case(n=16, m=16)
    cpu = torch.device("cpu")
    first, second = (inputs.make(case, Measure(), cpu).leaves for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], inputs.make(case, Measure(seed=1), cpu).leaves[0])
    half = inputs.make(replace(case, dtype="bfloat16"), Measure(), cpu).leaves[0]
    assert torch.equal(half, first[0].bfloat16())
    large = inputs.make(Case(n=4096, m=4096), Measure(), cpu).leaves[0]
    assert abs(float(large.mean())) < 0.01
    assert abs(float(large.std()) - 1) < 0.01


def test_sampled_rows_bound_the_check_and_contain_the_ends() -> None:
    large = Case(n=2**16, m=2**16, heads=8)
    rows = check.sampled_rows(large, "dot-product softmax attention", 0)
    assert rows is not None
    assert rows[0] == 0
    assert rows[-1] == large.n - 1
    assert len(rows) == len(rows.unique()) == 32
    assert check.sampled_rows(large, "factorized softmax attention", 0) is None
    assert check.sampled_rows(Case(n=64, m=64), "dot-product softmax attention", 0) is None


@pytest.mark.parametrize("mode", ["fwd", "fwd_bwd"])
@pytest.mark.parametrize("scope", ["core", "module"])
def test_the_check_on_sampled_rows_sees_wrong_rows_and_passes_right_ones(
    mode: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "_MAP_ELEMENTS", 512)
    monkeypatch.setattr(check, "_MIN_ROWS", 8)
    extra = MODULE if scope == "module" else {}
    record = run("dot_product", mode=mode, scope=scope, **extra)
    assert record.status == "ok", record.reason
    assert record.check is not None
    assert record.check.tensors[0].rows == 8
    plant(monkeypatch, lambda q, k, v, p: torch.softmax(q @ k.transpose(-1, -2) * 8**-0.5, -1)[..., 1:] @ v[..., 1:, :])
    assert run("dot_product", mode=mode, scope=scope, **extra).status == "incorrect"


def test_a_check_needs_no_quadratic_memory() -> None:
    # The reference of dot-product attention at n = 4096 with a map of 64 MiB in float32 (128 in float64) takes less than a tenth of it.
    case = Case(n=4096, m=4096, d_k=16, d_v=16)
    given = inputs.make(case, Measure(), torch.device("cpu"))
    measured = subject.build(case, base.load("sdpa_flash"), "cpu", given)
    function = "dot-product softmax attention"
    rows = check.sampled_rows(replace(case, heads=8), function, 0)
    result = check.compute(measured, None)
    device = devices.load("cpu")
    peak = device.peak(lambda: check.compare(measured, result, None, function, rows))
    assert rows is not None
    assert peak.delta_bytes < 8 * 4096 * len(rows) * 6 + 2**23


def test_the_cpu_peak_is_exact() -> None:
    # Eager dot-product attention holds the scores beside their softmax: 2 h n^2 floats, and 12 bytes of the softmax's dispatch.
    record = run("dot_product", n=512, m=512, heads=4, d_k=64, d_v=64)
    assert record.memory is not None
    assert 0 <= record.memory.delta_bytes - 2 * 4 * 512 * 512 * 4 <= 64
    assert record.memory.input_bytes == 3 * 4 * 512 * 64 * 4
    assert record.memory.output_bytes == 4 * 512 * 64 * 4


@pytest.mark.parametrize(("name", "order"), [("factorized", 1), ("factorized_plain", 1), ("dot_product", 2)])
def test_saved_bytes_of_a_module_are_v1s_memory_formula(name: str, order: int) -> None:
    record = run(
        name, mode="fwd_bwd", n=64, m=64, heads=1, d_k=32, d_v=64, scope="module", channels=64, reprojection=True, residual=False, pool=1
    )  # fmt: skip
    assert record.memory is not None
    predicted = cost.of(record.cell.case, order, order).saved_bytes
    assert predicted is not None
    # `factorized` keeps the maximum and 1/l of each key channel beside.
    assert 0 <= (record.memory.saved_bytes or 0) - predicted <= (2 * 32 * 4 if name == "factorized" else 0)


def test_tolerances_follow_the_dtype_and_leave_room_without_letting_faults_through() -> None:
    for function in ("dot-product softmax attention", "factorized softmax attention", "scaled product attention"):
        limits = [
            tolerance(Case(n=1024, m=1024, dtype=dtype), function, False)
            for dtype in ("float64", "float32", "float16", "bfloat16")
        ]
        assert limits == sorted(limits)
        assert limits[0] < 1e-12
        assert limits[1] < 2e-5
        assert limits[3] < 0.1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
def test_right_implementations_stay_well_inside_their_tolerance(dtype: str, normalisation: str) -> None:
    for name in ("dot_product", "factorized", "factorized_plain", "sdpa_flash"):
        if normalisation not in implementations()[name].computes:
            continue
        record = run(name, dtype=dtype, normalisation=normalisation, mode="fwd_bwd", n=200, m=200, d_k=16, d_v=16)
        assert record.status == "ok", (name, record.reason)
        assert record.check is not None
        assert all(error.error is not None and error.error < 0.7 * error.tolerance for error in record.check.tensors), (
            name,
            record.check,
        )


def test_a_call_that_holds_more_than_its_limit_is_out_of_memory() -> None:
    """The kernel limits address space, which leaves room for the allocator's holes; what a call holds is held against the limit itself."""
    case = Case(n=512, m=512, heads=2, d_k=8, d_v=8)
    job = Job(Cell("dot_product", "cpu", case), QUICK)
    needed = cell.run(job, lambda name: None).memory
    assert needed is not None
    for limit, status in ((needed.peak_bytes, "ok"), (needed.peak_bytes - 1, "out_of_memory")):
        record = cell.run(replace(job, memory_limit_bytes=limit), lambda name: None)
        assert record.status == status
        assert record.timing is not None
    assert record.reason is not None and "the limit is" in record.reason
