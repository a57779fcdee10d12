"""How long the harness itself takes, by pytest-benchmark; on demand:

    python -m pytest tests/perf/test_harness.py -n 0 --benchmark-only --benchmark-enable

In the normal run each benchmark but the launch runs once, on a fiftieth of its data, so that none of them rots. What a benchmark returns is checked:
work that is left out is not fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fabench.analysis.crossover import crossovers
from fabench.analysis.frame import assess_all, tidy
from fabench.analysis.scaling import exponents
from fabench.report import write_report
from fabench.schema import Case, Cell, Job, Measure, Record, Status, from_json, to_json
from fabench.store import RunFolder, read_run
from fabench.suite import parse
from fabench.suite.expression import Expression
from fabench.sweep.launch import ForkServer
from tests import synthetic

Benchmark = Any

SUITE = """
title = "Many"
[axes]
implementation = ["factorized", "dot_product"]
n = "64..65536x2"
heads = "1..LAST"
d_k = "4..100+4"
d_v = 8
device = "cpu"
"""
FILTER = (
    'n * heads >= 4096 and (d_k in (8, 16, 64) or implementation != "dot_product") and not (mode == "bwd" and dtype == "float16")'
)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> int:
    """By what counts are divided: 1 where benchmarks are timed, 50 where they only run."""
    timed = not request.config.getoption("benchmark_disable") or request.config.getoption("benchmark_enable")
    return 1 if timed else 50


@pytest.fixture(scope="session")
def thousand(scale: int) -> list[Record]:
    return synthetic.many(1000 // scale)


@pytest.fixture(scope="session")
def ten_thousand(scale: int) -> list[Record]:
    return synthetic.many(9600 // scale)


def suite(scale: int) -> bytes:
    """2 implementations x 11 n x 25 d_k x 18 heads = 9,900 cells, or 550."""
    return SUITE.replace('"1..LAST"', '"1..18+1"' if scale == 1 else "[1]").encode()


def test_suite_expansion(benchmark: Benchmark, scale: int) -> None:
    text = suite(scale)
    planned = benchmark(lambda: parse(text, "many").plan("cpu"))
    assert len(planned) == (9900 if scale == 1 else 550)


def test_filter(benchmark: Benchmark, scale: int) -> None:
    cells = parse(suite(scale), "many").cells

    def kept() -> list[Cell]:
        expression = Expression.parse(FILTER)
        return [cell for cell in cells if expression.matches(cell)]

    assert 0 < len(benchmark(kept)) < len(cells)


def test_encode(benchmark: Benchmark, thousand: list[Record]) -> None:
    assert len(benchmark(lambda: [to_json(record) for record in thousand])) == len(thousand)


def test_decode(benchmark: Benchmark, thousand: list[Record]) -> None:
    lines = [to_json(record) for record in thousand]
    assert benchmark(lambda: [from_json(Record, line) for line in lines]) == thousand


def test_store_append(benchmark: Benchmark, thousand: list[Record], tmp_path: Path) -> None:
    def store() -> RunFolder:
        folder = RunFolder.create(tmp_path, synthetic.environment(), b"", "cpu")
        for record in thousand:
            folder.append(record)
        folder.close()
        return folder

    # every append is synced to the disk, so rounds are few
    folder = benchmark.pedantic(store, rounds=3)
    assert (folder.path / "records.jsonl").read_bytes().count(b"\n") == len(thousand)


def test_store_read(benchmark: Benchmark, thousand: list[Record], tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, synthetic.environment(), b"", "cpu")
    folder.close()
    (folder.path / "records.jsonl").write_text("".join(to_json(record) + "\n" for record in thousand), encoding="utf-8")
    assert len(benchmark(partial(read_run, folder.path)).records) == len(thousand)


def test_tidy(benchmark: Benchmark, ten_thousand: list[Record]) -> None:
    assert len(benchmark(partial(tidy, ten_thousand))) == len(ten_thousand)


def test_exponents(benchmark: Benchmark, ten_thousand: list[Record]) -> None:
    assert len(benchmark(partial(exponents, tidy(ten_thousand)))) == len(ten_thousand) // 8


def test_crossovers(benchmark: Benchmark, ten_thousand: list[Record]) -> None:
    assert benchmark(partial(crossovers, tidy(ten_thousand)))


def test_evidence(benchmark: Benchmark, ten_thousand: list[Record]) -> None:
    found = benchmark(partial(assess_all, ten_thousand, [synthetic.environment()]))
    assert len(found) == len(ten_thousand)


def test_report_html(benchmark: Benchmark, thousand: list[Record], tmp_path: Path) -> None:
    write = partial(write_report, thousand, [synthetic.environment()], tmp_path, "many", ["html"])
    (page,) = benchmark.pedantic(write, rounds=3)
    assert page.stat().st_size > 10_000


@pytest.fixture
def server(scale: int) -> Iterator[ForkServer]:
    if scale != 1:
        pytest.skip("launches are timed on demand only; every test of a sweep launches cells")
    running = ForkServer(Measure())
    try:
        running.start()
        yield running
    finally:
        running.close()


def test_launch(benchmark: Benchmark, server: ForkServer) -> None:
    """A cell that is hardly measured: a process, its inputs, the check, and one record back."""
    measure = Measure(warmup_s=0.0, warmup_max_s=0.0, max_s=0.0, min_samples=1, memory=False, witness=False)
    job = Job(Cell("factorized", "cpu", Case(n=64, m=64, heads=1, d_k=8, d_v=8)), measure)
    record = benchmark.pedantic(lambda: server.run(job, 60.0, lambda phase: None), rounds=10, warmup_rounds=1)
    assert record.status == Status.OK, record.reason
