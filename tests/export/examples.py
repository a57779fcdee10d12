"""A few records with round numbers, one per way to end, and any number of odd ones."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from fabench.export import Bundle
from fabench.schema import Case, Cell, Check, Environment, Memory, Record, Status, Telemetry, TensorError, Timing
from tests import synthetic

SAMPLES = (0.0012, 0.001, 0.0011, 0.001, 0.0013, 0.001, 0.0011, 0.0012, 0.0025, 0.0011)
WHY = "the n x n map does not fit"


def ok(cell: Cell, samples_s: tuple[float, ...] = SAMPLES, loops: int = 2) -> Record:
    return Record(
        cell,
        Status.OK,
        function="f",
        check=Check(True, (TensorError("output", 2e-7, 1e-6, 1e-5), TensorError("dq", None, None, 1e-5))),
        timing=Timing(
            "perf_counter", samples_s, loops, 0.1, 20, "target", "hot", first_call_s=0.01, threads=1, cpu_s=0.02, wall_s=0.03
        ),
        memory=Memory(1000, 5000, 4000, 600, 400, saved_bytes=800),
        telemetry=Telemetry(energy_j=0.5),
        flop=10**9,
        phases_s={"total": 0.25},
        started_at="2025-01-01T00:00:00Z",
    )


def ended(cell: Cell, status: Status, reason: str) -> Record:
    check = Check(False, (TensorError("output", 0.25, 0.5, 1e-5),)) if status == Status.INCORRECT else None
    return Record(cell, status, reason, check=check, phases_s={"total": 0.125})


def cell(n: int, implementation: str = "factorized", **rest: object) -> Cell:
    return Cell(implementation, "cpu", Case(n=n, m=n, **rest))  # type: ignore[arg-type]


MEASURED = ok(cell(1024))
ONE_SAMPLE = ok(cell(2048, heads=4), (0.5,), 1)
RECORDS = (
    MEASURED,
    ONE_SAMPLE,
    ended(cell(64), Status.INCORRECT, "output: error 2.5e-01, allowed 1.0e-05"),
    ended(cell(65536, "dot_product"), Status.OUT_OF_MEMORY, "in timing: can't allocate 16 GiB"),
    ended(cell(64, "fla_chunk"), Status.UNSUPPORTED, "no softmax form"),
    ended(cell(131072, "dot_product"), Status.SKIPPED, "dot_product ran out of memory at n=65536"),
    ended(cell(128), Status.CRASHED, "in check: killed by SIGSEGV"),
    ended(cell(256), Status.TIMED_OUT, "not done after 60 s (in timing)"),
)
FAILED = 3


def environment() -> Environment:
    known = synthetic.environment()
    host = {"system": "Linux 6.1.0", "machine": "x86_64", "cpu": "Example CPU", "cores": 2, "governor": "powersave"}
    packages = {"python": "3.11.7", "torch": "2.13.0"}
    return replace(
        known, host=host, packages=packages, devices={"cpu": {"name": "Example CPU"}}, commit="0123456789ab+", suite="ci"
    )


def bundle(*records: Record) -> Bundle:
    return Bundle(records or RECORDS, (environment(),), {RECORDS[3].cell.id: WHY})


_TEXTS = st.text(max_size=60)
_TIMES = st.floats(min_value=1e-9, max_value=1e5)
_COUNTS = st.integers(min_value=0, max_value=10**30)


@st.composite
def odd_records(draw: st.DrawFn) -> Record:
    """A record with any names, reasons, counts and samples that a file could hold."""
    case = Case(n=draw(st.integers(1, 10**18)), m=1)
    where = Cell(draw(_TEXTS), draw(_TEXTS), case)
    if draw(st.booleans()):
        status = draw(st.sampled_from([status for status in Status if status != Status.OK]))
        return ended(where, status, draw(st.text(min_size=1, max_size=300)))
    record = ok(where, tuple(draw(st.lists(_TIMES, max_size=30))), draw(st.integers(1, 10**9)))
    memory = Memory(draw(_COUNTS), draw(_COUNTS), draw(_COUNTS), 0, 0, saved_bytes=draw(st.none() | _COUNTS))
    return replace(record, memory=draw(st.sampled_from([None, memory])), check=None, telemetry=None)


@st.composite
def odd_bundles(draw: st.DrawFn) -> Bundle:
    records = {record.cell.id: record for record in draw(st.lists(odd_records(), max_size=6))}
    surroundings = replace(environment(), suite=draw(_TEXTS), commit=draw(st.none() | _TEXTS), started_at=draw(_TEXTS))
    expected = {identity: draw(_TEXTS) for identity, record in records.items() if record.status == "crashed"}
    return Bundle(tuple(records.values()), (surroundings,) if draw(st.booleans()) else (), expected)
