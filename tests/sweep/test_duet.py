"""Two sides that take turns, in real processes; one of them from a copy of the package with something planted in it."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabench.errors import WorkerError
from fabench.paired import Paired
from fabench.schema import Case, Cell, Job, Measure, from_json, to_json
from fabench.sweep.duet import ROUNDS, Side, duet

TOP = Path(__file__).parent.parent.parent
MEASURE = Measure(warmup_s=0.005, threads=1)
CELL = Cell("factorized", "cpu", Case(n=64, m=64, d_k=8, d_v=8))
CORE = "    return lambda q, k, v, padding:"


@pytest.fixture(scope="module")
def base() -> Iterator[Side]:
    side = Side("base", TOP, MEASURE)
    side.start()
    yield side
    side.close()


def pair(base: Side, head: Side, cell: Cell = CELL, number: int = 0, timeout_s: float = 60.0) -> Paired:
    found = duet(base, head, Job(cell, MEASURE), number, 1, timeout_s, lambda text: None)
    assert from_json(Paired, to_json(found)) == found
    return found


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Side]:
    """Head, from a copy of the package whose dot product crashes in its turns at one width and is wrong at another."""
    shutil.copytree(TOP / "fabench", tmp_path / "fabench", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "fabench" / "attention" / "dot_product.py"
    file.write_text(file.read_text() + PLANTED)
    (tmp_path / "fabench" / "attention" / "sdpa_math.py").unlink()
    side = Side("head", tmp_path, MEASURE)
    side.start()
    yield side
    side.close()


PLANTED = """

_honest = prepare


def prepare(case, device):  # type: ignore[no-untyped-def]
    import gc, os, signal

    core, calls = _honest(case, device), [0]

    def planted(q, k, v, padding):  # type: ignore[no-untyped-def]
        calls[0] += not gc.isenabled()
        if case.d_k == 8 and calls[0] == 200:  # the collector is off while turns are taken
            os.kill(os.getpid(), signal.SIGSEGV)
        return core(q, k, v, padding) * (1.01 if case.d_k == 16 else 1)

    return planted
"""


def test_turns_of_the_same_code(base: Side) -> None:
    head = Side("head", TOP, MEASURE)
    head.start()
    try:
        found = [pair(base, head, number=number) for number in range(4)]
    finally:
        head.close()
    for one in found:
        assert one.reason is None
        assert len(one.base_s) == len(one.head_s) == ROUNDS
        assert all(seconds > 0 for seconds in (*one.base_s, *one.head_s))
        assert one.log_ratio is not None and math.isfinite(one.log_ratio)
        assert one.base is not None and one.head is not None
        assert one.base.status == one.head.status == "ok"
        assert one.base.memory == one.head.memory or one.base.memory.delta_bytes == one.head.memory.delta_bytes  # type: ignore[union-attr]
        assert one.base.timing is not None and set(one.base_s) <= set(one.base.timing.samples_s)
        assert one.loops is not None and one.loops > 1
        assert one.base.timing.loops == one.loops, "samples are those of the rounds, not of the calibration"
        assert one.base.timing.samples_s == one.base_s or one.repeated
    assert {one.first for one in found} == {"base", "head"}, "who goes first is drawn anew for each pair"


def test_a_side_that_crashes_in_its_turn_leaves_a_reason_and_both_go_on(base: Side, other: Side) -> None:
    crashed = pair(base, other, Cell("dot_product", "cpu", Case(n=64, m=64, d_k=8, d_v=8)))
    assert crashed.base_s == ()
    assert crashed.log_ratio is None
    assert crashed.reason is not None and crashed.reason.startswith("head: crashed: in timing: killed by SIGSEGV")
    assert crashed.base is not None and crashed.base.status == "ok"
    assert pair(base, other).reason is None


def test_a_wrong_result_is_not_timed(base: Side, other: Side) -> None:
    wrong = pair(base, other, Cell("dot_product", "cpu", Case(n=64, m=64, d_k=16, d_v=16)))
    assert wrong.base_s == ()
    assert wrong.reason is not None and wrong.reason.startswith("head: incorrect: output is off float64 by 0.01")


def test_a_side_without_the_implementation_says_so(base: Side, other: Side) -> None:
    lacking = pair(base, other, Cell("sdpa_math", "cpu", Case(n=64, m=64)))
    assert lacking.reason is not None and "no implementation 'sdpa_math'" in lacking.reason


def test_time_is_bounded(base: Side) -> None:
    head = Side("head", TOP, MEASURE)
    head.start()
    try:
        late = pair(base, head, timeout_s=0.0)
        assert late.reason is not None and late.reason.count("timed_out") == 2
        assert pair(base, head).reason is None, "both start anew"
    finally:
        head.close()


def test_a_tree_without_fabench_is_not_taken_for_one(tmp_path: Path) -> None:
    side = Side("base", tmp_path, MEASURE)
    with pytest.raises(WorkerError, match="base was to run from"):
        side.start()
    side.close()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/no/such/python",), "base: its interpreter does not run: No such file"),
        (("false",), "base: the measuring side did not start"),
    ],
)
def test_a_side_that_does_not_start_is_named(command: tuple[str, ...], said: str) -> None:
    side = Side("base", TOP, MEASURE, command=command)
    with pytest.raises(WorkerError, match=said):
        side.start()
    side.close()
