"""Bytes on the wire and on disk: exact round trips, and one clear error for everything else."""

import dataclasses
import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.schema import (
    DTYPES,
    MODES,
    NORMALISATIONS,
    SCALES,
    Case,
    Cell,
    Check,
    DecodeError,
    Job,
    Measure,
    Memory,
    Record,
    Status,
    Telemetry,
    Timing,
    from_json,
    to_json,
)

sizes = st.integers(1, 2**20)
seconds = st.floats(1e-9, 1e4)
counts = st.integers(0, 2**50)
words = st.text(max_size=40)
cases = st.builds(
    Case, n=sizes, m=sizes, batch=sizes, heads=sizes, d_k=sizes, d_v=sizes,
    dtype=st.sampled_from(DTYPES), mode=st.sampled_from(MODES), normalisation=st.sampled_from(NORMALISATIONS), scale=st.sampled_from(SCALES),
)  # fmt: skip
cells = st.builds(Cell, implementation=words, device=words, case=cases)
# Every field, those with a default too.
PLAIN = {float: seconds, int: counts, str: words, bool: st.booleans()}


def of_kind(kind: Any) -> st.SearchStrategy[Any]:
    if kind in PLAIN:
        return PLAIN[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{field.name: of_kind(hints[field.name]) for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return st.lists(of_kind(arguments[0]), max_size=3).map(tuple)
    assert type(None) in arguments
    return st.none() | of_kind(next(one for one in arguments if one is not type(None)))


records = st.builds(
    Record, cell=cells, status=st.sampled_from(list(Status)).filter(lambda status: status != Status.OK).map(str),
    reason=words.filter(bool), check=of_kind(Check | None), timing=of_kind(Timing | None), memory=of_kind(Memory | None), telemetry=of_kind(Telemetry | None), phases_s=st.dictionaries(words, seconds),
)  # fmt: skip


@given(records)
def test_records_survive_the_trip(record: Record) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert from_json(Record, line) == record


@given(st.binary(max_size=300))
def test_any_bytes_give_a_record_or_one_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        from_json(Record, data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(records, st.sampled_from(["cell", "status", "check", "timing", "memory", "phases_s", "schema", "flop"]), json_values)
def test_a_changed_field_gives_a_record_or_one_error(record: Record, key: str, value: Any) -> None:
    data = json.loads(to_json(record)) | {key: value}
    try:
        read = from_json(Record, json.dumps(data))
    except DecodeError as error:
        assert "\n" not in str(error)[:200]
    else:
        assert from_json(Record, to_json(read)) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"implementation": "a", "device": "cpu"}', "case is missing"),
        ('{"implementation": 3, "device": "cpu", "case": {"n": 1, "m": 1}}', "implementation is 3, not text"),
        ('{"implementation": "a", "device": "cpu", "case": {"n": true, "m": 1}}', "case.n is True, not a whole number"),
        ('{"implementation": "a", "device": "cpu", "case": {"n": 0, "m": 1}}', "case: n is 0, must be at least 1"),
        (
            '{"implementation": "a", "device": "cpu", "case": {"n": 1, "m": 1, "dtype": "int8"}}',
            "case: dtype is 'int8', must be one of",
        ),
        ('{"implementation": "a", "device": "cpu", "case": {"n": 1, "m": 1}, "extra": 1}', "extra is not known"),
        ("[]", "Cell is [], not a table"),
        ('{"implementation": NaN}', "NaN is no JSON number"),
    ],
)
def test_errors_name_the_key(text: str, message: str) -> None:
    with pytest.raises(DecodeError) as error:
        from_json(Cell, text)
    assert message in str(error.value)


def test_a_schema_from_the_future_says_so() -> None:
    line = json.loads(to_json(Record(Cell("a", "cpu", Case(n=1, m=1)), "skipped", "because")))
    with pytest.raises(DecodeError, match="schema 99 is not known here"):
        from_json(Record, json.dumps(line | {"schema": 99}))


def test_numbers_that_are_not_finite_are_refused_when_written() -> None:
    with pytest.raises(ValueError, match="not finite"):
        to_json(Record(Cell("a", "cpu", Case(n=1, m=1)), "skipped", "because", phases_s={"total": float("nan")}))


@given(cases, cases)
def test_labels_are_equal_only_for_equal_cases(one: Case, other: Case) -> None:
    assert (one.label == other.label) == (one == other)


def test_labels_are_stable() -> None:
    case = Case(n=4096, m=4096, heads=8)
    assert Cell("factorized", "cpu", case).id == "factorized/cpu/core/softmax/fp32/fwd/n=4096,b=1,h=8,dk=64,dv=64"
    module = Case(
        n=4096, m=4096, d_k=32, d_v=64, scope="module", space="64x64", channels=64, reprojection=True, residual=False, pool=2,
        mode="fwd_bwd", scale="1/d_k", dtype="bfloat16",
    )  # fmt: skip
    assert module.label == "module/softmax/bf16/fwd_bwd/n=64x64,b=1,h=1,dk=32,dv=64,c=64,reprojection,pool=2,scale=1/d_k"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "8x8"}, "64 positions, but n is 16"),
        ({"space": "ab"}, "write it as 64x64"),
        ({"channels": 8}, "belong to scope module"),
        ({"scope": "module"}, "scope module needs channels"),
        ({"mode": "backward"}, "must be one of fwd, bwd, fwd_bwd"),
    ],
)
def test_contradictions_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Case(**({"n": 16, "m": 16} | change))


def test_ok_takes_no_reason_and_everything_else_needs_one() -> None:
    cell = Cell("a", "cpu", Case(n=1, m=1))
    with pytest.raises(ValueError, match="takes no reason"):
        Record(cell, "ok", "fine")
    with pytest.raises(ValueError, match="needs a reason"):
        Record(cell, "crashed")


def test_jobs_survive_the_trip() -> None:
    job = Job(Cell("factorized", "cuda:1", Case(n=3, m=5)), Measure(target=0.1, threads=2), 2**33, 2**34)
    assert from_json(Job, to_json(job)) == job
