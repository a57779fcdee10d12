"""`fabench selftest` as a user runs it, before scripted sides: what is measured, said, kept, and what a gate makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fabench.suite import load
from tests.cli.scripted import Checkout, checkout, repository

__all__ = ["checkout", "repository"]  # fixtures

SELFTEST = ("selftest", "--suite", "scripted.toml", "--pairs", "5", "--planted", "5", "--effects", "0.2", "--looks", "2,5")
GATE = ("gate", "--base", "HEAD", "--suite", "scripted.toml", "--looks", "2,5")


def test_it_says_keeps_and_a_gate_shows_what_it_promises(checkout: Checkout) -> None:
    """Scripted sides are equal to the last digit, and slowed by exactly what is asked: no alarm, and everything planted is found."""
    checkout.commit()
    done = checkout.fabench(*SELFTEST, "--seed", "3", "--json")
    found = json.loads(done.out)
    assert (found["pairs"], found["looks"], found["suite"], found["bias"]) == (5, [2, 5], "scripted", 0.0)
    assert found["alarms"]["value"] == 0.0 and found["alarms"]["high"] < 0.01
    (planted,) = found["planted"]
    assert (planted["asked"], planted["pairs"], planted["power"]["value"]) == (0.2, 5, 1.0)
    assert planted["measured"] == pytest.approx(0.2)
    assert planted["cell"].startswith(("factorized/", "dot_product/"))
    assert {one["cell"].split("/")[0] for one in found["promises"]} == {"factorized", "dot_product"}
    assert "5 launch pairs of 2 cells, nothing changed" in done.err and "5 launch pairs of 1 cells, 20% planted" in done.err
    assert "false alarms: 0.0% of gates" in done.err
    assert "20% planted in " in done.err and "measured +20.0%, called slower in 100% of gates" in done.err
    kept = Path(done.err.rsplit("kept in ", 1)[1].strip())
    (entry,) = json.loads(kept.read_text())["entries"]
    assert entry["value"]["measured_at"] == found["measured_at"] and entry["value"]["measured_at"] is not None
    gate = checkout.fabench(*GATE)
    assert (
        f"promised here: {100 * found['promise']:.1f}% or more is found in 95 of 100 gates in every cell; false alarms in 0.0%"
        in gate.err
    )
    other = checkout.fabench(*GATE[:-1], "2")
    assert "promised here: " in other.err and "false alarms" not in other.err, "alarms were counted for other looks"


def test_pairs_are_stored_like_a_gates_with_what_was_planted(checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit()
    checkout.fabench(*SELFTEST, "--results", tmp_path / "pairs")
    runs = [json.loads((path / "gate.json").read_text()) for path in sorted((tmp_path / "pairs").iterdir())]
    assert sorted((run["slow_down"], run["slowed"] is None) for run in runs) == [(0.0, True), (0.2, False)]
    lines = [len((path / "pairs.jsonl").read_text().splitlines()) for path in sorted((tmp_path / "pairs").iterdir())]
    assert sorted(lines) == [5, 10]


def test_the_cell_that_is_slowed_can_be_named(checkout: Checkout) -> None:
    checkout.commit()
    name = next(one.cell.id for one in load("scripted.toml").plan("cpu") if one.cell.implementation == "dot_product")
    found = json.loads(checkout.fabench(*SELFTEST, "--cell", name, "--effects", "0.1,0.3", "--json").out)
    assert [(one["cell"], one["asked"]) for one in found["planted"]] == [(name, 0.1), (name, 0.3)]


def test_a_threshold_that_pairs_can_not_resolve_is_refused(checkout: Checkout) -> None:
    """A self-test whose pairs spread by 20 % is put in place of the scripted one's."""
    checkout.commit()
    done = checkout.fabench(*SELFTEST)
    kept = Path(done.err.rsplit("kept in ", 1)[1].strip())
    text = json.loads(kept.read_text())
    for promise in text["entries"][0]["value"]["promises"]:
        promise["spread"] = 0.2
    kept.write_text(json.dumps(text))
    refused = checkout.fabench(*GATE, status=2)
    assert "--min-effect 0.05 is too fine for this machine" in refused.err
    assert "spreads by 20.0% from pair to pair" in refused.err and "would find 10%" in refused.err
    assert checkout.fabench(*GATE[:-1], "2,20", "--min-effect", "0.5").status == 0


def test_cells_that_can_not_be_measured_are_left_out_and_none_at_all_is_4(checkout: Checkout) -> None:
    checkout.behave(factorized={"ending": "crash"}, dot_product={"ending": "crash"})
    (line,) = [line for line in checkout.fabench(*SELFTEST, status=4).err.splitlines() if line.startswith("fabench: ")]
    assert line.startswith(
        "fabench: no cell of the suite could be measured (base: crashed: in prepare: killed by SIGSEGV; head: crashed"
    )
    checkout.behave(factorized={"ending": "crash"})
    left = checkout.fabench(*SELFTEST)
    assert (
        "factorized/cpu/core/softmax/fp32/fwd/n=64" in left.err
        and "could not be measured in every pair, and is left out" in left.err
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--effects", "much"), "is no list of shares; write for example 0.05,0.1"),
        (("--effects", "0"), "is no list of shares"),
        (("--cell", "nothing"), "is none of the suite's cells; `fabench list cells scripted` lists them"),
        (("--looks", "8,12"), "a self-test needs the same 8 or more pairs of every cell"),
        (("--pairs", "4"), "--pairs"),
    ],
)
def test_wrong_words_are_one_line(checkout: Checkout, words: tuple[str, ...], said: str) -> None:
    checkout.commit()
    done = checkout.fabench(*SELFTEST, *words, status=2)
    assert said in done.err.splitlines()[-1]
