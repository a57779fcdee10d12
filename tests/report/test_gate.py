"""How a gate's verdicts are said: sentences with figures worked out by hand, what changed, the headline, and the JSON document."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from fabench.analysis.outcome import outcome
from fabench.paired import Paired
from fabench.report.gate import COLUMNS, document, headline, sentences
from fabench.report.verdicts import Ending
from fabench.schema import Status
from tests.gates import JITTER, SOURCES, cell, ended, failed, ok, pairs, run

NOISY = (-0.3, -0.1, 0.0, 0.1, 0.3)
HEAD = replace(SOURCES, revision="the working tree")


def bounds(ratio: float, jitter: tuple[float, ...]) -> tuple[float, float]:
    """The interval by the textbook, in percent: t with n - 1 degrees of freedom on the log ratios."""
    half = stats.t.ppf(0.975, len(jitter) - 1) * statistics.stdev(jitter) / math.sqrt(len(jitter))
    return 100 * (ratio * math.exp(-half) - 1), 100 * (ratio * math.exp(half) - 1)


def said(found: Sequence[Paired], **changes: Any) -> list[str]:
    return sentences(outcome(run(**changes), found))


def test_a_slower_cell_is_said_with_its_interval_and_its_pairs() -> None:
    low, high = bounds(1.081, JITTER)
    (line,) = said(pairs(cell(), 1.081), head=replace(HEAD, implementations={"factorized": "f2"}, programs={}))
    assert line == (
        f"factorized, n=4096, fp32, fwd: 8.1 % slower [{low:.1f}, {high:.1f}], 5 pairs, confirmed; factorized changed"
    )


def test_faster_equivalent_and_undecided() -> None:
    (line,) = said(pairs(cell(), 1 / 1.25))
    assert line.startswith("factorized, n=4096, fp32, fwd: 20.0 % faster [19.") and ", confirmed; " in line
    assert said(pairs(cell())) == []
    (open_,) = said(pairs(cell(), jitter=NOISY))
    low, high = bounds(1.0, NOISY)
    spread = 100 * statistics.stdev(NOISY)
    assert f"undecided [{low:+.1f} %, {high:+.1f} %], 5 pairs, a pair's spread is {spread:.1f} %: about " in open_
    assert open_.endswith("pairs would decide; nothing that it runs changed")


def test_memory_is_worse_beside_any_verdict_on_time() -> None:
    (line,) = said(pairs(cell(), peaks=(10**6, 4 * 10**6)))
    assert "fwd: equivalent [" in line and "; WORSE: peak memory 977 KiB -> 3.81 MiB" in line
    exact = outcome(run(), pairs(cell(), peaks=(10**6, 10**6 + 5000)), 4096)
    assert exact.worse and not outcome(run(), pairs(cell(), peaks=(10**6, 10**6 + 5000))).worse


def test_cells_that_short_names_can_t_tell_apart_are_called_by_their_ids() -> None:
    first, second = cell(heads=2), cell(heads=4)
    lines = said([*pairs(first, 1.5), *pairs(second, 1.5)])
    assert [line.partition(": ")[0] for line in lines] == [first.id, second.id]


@pytest.mark.parametrize(
    ("changes", "words", "causes"),
    [
        ({}, "nothing that it runs changed", ()),
        ({"head": {"implementations": {"factorized": "f2"}, "programs": {"factorized": "p2"}}}, "factorized changed", ("implementation",)),
        ({"head": {"implementations": {"factorized": "f2"}}}, "only comments of factorized changed", ("comments",)),
        ({"head": {"harness": "other"}}, "the harness changed, factorized did not", ("harness",)),
        (
            {"dependencies": ("pyproject.toml",)},
            "pyproject.toml changed, and both ran with the packages installed here, factorized did not",
            ("dependencies",),
        ),
        (
            {"dependencies": ("constraints.txt",), "base_packages": {"torch": "2.13.0", "numpy": "2"}, "head_packages": {"torch": "2.14.1", "numpy": "2"}},
            "dependencies changed: torch 2.13.0 -> 2.14.1, factorized did not",
            ("dependencies",),
        ),
        (
            {"base_packages": {"a": "1", "b": "1", "c": "1", "d": "1"}, "head_packages": {"e": "1"}},
            "dependencies changed: a 1 -> not there, b 1 -> not there, c 1 -> not there and 2 more, factorized did not",
            ("dependencies",),
        ),
        (
            {"dependencies": ("constraints.txt",), "base_packages": {"torch": "2"}, "head_packages": {"torch": "2"}},
            "nothing that it runs changed",
            (),
        ),
        (
            {"head": {"implementations": {"factorized": "f2"}, "programs": {"factorized": "p2"}}, "base_packages": {"torch": "1"}, "head_packages": {"torch": "2"}},
            "factorized changed, dependencies changed: torch 1 -> 2",
            ("implementation", "dependencies"),
        ),
        ({"slow_down": 0.1}, "10% more work planted", ("planted",)),
    ],
)  # fmt: skip
def test_what_changed_is_told_apart(changes: dict[str, object], words: str, causes: tuple[str, ...]) -> None:
    given = dict(changes)
    head = given.pop("head", {})
    assert isinstance(head, dict)
    (found,) = outcome(run(replace(HEAD, **head), **given), pairs(cell(), 1.5)).cells
    assert (found.changed, found.causes) == (words, causes)


def test_a_crash_is_not_measured_and_a_cell_that_base_has_not_is_not_compared() -> None:
    where = cell()
    crashed = ended(where, Status.CRASHED, "in timing: killed by SIGSEGV")
    result = outcome(run(), failed(where, "head: crashed: in timing: killed by SIGSEGV", ok(where), crashed))
    assert sentences(result) == [
        "factorized, n=4096, fp32, fwd: not measured (head: crashed: in timing: killed by SIGSEGV); nothing that it runs changed"
    ]
    fresh = run(replace(HEAD, implementations={"new": "n1"}))
    lacking = outcome(fresh, failed(cell(implementation="new"), "base has no new")[:1])
    assert [(one.verdict, one.outcome, one.reason) for one in lacking.cells] == [
        ("not compared", "not compared", "base has no new")
    ]
    gone = outcome(run(replace(HEAD, implementations={})), failed(where, "head has no factorized")[:1])
    assert [one.verdict for one in gone.cells] == ["not measured"]


@pytest.mark.parametrize(
    ("head", "verdict"), [(Status.OK, "not compared"), (Status.UNSUPPORTED, "not compared"), (Status.CRASHED, "not measured")]
)
def test_what_base_could_not_do_is_no_fault_of_head(head: Status, verdict: str) -> None:
    where = cell()
    now = ok(where) if head == Status.OK else ended(where, head, "why")
    (found,) = outcome(run(), failed(where, "reason", ended(where, Status.UNSUPPORTED, "no softmax form"), now)).cells
    assert found.verdict == verdict


def test_that_both_sides_share_the_memory_is_said() -> None:
    where = cell()
    sides = [ended(where, Status.OUT_OF_MEMORY, "in check: can't allocate 1 GiB", 2**30) for _ in range(2)]
    (found,) = outcome(run(), failed(where, "base: out_of_memory: in check; head: out_of_memory: in check", *sides)).cells
    assert found.verdict == "not measured"
    assert found.reason is not None
    assert found.reason.endswith("; both sides are held at once, so each may take 1.00 GiB, half of the budget")


def test_one_reason_of_many_cells_is_said_once() -> None:
    cells = [cell(n) for n in (64, 128, 256, 512)]
    found = [one for where in cells for one in failed(where, "base: did not start: No module named 'nothing'")]
    assert said([*found, *pairs(cell(4096), 1.5)]) == [
        sentences(outcome(run(), pairs(cell(4096), 1.5)))[0],
        "4 cells not measured (base: did not start: No module named 'nothing')",
    ]


def test_the_headline_counts_and_says_which_side_is_which() -> None:
    found = outcome(
        run(), [*pairs(cell(64), 1.5), *pairs(cell(128), 0.5), *pairs(cell(256)), *pairs(cell(512), peaks=(1, 2**22))]
    )
    assert headline(found, run()) == (
        "4 cells, 5 launch pairs, the working tree against v1: 1 slower, 1 faster, 2 equivalent, 1 worse in what is counted."
    )


def test_the_document_holds_all_of_it_in_strict_json() -> None:
    found = outcome(run(), [*pairs(cell(64), 1.5), *pairs(cell(256)), *failed(cell(512), "head: crashed: x")])
    told = document(found, run(), ["promised here: 4 %"], "the budget of 1 s was used up", 2**20, Ending(1, advisory=True))
    again = json.loads(json.dumps(told, allow_nan=False))
    assert (again["format"], again["version"], again["title"], again["exit_code"]) == ("fabench-gate", 1, "gate ci", 1)
    assert (again["ended"], again["advisory"], again["remarks"]) == (
        "the budget of 1 s was used up",
        True,
        ["promised here: 4 %"],
    )
    assert [one["outcome"] for one in again["findings"]] == ["worse", "fine", "not measured"]
    assert [one["name"] for one in again["findings"]] == [one["cell"] for one in again["cells"]]
    assert all(len(row) == len(COLUMNS) for row in again["rows"])
    assert again["cells"][0]["time"]["ratio"]["value"] == pytest.approx(1.5)
    assert again["run"]["base"]["programs"] == SOURCES.programs
