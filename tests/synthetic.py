"""Seeded records with a known truth, for tests of everything that reads records.

The truth of a cell is `true_time`: overhead + compulsory bytes / bandwidth + products / rate, which is a + b n + c n^2. Samples are
the truth times lognormal noise; memory and FLOPs are exactly what `fabench.cost` predicts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from fabench import cost
from fabench.schema import (
    Case,
    Cell,
    Check,
    Environment,
    GpuLook,
    HostLoad,
    Ledger,
    Memory,
    Record,
    Status,
    Telemetry,
    TensorError,
    Timing,
    Witness,
)  # fmt: skip

__all__ = ["IMPLEMENTATIONS", "TRUTH", "N", "Truth", "curve", "ended", "environment", "many", "measured", "records", "true_time"]

N = (256, 512, 1024, 2048, 4096, 8192, 16384)
GIB = 2**30
_SOFTMAX = {2: "dot-product softmax attention", 1: "factorized softmax attention"}
_SCALING = "scaled product attention"


_cost = cache(cost.of)


@dataclass(frozen=True)
class Truth:
    """How fast an implementation really is."""

    time_order: int
    memory_order: int
    overhead_s: float = 2e-5
    flop_per_s: float = 3e10
    bytes_per_s: float = 5e9

    def computes(self, normalisation: str) -> str:
        return _SCALING if normalisation == "scaling" else _SOFTMAX[self.time_order]


TRUTH: Mapping[str, Truth] = {
    "dot_product": Truth(2, 2, flop_per_s=2.5e10),
    "sdpa": Truth(2, 1, flop_per_s=4e10),
    "factorized_plain": Truth(1, 1, overhead_s=4e-4, flop_per_s=3e9, bytes_per_s=5e8),
    "factorized_looped": Truth(1, 1, overhead_s=1e-3, flop_per_s=2.5e9, bytes_per_s=4e8),
    "experimental": Truth(1, 1, overhead_s=2e-4, flop_per_s=4e9, bytes_per_s=6e8),
}
IMPLEMENTATIONS = tuple(TRUTH)
# What becomes of the cells of "experimental", in the order of its n; then from the start again.
_ENDINGS: tuple[tuple[Status, str], ...] = (
    (Status.OK, ""),
    (Status.UNSUPPORTED, "needs d_k of at least 16"),
    (Status.INCORRECT, "output: error 3.1e-02, allowed 1.0e-03"),
    (Status.OUT_OF_HOST_MEMORY, "in check: the host can't allocate memory"),
    (Status.CRASHED, "the process ended with signal 11 (SIGSEGV)"),
    (Status.OUT_OF_RESOURCES, "in timing: shared memory, required 131072, limit 101376"),
    (Status.TIMED_OUT, "no answer within 60 s"),
)


def true_time(case: Case, truth: Truth) -> float:
    """Seconds that `case` really takes."""
    known = _cost(case, truth.time_order, truth.memory_order)
    return truth.overhead_s + known.compulsory_bytes / truth.bytes_per_s + known.flop / truth.flop_per_s


def _memory(case: Case, truth: Truth, cuda: bool) -> Memory:
    known = _cost(case, truth.time_order, truth.memory_order)
    given = known.output_bytes if case.needs_gradients else 0  # the upstream gradient
    peak = known.input_bytes + given + known.working_bytes
    saved = known.saved_bytes or 0
    ledger = Ledger(known.input_bytes, 0, given, known.output_bytes, saved, known.working_bytes - known.output_bytes - saved, 0)
    return Memory(
        baseline_bytes=known.input_bytes + given,
        peak_bytes=peak,
        delta_bytes=known.working_bytes,
        input_bytes=known.input_bytes,
        output_bytes=known.output_bytes,
        saved_bytes=known.saved_bytes,
        rss_peak_bytes=peak + 300 * 2**20,
        reserved_bytes=peak + 2**21 if cuda else None,
        process_bytes=peak + 500 * 2**20 if cuda else None,
        ledger=ledger,
    )


def _beside(wall_s: float, cuda: bool) -> Telemetry:
    """A quiet host, and a GPU at its clocks that nobody else uses."""
    host = HostLoad(wall_s, 1, others_cpu_s=0.001 * wall_s, steal_s=0.0, run_queue=0)
    if not cuda:
        return Telemetry(host)
    looks = tuple(GpuLook(at, 1_755_000_000, 2_619_000_000, 420.0, 51, ()) for at in (-0.01, wall_s / 2, wall_s))
    return Telemetry(host, looks, foreign_processes=0, foreign_bytes=0, ecc_errors=0)


def _started(index: int) -> str:
    return f"2025-01-01T{index // 3600 % 24:02d}:{index // 60 % 60:02d}:{index % 60:02d}Z"


def measured(cell: Cell, samples_s: Sequence[float], truth: Truth | None = None, index: int = 0, error: float = 2e-7) -> Record:
    """A record with status ok and these samples, measured as it should be: nothing but the samples can be held against it."""
    truth = truth or TRUTH[cell.implementation]
    case, first, cuda = cell.case, float(max(samples_s)) * 3, cell.device.startswith("cuda")
    samples, loops = tuple(samples_s), max(1, round(1e-3 / first))
    wall_s = 1.05 * sum(samples) * loops
    witness = (
        Witness("cuda_host", samples[:7], loops, paired=False) if cuda else Witness("monotonic_raw", samples, loops, paired=True)
    )
    return Record(
        cell=cell,
        status=Status.OK.value,
        function=truth.computes(case.normalisation),
        time_order=truth.time_order,
        memory_order=truth.memory_order,
        check=Check(True, (TensorError("output", error, error * 5, 1e-5),)),
        timing=Timing(
            clock="cuda_event" if cuda else "perf_counter",
            samples_s=samples,
            loops=loops,
            warmup_s=0.1,
            warmup_calls=10,
            stopped_by="target",
            cache="hot",
            first_call_s=first,
            warmup_converged=True,
            launch_s=1e-5 if cuda else None,
            queued=len(samples) if cuda else None,
            blocked=True if cuda else None,
            witness=witness,
            threads=1,
            minor_faults=None if cuda else (0,) * len(samples),
            involuntary_switches=None if cuda else (0,) * len(samples),
            cpu_s=0.99 * wall_s,
            wall_s=wall_s,
        ),
        memory=_memory(case, truth, cuda),
        telemetry=_beside(wall_s, cuda),
        flop=_cost(case, truth.time_order, truth.memory_order).flop,
        phases_s={"inputs": 0.01, "check": 0.05, "timing": 0.2, "memory": 0.02, "total": 0.3},
        started_at=_started(index),
    )


def ended(cell: Cell, status: Status | str, reason: str, truth: Truth | None = None, index: int = 0) -> Record:
    """A record of a cell that gave no time."""
    truth = truth or TRUTH[cell.implementation]
    worst = 3.1e-2 if status == Status.INCORRECT else None
    return Record(
        cell=cell,
        status=Status(status).value,
        reason=reason,
        function=truth.computes(cell.case.normalisation),
        time_order=truth.time_order,
        memory_order=truth.memory_order,
        check=None if worst is None else Check(False, (TensorError("output", worst, 0.1, 1e-3),)),
        started_at=_started(index),
        phases_s={"total": 0.1},
    )


def _outcomes(cells: Iterable[Cell], limit_bytes: int, failures: bool) -> list[tuple[Cell, Status, str]]:
    """What becomes of each cell; after the first out of memory of a curve, its larger n are skipped."""
    limits: dict[tuple[object, ...], int] = {}
    seen: dict[str, int] = {}
    found = []
    for cell in cells:
        truth, case = TRUTH[cell.implementation], cell.case
        curve = (
            cell.implementation,
            cell.device,
            case.heads,
            case.d_k,
            case.batch,
            case.dtype,
            case.mode,
            case.scope,
            case.normalisation,
        )
        position = seen[cell.implementation] = seen.get(cell.implementation, -1) + 1
        status, reason = Status.OK, ""
        if curve in limits:
            status, reason = Status.SKIPPED, f"{cell.implementation} ran out of memory at n={limits[curve]}"
        elif _cost(case, truth.time_order, truth.memory_order).total_bytes > limit_bytes:
            limits[curve] = case.n
            status, reason = Status.OUT_OF_MEMORY, f"in timing: can't allocate, limit {limit_bytes} bytes"
        elif failures and cell.implementation == "experimental":
            status, reason = _ENDINGS[position % len(_ENDINGS)]
        found.append((cell, status, reason))
    return found


def _case(scope: str, n: int, heads: int, d: int, **rest: Any) -> Case:
    inside: dict[str, Any] = {}
    if scope == "module":
        inside = {"channels": heads * d, "reprojection": True, "residual": False, "pool": 1}
    return Case(n=n, m=n, heads=heads, d_k=d, d_v=d, scope=scope, **inside, **rest)


def records(
    implementations: Sequence[str] = IMPLEMENTATIONS,
    n: Sequence[int] = N,
    heads: Sequence[int] = (8,),
    d: Sequence[int] = (64,),
    seed: int = 0,
    samples: int = 25,
    *,
    noise: float = 0.03,
    between: float = 0.0,
    batch: Sequence[int] = (1,),
    dtypes: Sequence[str] = ("float32",),
    modes: Sequence[str] = ("fwd",),
    normalisations: Sequence[str] = ("softmax",),
    scopes: Sequence[str] = ("core",),
    devices: Sequence[str] = ("cpu",),
    limit_bytes: int = 3 * GIB,
    failures: bool = True,
) -> list[Record]:
    """Records of the full grid. `noise` is the standard deviation of log samples, `between` that of a cell as a whole.

    dot_product runs out of memory where its map passes `limit_bytes` and is skipped beyond; with `failures`, "experimental" ends
    in every other way. 3 GiB and 8 heads: n=8,192 takes 4 GiB, so 4,096 is the largest dot_product that runs.
    """
    settings = itertools.product(devices, scopes, normalisations, dtypes, modes, batch, heads, d)
    cells = [
        Cell(name, device, _case(scope, size, h, width, normalisation=rule, dtype=dtype, mode=mode, batch=b))
        for device, scope, rule, dtype, mode, b, h, width in settings
        for name in implementations
        for size in n
    ]
    return _build(cells, seed, samples, noise, between, limit_bytes, failures)


def _build(cells: list[Cell], seed: int, samples: int, noise: float, between: float, limit: int, failures: bool) -> list[Record]:
    rng = np.random.default_rng(seed)
    factors = np.exp(noise * rng.standard_normal((len(cells), samples)) + between * rng.standard_normal((len(cells), 1)))
    found = []
    for index, (cell, status, reason) in enumerate(_outcomes(cells, limit, failures)):
        if status == Status.OK:
            times = (factors[index] * true_time(cell.case, TRUTH[cell.implementation])).tolist()
            found.append(measured(cell, times, index=index))
        else:
            found.append(ended(cell, status, reason, index=index))
    return found


def curve(
    implementation: str,
    times_s: Mapping[int, float],
    *,
    noise: float = 0.0,
    samples: int = 25,
    seed: int = 0,
    device: str = "cpu",
    **case: Any,
) -> list[Record]:
    """One curve with these true times by n; `case` overrides fields of the case."""
    rng = np.random.default_rng(seed)
    shape: dict[str, Any] = {"heads": 1, "d_k": 16, "d_v": 16, **case}
    return [
        measured(
            Cell(implementation, device, Case(n=n, m=n, **shape)),
            (time_s * np.exp(noise * rng.standard_normal(samples))).tolist(),
            index=index,
        )
        for index, (n, time_s) in enumerate(times_s.items())
    ]


def many(count: int, seed: int = 0, samples: int = 20) -> list[Record]:
    """`count` records fast: curves of 8 n, four implementations, as many settings as it takes (up to 3,150 = 100,800 records)."""
    dtypes, modes, rules = ("float32", "bfloat16", "float16"), ("fwd", "bwd", "fwd_bwd"), ("softmax", "scaling")
    grid = itertools.product((1, 2, 4, 8, 16), (16, 32, 64, 96, 128), dtypes, modes, rules, (1, 2, 3, 4, 6, 8, 12))
    sizes = [256 * 2**power for power in range(8)]
    cells = (
        Cell(name, "cpu", _case("core", size, h, width, dtype=dtype, mode=mode, normalisation=rule, batch=b))
        for h, width, dtype, mode, rule, b in grid
        for name in IMPLEMENTATIONS[:4]
        for size in sizes
    )
    return _build(list(itertools.islice(cells, count)), seed, samples, 0.03, 0.0, 64 * GIB, False)


def environment() -> Environment:
    """A CPU and a CUDA device with peaks."""
    return Environment(
        fabench="0.1.0",
        started_at="2025-01-01T00:00:00Z",
        host={"cpu": "Example CPU", "cores": 2, "memory_bytes": 8 * GIB, "kernel": "6.1.0", "governor": "performance"},
        packages={"torch": "2.13.0", "numpy": "2.4.0"},
        devices={
            "cpu": {
                "name": "Example CPU",
                "threads": 1,
                "memory_bytes": 8 * GIB,
                "last_level_cache_bytes": 32 * 2**20,
                "peaks": {"copy_bytes_per_s": 9.1e9, "flop_per_s": {"float32": 4.2e10}},
            },
            "cuda": {
                "name": "Example GPU",
                "memory_bytes": 80 * GIB,
                "last_level_cache_bytes": 50 * 2**20,
                "peaks": {"copy_bytes_per_s": 2.8e12, "flop_per_s": {"float32": 5.1e13, "bfloat16": 7.4e14}},
            },
        },
        settings={"OMP_NUM_THREADS": "1"},
        code_hash="0123456789abcdef",
        commit="0" * 40,
        suite="synthetic",
        suite_hash="fedcba9876543210",
    )
