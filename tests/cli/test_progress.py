"""What the terminal says of a cell's evidence."""

from dataclasses import replace
from typing import Any

from fabench.analysis.doubts import Code
from fabench.analysis.evidence import Evidence, assess
from fabench.analysis.physics import facts_of
from fabench.cli._progress import evidence_lines, outcome
from fabench.schema import Record
from tests import synthetic

RECORDS = synthetic.records(["sdpa", "experimental"], [256, 512], noise=0.0)
GOOD, WRONG = RECORDS[0], RECORDS[3]
FACTS = facts_of([synthetic.environment()], "cpu")


def told(record: Record) -> str:
    return outcome(record, assess(record, FACTS))


def timed(**changes: Any) -> Record:
    assert GOOD.timing is not None
    return replace(GOOD, timing=replace(GOOD.timing, **changes))


def test_the_grade_follows_time_and_memory() -> None:
    assert told(GOOD).endswith("640 KiB, grade A")
    assert told(timed(witness=None)).endswith("640 KiB, grade B (one_clock)")


def test_more_than_three_warnings_are_counted() -> None:
    many = replace(timed(witness=None, stopped_by="time", warmup_converged=False, minor_faults=None), check=None)
    assert told(many).endswith("grade B (stopped_by_time, warm_up, one_clock, 2 more)")


def test_an_impossible_time_has_the_word_before_it() -> None:
    shown = told(timed(samples_s=(1e-6,) * 25))
    assert shown.startswith("IMPOSSIBLE (1.00 µs would be ") and "grade D (impossible" in shown


def test_without_a_time_there_is_no_grade() -> None:
    assert WRONG.status == "unsupported" and "grade" not in told(WRONG)
    assert "grade" not in told(replace(GOOD, timing=None))


def test_the_last_lines_count_grades_and_give_the_most_frequent_advice() -> None:
    good, alone = assess(GOOD, FACTS), assess(timed(witness=None), FACTS)
    assert evidence_lines([good, alone, alone, Evidence(None)]) == [
        "evidence: 1 A, 2 B",
        f"  one_clock in 2 cells: {Code.ONE_CLOCK.advice}",
    ]
    assert evidence_lines([Evidence(None)]) == [] == evidence_lines([])
    bad = assess(timed(witness=None, stopped_by="time", warmup_converged=False, minor_faults=None), FACTS)
    assert len(evidence_lines([bad])) == 1 + 3
