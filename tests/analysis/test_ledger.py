"""Predicted beside measured: rules explain what implementations do, and not what they should not."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import cost
from fabench.analysis.ledger import BOUND, SMALL_BYTES, Line, Reason, lines_of
from fabench.attention import base
from fabench.catalogue import implementations
from fabench.devices import base as devices
from fabench.measure import inputs, memory, subject
from fabench.measured import Ledger, Memory
from fabench.schema import Case, Cell, Measure, Record

MODULE: dict[str, Any] = {"scope": "module", "channels": 64, "reprojection": True, "residual": True, "pool": 1}
IMAGE: dict[str, Any] = MODULE | {"space": "8x16"}


def record_of(case: Case, book: Ledger, saved: int | None = None, order: int = 1) -> Record:
    held = Memory(0, 0, 0, 0, 0, saved_bytes=saved, ledger=book)
    return Record(Cell("made_up", "cpu", case), "ok", time_order=order, memory_order=order, memory=held)


def line(record: Record, name: str) -> Line:
    found = lines_of(record)
    assert found is not None
    return next(one for one in found if one.name == name)


@pytest.mark.parametrize("mode", ["fwd", "bwd", "fwd_bwd"])
@pytest.mark.parametrize("name", [name for name, facts in implementations().items() if not facts.compiles])
def test_the_rules_explain_what_every_implementation_holds(name: str, mode: str) -> None:
    facts = base.load(name).facts
    extras: tuple[dict[str, Any], ...] = ({}, {"mask": "padding"}, MODULE, IMAGE, IMAGE | {"pool": 2})
    for rule, dtype, extra in itertools.product(("softmax", "scaling"), ("float32", "bfloat16"), extras):
        case = Case(
            **({"n": 128, "m": 128, "heads": 2, "d_k": 16, "d_v": 32, "mode": mode} | extra), normalisation=rule, dtype=dtype
        )
        implementation = base.load(name)
        if implementation.supports(case, "cpu") is not None:
            continue
        device = devices.load("cpu")
        one = subject.build(case, implementation, "cpu", inputs.make(case, Measure(), device.torch_device))
        found = memory.measure_memory(device, one, facts.opaque)
        record = Record(Cell(name, "cpu", case), "ok", time_order=facts.time_order, memory_order=facts.memory_order, memory=found)
        lines = lines_of(record)
        assert lines is not None
        assert {one.name: one.verdict for one in lines if one.verdict not in ("as predicted", "explained")} == {}, case.label
        assert line(record, "given").verdict == "as predicted"


def test_a_prediction_that_comes_true_needs_no_reason() -> None:
    case = Case(n=64, m=64, mode="fwd_bwd")
    known = cost.of(case, 1, 1)
    assert known.saved_bytes is not None
    outputs = known.output_bytes + known.input_bytes
    book = Ledger(known.input_bytes, 0, known.output_bytes, outputs, 0, known.working_bytes - outputs, 0)
    lines = lines_of(record_of(case, book, known.saved_bytes))
    assert lines is not None
    assert [one.name for one in lines] == ["inputs", "given", "output", "saved", "working"]
    assert all(one.verdict == "as predicted" and not one.explaining and one.unexplained_bytes == 0 for one in lines)


def test_biases_are_explained_to_the_byte_and_nothing_more() -> None:
    # Two heads of d_k 16 and d_v 16: 32 + 32 + 32 channels put out by the projections, 64 by the reprojection, each with a bias.
    case = Case(n=64, m=64, heads=2, d_k=16, d_v=16, **MODULE)
    known = cost.of(case, 1, 1)
    biases = 4 * (3 * 32 + 64)
    book = Ledger(4 * 64 * 64, known.input_bytes - 4 * 64 * 64 + biases, 0, known.output_bytes, 0, 0, 0)
    found = line(record_of(case, book), "inputs")
    assert (found.verdict, found.unexplained_bytes) == ("explained", 0)
    assert [(one.text, one.high_bytes) for one in found.explaining] == [("biases of the projections", biases)]
    without = line(record_of(case, replace(book, parameter_bytes=book.parameter_bytes - biases)), "inputs")
    assert (without.unexplained_bytes, without.verdict) == (-biases, "nearly")


def test_saved_maxima_and_inverses_are_explained_for_the_linear_softmax_only() -> None:
    case = Case(n=4096, m=4096, heads=2, d_k=64, d_v=64, mode="fwd_bwd")
    saved = cost.of(case, 1, 1).saved_bytes
    assert saved is not None
    book = Ledger(0, 0, 0, 0, 0, 0, 0)
    numbers = 2 * 2 * 64 * 4
    assert line(record_of(case, book, saved + numbers), "saved").verdict == "explained"
    beyond = line(record_of(case, book, saved + numbers + 8), "saved")
    assert (beyond.unexplained_bytes, beyond.verdict) == (8, "nearly")
    assert line(record_of(replace(case, normalisation="scaling"), book, saved + numbers), "saved").unexplained_bytes == numbers


@pytest.mark.parametrize("mode", ["fwd", "fwd_bwd"])
def test_a_map_in_what_is_declared_linear_is_unexplained(mode: str) -> None:
    case = Case(n=4096, m=4096, heads=2, d_k=64, d_v=64, mode=mode)
    known = cost.of(case, 1, 1)
    square = 2 * 4096 * 4096 * 4
    book = Ledger(known.input_bytes, 0, 0, known.output_bytes, 0, square, 0)
    found = line(record_of(case, book, known.saved_bytes), "working")
    assert found.verdict == "unexplained"
    assert (found.unexplained_bytes or 0) > square / 2
    saved = line(record_of(case, book, (known.saved_bytes or 0) + square), "saved") if mode != "fwd" else None
    assert saved is None or (saved.verdict, (saved.unexplained_bytes or 0) > 0.9 * square) == ("unexplained", True)


def test_what_is_not_known_stays_unknown() -> None:
    case = Case(n=64, m=64, mode="fwd_bwd")
    book = Ledger(0, 0, 0, 0, None, 0, 0)
    found = line(record_of(case, book, None), "saved")
    assert (found.measured_bytes, found.difference_bytes, found.unexplained_bytes, found.verdict) == (None, None, None, "unknown")
    assert lines_of(replace(record_of(case, book), memory_order=None)) is None
    assert lines_of(replace(record_of(case, book), memory=None)) is None


def test_lines_that_did_not_all_exist_at_once_are_not_counted_twice() -> None:
    # A GPU's counters: 100 B of output and saved tensors, of which only 60 existed at the peak.
    book = Ledger(0, 0, 0, 70, 30, 0, -40)
    assert line(record_of(Case(n=64, m=64), book), "working").measured_bytes == 60
    assert line(record_of(Case(n=64, m=64), replace(book, residual_bytes=25)), "working").measured_bytes == 100


BYTES = st.integers(0, 2**40)


@given(BYTES, BYTES, st.lists(st.tuples(st.integers(-(2**30), 2**30), st.integers(0, 2**30))))
def test_what_is_unexplained_is_what_no_choice_within_the_rules_reaches(measured: int, predicted: int, ranges: Any) -> None:
    reasons = tuple(Reason(str(index), low, low + width) for index, (low, width) in enumerate(ranges))
    found = Line("x", measured, predicted, reasons)
    low, high = (predicted + sum(getattr(one, end) for one in reasons) for end in ("low_bytes", "high_bytes"))
    beyond = found.unexplained_bytes
    assert beyond is not None
    assert low <= measured - beyond <= high
    assert beyond == 0 or (measured > high and beyond == measured - high) or (measured < low and beyond == measured - low)
    marked = abs(beyond) > SMALL_BYTES and abs(beyond) > BOUND * predicted
    assert marked == (found.verdict == "unexplained")
