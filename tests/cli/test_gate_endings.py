"""Every way a gate ends, before scripted sides: the verdict, its words, the exit code, and what JUnit and annotations make of it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tests.cli.scripted import Checkout, checkout, repository
from tests.sweep.test_environments import maker

__all__ = ["checkout", "repository"]  # fixtures

CRASH, HANG = {"ending": "crash"}, {"ending": "hang"}
UNABLE = {"ending": "unsupported", "reason": "no such form"}
LARGE = {"ending": "out_of_memory", "reason": "in check: can't allocate 4 GiB"}
WRONG = {"ending": "incorrect", "reason": "output is off float64 by 0.01, 1e-05 is allowed"}


def verdicts(found: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {cell["implementation"]: (cell["verdict"], cell["reason"]) for cell in found["cells"]}


def test_nothing_changed_is_fine(checkout: Checkout) -> None:
    found = checkout.gate({}, {}, status=0)
    assert verdicts(found) == {"factorized": ("equivalent", None), "dot_product": ("equivalent", None)}
    assert "2 cells, 2 launch pairs, the working tree against " in found["said"]


def test_slower_is_worse_and_everything_says_so(checkout: Checkout, tmp_path: Path) -> None:
    words = ("--junit", tmp_path / "v.xml", "--summary", tmp_path / "s.md")
    found = checkout.gate({}, {"factorized": {"factor": 1.081}}, *words, status=1)
    assert verdicts(found)["factorized"] == ("slower", None)
    said = next(line for line in found["said"].splitlines() if line.startswith("factorized, n=64"))
    assert said.startswith("factorized, n=64, fp32, fwd: 8.1 % slower [") and said.endswith(
        "2 pairs, confirmed; nothing that it runs changed"
    )
    suite = ElementTree.parse(tmp_path / "v.xml").getroot()[0]
    assert {case.attrib["name"].split("/")[0]: case[0].tag for case in suite.iter("testcase")} == {
        "factorized": "failure",
        "dot_product": "system-out",
    }
    assert (tmp_path / "s.md").read_text().startswith("## fabench gate scripted: worse")
    checkout.behave(factorized={"factor": 1.081})
    told = checkout.fabench("gate", "--resume", "latest", "--annotations", status=1)
    assert [line.partition(" title=")[0] for line in told.out.splitlines()] == ["::error"]
    advised = checkout.fabench("gate", "--resume", "latest", "--annotations", "--advisory")
    assert advised.out.startswith("::warning title=factorized/") and "the exit code would be 1, it is 0" in advised.err


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        (CRASH, {}, "base: crashed: in prepare: killed by SIGSEGV"),
        ({}, CRASH, "head: crashed: in prepare: killed by SIGSEGV"),
        ({}, WRONG, "head: incorrect: output is off float64 by 0.01, 1e-05 is allowed"),
        ({}, UNABLE, "head: unsupported: no such form"),
        (LARGE, LARGE, "each may take 1.00 GiB, half of the budget"),
    ],
    ids=["base crashes", "head crashes", "head is wrong", "head can't any more", "two do not fit"],
)
def test_what_could_not_be_measured_is_4_and_never_slower(
    checkout: Checkout, tmp_path: Path, base: dict[str, Any], head: dict[str, Any], said: str
) -> None:
    found = checkout.gate({"factorized": base}, {"factorized": head}, "--junit", tmp_path / "v.xml", status=4)
    verdict, reason = verdicts(found)["factorized"]
    assert verdict == "not measured" and reason is not None and said in reason
    assert verdicts(found)["dot_product"] == ("equivalent", None), "the other cell is judged all the same"
    suite = ElementTree.parse(tmp_path / "v.xml").getroot()[0]
    assert (suite.attrib["errors"], suite.attrib["failures"]) == ("1", "0")


def test_a_cell_that_does_not_end_in_time_is_not_measured(checkout: Checkout) -> None:
    found = checkout.gate(
        {}, {"factorized": HANG}, "--set", "budget.cell=1 s", "--where", "implementation == 'factorized'", status=4
    )
    assert verdicts(found)["factorized"] == ("not measured", "head: timed_out: not done in time (in prepare)")


def test_worse_goes_before_not_measured(checkout: Checkout) -> None:
    found = checkout.gate({}, {"factorized": CRASH, "dot_product": {"peak": 4 * 10**6}}, status=1)
    assert verdicts(found)["factorized"][0] == "not measured"


@pytest.mark.parametrize("side", ["base", "head"])
def test_a_side_that_does_not_start_is_4_with_a_document(checkout: Checkout, side: str) -> None:
    broken: dict[str, Any] = {"server": "broken"}
    base, head = (broken, {}) if side == "base" else ({}, broken)
    commit = checkout.commit(**base)
    head_commit = checkout.commit(**head)
    checkout.behave()  # the session's own side runs from the working tree
    words = ("gate", "--base", commit, "--head", head_commit, "--suite", "scripted.toml", "--looks", "2", "--json")
    done = checkout.fabench(*words, status=4)
    found = json.loads(done.out)
    assert {verdict for verdict, _ in verdicts(found).values()} == {"not measured"}
    for _, reason in verdicts(found).values():
        assert reason is not None
        assert reason.startswith(f"{side}: the measuring side did not start: ImportError: cannot import name 'gone' from 'torch'")
    assert found["launches"] == 2, "once may be an accident"


def test_source_that_is_no_python_is_not_measured_and_no_traceback(checkout: Checkout) -> None:
    """The scripted side does not import it: what is looked at here is that the parent, which reads sources, goes on."""
    file = checkout.top / "fabench" / "attention" / "factorized.py"
    honest = file.read_text()
    file.write_text("def half a commit(:\n")
    commit = checkout.commit(factorized=CRASH)
    file.write_text(honest)
    checkout.behave()
    done = checkout.fabench("gate", "--base", commit, "--suite", "scripted.toml", "--looks", "2", "--json", status=4)
    (cell,) = (cell for cell in json.loads(done.out)["cells"] if cell["implementation"] == "factorized")
    assert (cell["verdict"], cell["changed"]) == ("not measured", "factorized changed")
    checkout.commit()


def test_a_new_implementation_is_not_compared_and_fails_nothing(checkout: Checkout) -> None:
    file = checkout.top / "fabench" / "attention" / "dot_product.py"
    text = file.read_text()
    file.unlink()
    commit = checkout.commit()
    file.write_text(text)
    words = ("gate", "--base", commit, "--suite", "scripted.toml", "--looks", "2", "--json")
    found = json.loads(checkout.fabench(*words).out)
    assert verdicts(found) == {"dot_product": ("not compared", "base has no dot_product"), "factorized": ("equivalent", None)}
    alone = checkout.fabench(*words, "--where", "implementation == 'dot_product'", status=4)
    assert verdicts(json.loads(alone.out)) == {"dot_product": ("not compared", "base has no dot_product")}
    checkout.commit()


def test_a_cell_that_neither_side_can_do_fails_nothing(checkout: Checkout) -> None:
    found = checkout.gate({"factorized": UNABLE}, {"factorized": UNABLE}, status=0)
    assert verdicts(found)["factorized"][0] == "not compared"
    first = checkout.gate({"factorized": UNABLE}, {}, status=0)
    assert verdicts(first)["factorized"] == ("not compared", "base: unsupported: no such form")


def test_memory_has_its_two_tolerances(checkout: Checkout) -> None:
    head = {"factorized": {"peak": 10**6 + 8192}}
    checkout.gate({}, head, status=0)
    for words, status in ((("--exact",), 1), (("--memory", "8 KiB"), 0), (("--memory", "7 KiB"), 1)):
        told = checkout.fabench("gate", "--resume", "latest", *words, status=status)
        assert ("WORSE: peak memory 977 KiB -> 985 KiB (+8.00 KiB)" in told.err) is bool(status)
    again = json.loads(checkout.fabench("gate", "--resume", "latest", "--exact", "--json", status=1).out)
    assert again["memory_tolerance_bytes"] == 4096


def test_a_budget_that_is_used_up_is_said_and_is_3_when_asked(checkout: Checkout) -> None:
    commit = checkout.commit()
    words = ("gate", "--base", commit, "--suite", "scripted.toml", "--looks", "4", "--budget", "0 s", "--json")
    done = checkout.fabench(*words, status=4)
    assert json.loads(done.out)["cells"] == []
    assert "not all was decided: the budget of 0 s was used up" in done.err


def test_undecided_is_0_or_3(checkout: Checkout) -> None:
    """A change of 4 % is below what matters, and with a smallest change of 4.2 % the interval reaches beyond it."""
    head = {"factorized": {"factor": 1.04}}
    found = checkout.gate({}, head, "--min-effect", "0.042", status=0)
    assert verdicts(found)["factorized"][0] == "undecided"
    told = checkout.fabench("gate", "--resume", "latest", "--inconclusive", "fail", "--annotations", status=3)
    assert told.out.startswith("::error title=factorized/")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--exact", "--memory", "1 KiB"), "both say what peaks may take more"),
        (("--json", "--annotations"), "fabench export FILE -f annotations"),
        (("--environment-command", "true"), "give --own-environments with it"),
    ],
)
def test_words_that_exclude_each_other(checkout: Checkout, words: tuple[str, ...], said: str) -> None:
    assert said in checkout.fabench("gate", "--base", "HEAD", *words, status=2).err


def test_each_side_in_its_own_environment(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in makes the environments; what they hold beside each other is in the verdict's sentence, and the second gate makes none."""
    command, made = maker(tmp_path, monkeypatch)
    constraints = checkout.top / "constraints.txt"
    known = constraints.read_text()
    own = ("--own-environments", "--environment-command", command)
    try:
        constraints.write_text("otherlib==1.0")
        commit = checkout.commit()
        constraints.write_text("otherlib==2.0")
        checkout.behave(factorized={"factor": 1.5})
        words = ("gate", "--base", commit, "--suite", "scripted.toml", "--looks", "2", "--json", *own)
        done = checkout.fabench(*words, status=1)
        found = json.loads(done.out)
        assert "each side runs in its own environment" in done.err
        assert [found["run"][f"{side}_packages"]["otherlib"] for side in ("base", "head")] == ["1.0", "2.0"]
        (slower,) = (cell for cell in found["cells"] if cell["verdict"] == "slower")
        assert slower["changed"] == "dependencies changed: otherlib 1.0 -> 2.0, factorized did not"
        assert slower["causes"] == ["dependencies"]
        assert len(made.read_text().split()) == 2
        checkout.fabench(*words, status=1)
        assert len(made.read_text().split()) == 2
        shared = json.loads(checkout.fabench(*words[:-3], status=1).out)
        assert shared["run"]["base_packages"] is None
        assert "constraints.txt changed, and both ran with the packages installed here" in shared["cells"][0]["changed"]
        constraints.write_text("otherlib==1.0")
        assert "one environment serves both" in checkout.fabench(*words, status=1).err
        constraints.write_text("otherlib==impossible")
        failed = checkout.fabench(*words, status=4)
        assert failed.out == "" and "No matching distribution found for otherlib==impossible" in failed.err
        assert failed.err.splitlines()[-1].startswith("fabench: head's environment can't be made: ")
    finally:
        constraints.write_text(known)
        checkout.commit()
