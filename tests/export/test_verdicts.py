"""Verdicts in the forms of CI servers: what becomes of each outcome, limits, hostile text, and documents that are none."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabench.analysis.outcome import outcome
from fabench.errors import StoreError, UsageError
from fabench.export.verdicts import Told, is_verdicts, load, read, renderers
from fabench.export.verdicts.base import Finding
from fabench.report.gate import document
from fabench.report.verdicts import Ending
from tests.gates import cell, failed, pairs, run
from tests.report.hostile import TEXTS

NOISY = (-0.3, -0.1, 0.0, 0.1, 0.3)
SLOW, SAME, OPEN, BROKEN, NEW = (cell(n) for n in (64, 128, 256, 512, 1024))


def written(**ending: Any) -> dict[str, Any]:
    """A gate with a cell for each outcome."""
    found = [
        *pairs(SLOW, 1.5),
        *pairs(SAME),
        *pairs(OPEN, jitter=NOISY),
        *failed(BROKEN, "head: crashed: in timing: killed by SIGSEGV"),
        *failed(cell(1024, "new"), "base has no new"),
    ]
    asked = run(head=run().head.__class__("1" * 40, "the working tree", "harness", {"factorized": "f1", "new": "n"}))
    told = document(outcome(asked, found), asked, ["promised here: 4 %"], None, 2**20, Ending(1, **ending))
    return dict(json.loads(json.dumps(told)))


def text(form: str, **ending: Any) -> str:
    return load(form)(read(written(**ending), "here")).decode("utf-8")


def cases(**ending: Any) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Per test case the tags of its children, and the suite's attributes, as an XML reader finds them."""
    suite = ElementTree.fromstring(text("junit", **ending).encode())[0]
    return {one.attrib["name"]: [child.tag for child in one] for one in suite.iter("testcase")}, suite.attrib


def told(findings: Sequence[Finding], **changes: Any) -> Told:
    known = {"title": "gate ci", "headline": "h", "exit_code": 1, "fail_undecided": False, "advisory": False}
    return Told(**(known | changes), findings=tuple(findings), remarks=(), columns=("cell",), rows=(("a",),))  # type: ignore[arg-type]


def test_they_are_found_by_their_files() -> None:
    assert renderers() == ("annotations", "junit", "step_summary")
    with pytest.raises(UsageError, match="verdicts are not written as 'docx'; there are annotations, junit"):
        load("docx")


def test_junit_tells_worse_not_measured_undecided_and_fine_apart() -> None:
    found, suite = cases()
    assert found == {
        SLOW.id: ["failure"],
        SAME.id: ["system-out"],
        OPEN.id: ["skipped"],
        BROKEN.id: ["error"],
        cell(1024, "new").id: ["skipped"],
    }
    assert suite == {"name": "fabench.gate.ci", "tests": "5", "failures": "1", "errors": "1", "skipped": "2"}
    found, suite = cases(fail_undecided=True)
    assert found[OPEN.id] == ["failure"] and found[cell(1024, "new").id] == ["skipped"]
    assert (suite["failures"], suite["skipped"]) == ("2", "1")


def test_junit_keeps_the_order_that_its_schema_asks_for() -> None:
    """JUnit 10's schema as Jenkins' xUnit plugin has it: cases first, then the suite's output; a case has a class, a name, one ending."""
    root = ElementTree.fromstring(text("junit").encode())
    assert root.tag == "testsuites"
    (suite,) = root
    assert [child.tag for child in suite] == ["testcase"] * 5 + ["system-out"]
    assert "promised here: 4 %" in (suite[-1].text or "") and "5 cells" in (suite[-1].text or "")
    for case in suite.iter("testcase"):
        assert set(case.attrib) == {"classname", "name"} and len(case) == 1
        (ending,) = case
        allowed = {"failure": {"type", "message"}, "error": {"type", "message"}, "skipped": {"message"}, "system-out": set()}
        assert set(ending.attrib) == allowed[ending.tag]
    (failure,) = suite.iter("failure")
    assert failure.attrib["type"] == "worse" and "50.0 % slower [" in failure.attrib["message"]


def test_junitparser_reads_it() -> None:
    junitparser = pytest.importorskip("junitparser", reason="junitparser is not installed")
    (suite,) = junitparser.JUnitXml.fromstring(text("junit").encode())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 1, 1, 2)
    kinds = {case.name: [type(result).__name__ for result in case.result] for case in suite}
    assert kinds[SLOW.id] == ["Failure"] and kinds[BROKEN.id] == ["Error"] and kinds[OPEN.id] == ["Skipped"]


def kinds(shown: str) -> list[str]:
    return [line.split(" ")[0] for line in shown.splitlines()]


def test_annotations_by_outcome() -> None:
    shown = text("annotations")
    assert kinds(shown) == ["::error", "::error", "::warning"]
    first = shown.splitlines()[0]
    assert first.startswith("::error title=factorized/cpu/core/softmax/fp32/fwd/n=64%2Cb=1%2C")
    assert "::factorized, n=64, fp32, fwd: 50.0 %25 slower [" in first
    assert kinds(text("annotations", fail_undecided=True)) == ["::error"] * 3
    assert kinds(text("annotations", advisory=True, fail_undecided=True)) == ["::warning"] * 3
    assert load("annotations")(told([Finding("a", "fine", "as before")])) == b""


def test_annotations_are_ten_of_a_kind_at_most() -> None:
    many = [Finding(f"c{n}", "worse" if n % 2 else "not measured", "why") for n in range(200)]
    lines = load("annotations")(told(many)).decode().splitlines()
    assert len(lines) == 10
    assert lines[-1] == "::error title=fabench::and 191 more: 96 worse, 95 not measured"


def test_the_summary_says_what_is_worse_first_and_has_every_cell() -> None:
    shown = text("step_summary")
    assert shown.startswith("## fabench gate ci: worse\n\n5 cells, 5 launch pairs, the working tree against v1: ")
    bullets = [line for line in shown.splitlines() if line.startswith("- ")]
    assert ["50.0 % slower" in bullets[0], "not measured" in bullets[1] + bullets[2], "promised here" in bullets[3]] == [True] * 3
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 5
    assert "Advisory: the exit code would be 1, it is 0." in text("step_summary", advisory=True)
    assert "Advisory" not in shown


def test_the_summary_stays_below_a_mebibyte_and_counts_what_it_cut() -> None:
    many = [Finding(f"c{n}", "worse", "é" * 500) for n in range(3000)]
    rows = tuple((f"c{n}", "slower", "x" * 250) for n in range(5000))
    whole = Told("gate ci", "h", 1, False, False, tuple(many), ("r" * 500,) * 1000, ("cell", "verdict", "why"), rows)
    shown = load("step_summary")(whole)
    assert 500_000 < len(shown) < 2**20
    for what, count in (("sentences", 3000), ("remarks", 1000), ("rows", 5000)):
        assert f" of {count} {what}; the JSON document has the rest." in shown.decode()


@pytest.mark.parametrize("form", renderers())
def test_hostile_texts_stay_texts(form: str) -> None:
    hostile = [Finding(one, outcome_, f"{one}\n::error::forged\ufffe") for one in TEXTS for outcome_ in ("worse", "undecided")]
    whole = Told(TEXTS[1], TEXTS[0], 1, False, False, tuple(hostile), TEXTS, TEXTS, (TEXTS,))
    shown = load(form)(whole).decode("utf-8")
    assert not set("\x00\x1b\u202e\ufffe") & set(shown)
    if form == "junit":
        suite = ElementTree.fromstring(shown.encode())[0]
        assert len(list(suite.iter("testcase"))) == len(hostile) and len(suite) == len(hostile) + 1
    elif form == "annotations":
        assert all(line.startswith(("::error title=", "::warning title=")) for line in shown.splitlines())
    else:
        assert "<script" not in shown and "<img" not in shown and not re.search(r"(?<!\\)\]\(", shown) and "@someone" not in shown
        borders = {line.count("|") - line.count("\\|") for line in shown.splitlines() if line.startswith("|")}
        assert borders == {len(TEXTS) + 1}


_FINDINGS = st.builds(
    Finding, st.text(), st.sampled_from(["worse", "not measured", "undecided", "not compared", "fine"]), st.text()
)


@settings(max_examples=80, deadline=None)
@given(findings=st.lists(_FINDINGS, max_size=5), title=st.text(), flags=st.tuples(st.booleans(), st.booleans()))
def test_any_text_passes_through(findings: list[Finding], title: str, flags: tuple[bool, bool]) -> None:
    whole = told(findings, title=title, headline=title, fail_undecided=flags[0], advisory=flags[1])
    suite = ElementTree.fromstring(load("junit")(whole))[0]
    counts = {tag: sum(1 for _ in suite.iter(tag)) for tag in ("failure", "error", "skipped")}
    assert {"failure": suite.attrib["failures"], "error": suite.attrib["errors"], "skipped": suite.attrib["skipped"]} == {
        tag: str(count) for tag, count in counts.items()
    }
    assert counts["error"] == len(whole.having("not measured"))
    lines = load("annotations")(whole).decode().splitlines()
    assert len(lines) == min(10, len([one for one in findings if one.outcome in ("worse", "not measured", "undecided")]))
    load("step_summary")(whole).decode()


def test_a_document_comes_back_from_its_bytes() -> None:
    data = json.dumps(written()).encode()
    assert is_verdicts(data) and not is_verdicts(b'{"benchmarks": []}')
    assert read(data, "file") == read(written(), "here")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[1]", "its format is another one"),
        (b'{"format": "fabench-gate", "version": 2}', "version 2 is not known"),
        (b'{"format": "fabench-gate", "version": 1}', "advisory is missing"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_what_is_none_is_one_line(data: bytes, words: str) -> None:
    with pytest.raises(StoreError) as error:
        read(data, "x.json")
    assert str(error.value).startswith("x.json holds no verdicts of `fabench gate` or `compare`: ")
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_an_outcome_that_is_not_known_is_refused() -> None:
    broken = written()
    broken["findings"][0]["outcome"] = "better"
    with pytest.raises(StoreError, match="outcome 'better' is not known"):
        read(broken, "here")
