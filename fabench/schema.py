"""The words both sides of the wall share, and the bytes in which they meet.

The parent sends a `Job` to the measuring side and gets a `Record` back, each as one JSON document; a record is also one line of
`records.jsonl`. Records hold what was measured and nothing derived from it: ratios, fits and predictions are recomputed by readers.

Shapes are head-first, as in torch's SDPA: Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v]. `d_k` and `d_v` are PER HEAD;
the paper's totals are heads * d_k and heads * d_v. Unknown or not applicable is None (null), never 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from fabench.case import DTYPE_BYTES, DTYPES, MASKS, MODES, NORMALISATIONS, SCALES, SCOPES, Case, require_one_of, require_positive
from fabench.codec import DecodeError, decode, encode
from fabench.measured import Check, GpuLook, HostLoad, Ledger, Memory, Telemetry, TensorError, Timing, Witness

__all__ = [
    "DTYPES", "DTYPE_BYTES", "MASKS", "MODES", "NORMALISATIONS", "SCALES", "SCHEMA_VERSION", "SCOPES", "STATUSES",
    "Case", "Cell", "Check", "DecodeError", "Environment", "GpuLook", "HostLoad", "Job", "Ledger", "Measure", "Memory", "Record", "Status",
    "Telemetry", "TensorError", "Timing", "Witness", "from_json", "to_json",
]  # fmt: skip

T = TypeVar("T")

SCHEMA_VERSION = 1


class Status(StrEnum):
    """How a cell ended. One of them, always.

    Three ways to lack room: `out_of_memory` is the memory of the device that was asked (a CPU cell's budget included),
    `out_of_host_memory` the host's beside it, `out_of_resources` what one program of a kernel may have (shared memory, registers).
    """

    OK = "ok"
    INCORRECT = "incorrect"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"
    OUT_OF_MEMORY = "out_of_memory"
    OUT_OF_HOST_MEMORY = "out_of_host_memory"
    OUT_OF_RESOURCES = "out_of_resources"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"


STATUSES = tuple(status.value for status in Status)


@dataclass(frozen=True, slots=True)
class Cell:
    """Case x implementation x device."""

    implementation: str
    device: str
    case: Case

    @property
    def id(self) -> str:
        """`factorized/cpu/core/softmax/fp32/fwd/n=4096,b=1,h=8,dk=64,dv=64`."""
        return f"{self.implementation}/{self.device}/{self.case.label}"


@dataclass(frozen=True, slots=True)
class Measure:
    """How cells are measured; a suite's [measure] table.

    `target` is the relative half-width of the median's 95 % interval at which sampling stops; `max_s` bounds sampling. Warm-up takes
    a call, or `warmup_s` (on a GPU at least 100 ms); slower samples at the beginning count as warm-up too, at most until `warmup_max_s`.
    `clock`: a rung of the device's ladder, or "auto", the best that fits; `witness` lets a second clock time the same work.
    `energy` loops the call for one to two seconds more, to read the device's energy counter.
    `threads` None = one less than the cores. `cache` "hot" repeats on the same tensors, "cold" flushes the last-level cache
    before each timed call, outside the window. `allocator` (CPU): "retain" lets glibc keep freed memory, which ends the flips
    between page-fault modes from process to process; "system" leaves malloc as it is. `check_only` stops after the check;
    `memory` false leaves the memory pass out.
    """

    target: float = 0.02
    warmup_s: float = 0.0
    warmup_max_s: float = 0.5
    min_samples: int = 12
    max_s: float = 1.0
    min_sample_s: float = 1e-3
    cache: str = "hot"
    clock: str = "auto"
    witness: bool = True
    energy: bool = False
    allocator: str = "retain"
    threads: int | None = None
    seed: int = 0
    memory: bool = True
    check_only: bool = False

    def __post_init__(self) -> None:
        require_positive(self, "min_samples", "threads")
        require_one_of(self, "cache", ("hot", "cold"))
        require_one_of(self, "allocator", ("retain", "system"))
        if not 0 < self.target < 1:
            raise ValueError(f"target is {self.target}, must lie between 0 and 1 (0.02 = 2 %)")
        for name in ("warmup_s", "warmup_max_s", "max_s", "min_sample_s"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative")


@dataclass(frozen=True, slots=True)
class Job:
    """What the parent sends: one cell, how to measure it, and how much memory it may hold (bytes over what the process has).

    `address_space_bytes`: at what the kernel refuses more. It is wider, because of the holes in an allocator's heap.
    """

    cell: Cell
    measure: Measure
    memory_limit_bytes: int | None = None
    address_space_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One stored line: what came of one cell.

    `function` names what the implementation computes (equal names = same function); `time_order` and `memory_order` are the
    declared powers of n. `flop` is counted by torch's FLOP counter on the checked call (the mode's passes; 2 per multiply-add).
    `configuration`: what the implementation chose among several ways to run the case (its kernels' tiles), None where it has no choice.
    `phases_s` splits the cell's wall time; "total" is the parent's, from request to record.
    `device_lost`: the device was gone when the cell ended or before it began, so a resumed run asks again.
    """

    cell: Cell
    status: str
    reason: str | None = None
    function: str | None = None
    time_order: int | None = None
    memory_order: int | None = None
    check: Check | None = None
    timing: Timing | None = None
    memory: Memory | None = None
    telemetry: Telemetry | None = None
    flop: int | None = None
    configuration: dict[str, str] | None = None
    memory_limit_bytes: int | None = None
    phases_s: dict[str, float] = field(default_factory=dict)
    started_at: str | None = None
    device_lost: bool = False
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        require_one_of(self, "status", STATUSES)
        if self.status == Status.OK:
            if self.reason is not None:
                raise ValueError("status ok takes no reason")
        elif not self.reason:
            raise ValueError(f"status {self.status} needs a reason")


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run was measured; `environment.json`. Hashed for comparison without what changes from run to run.

    `host`: cpu, cores, memory, kernel, governor. `packages`: versions. `devices`: per device name what the measuring side saw,
    peaks included (copy bandwidth in B/s, matrix product in FLOP/s per dtype). `settings`: allocator, OpenMP, threads.
    `code_hash` covers the sources that decide a measurement; `commit` is for the reader.
    """

    fabench: str
    started_at: str
    host: dict[str, Any]
    packages: dict[str, Any]
    devices: dict[str, Any]
    settings: dict[str, Any]
    code_hash: str
    commit: str | None = None
    suite: str = ""
    suite_hash: str = ""
    overrides: tuple[str, ...] = ()
    schema: int = SCHEMA_VERSION


def to_json(value: Any) -> str:
    """One line of strict JSON (no NaN, no line break)."""
    return encode(value)


def _no_constant(name: str) -> Any:
    raise DecodeError(f"{name} is no JSON number")


def from_json(cls: type[T], text: str | bytes) -> T:
    """The `cls` that `text` holds. Raises DecodeError for anything else: wrong bytes, wrong JSON, wrong form."""
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except DecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"no JSON ({error})") from None
    version = data.get("schema", SCHEMA_VERSION) if isinstance(data, Mapping) else SCHEMA_VERSION
    if version != SCHEMA_VERSION and "schema" in {f.name for f in fields(cls)}:  # type: ignore[arg-type]
        raise DecodeError(f"schema {str(version)[:20]} is not known here, only {SCHEMA_VERSION}: use a fabench that is as new")
    return decode(cls, data)
