"""How a comparison is said: sentences, the headline, Markdown that no name breaks, and one JSON document that says all of it."""

import json
import re
from dataclasses import replace
from typing import Any

from fabench.analysis.compare import Comparison, compare
from fabench.export.verdicts import load, read
from fabench.report.compare import COLUMNS, WARNING, document, headline, remarks, rows, sentences
from fabench.report.verdicts import Ending
from fabench.schema import Status
from tests.launched import changed, floor, launches

BASE = launches(5, seed=1)
CELL = next(iter(BASE[0].records))


def told(found: Comparison, base: str = "a") -> dict[str, Any]:
    written: dict[str, Any] = json.loads(json.dumps(document(found, base, "b", Ending(1)), allow_nan=False))
    return written


def markdown(found: Comparison, base: str = "a") -> str:
    return load("step_summary")(read(told(found, base), "here")).decode()


def slower(factor: float, count: int = 5, name: str = "sdpa") -> Comparison:
    return compare(BASE[:count], launches(count, seed=2, minute=20, factors={name: factor}))


def test_a_slow_cell_has_a_sentence_with_interval_and_launches() -> None:
    said = [line for line in sentences(slower(1.4)) if " slower " in line]
    assert len(said) == 3
    for line in said:
        found = re.fullmatch(r"sdpa, n=\d+, fp32, fwd: ([\d.]+) % slower \[([\d.]+), ([\d.]+)\], 5 and 5 launches", line)
        assert found is not None, line
        value, low, high = map(float, found.groups())
        assert 30 < value < 50 and low < value < high


def test_a_fast_cell_has_positive_numbers() -> None:
    (line, *_) = [line for line in sentences(slower(0.7, name="factorized_plain")) if " faster " in line]
    assert re.fullmatch(r"factorized_plain, n=\d+, fp32, fwd: [\d.]+ % faster \[[\d.]+, [\d.]+\], 5 and 5 launches", line)


def test_the_tripwire_is_said_as_such() -> None:
    assert any("times as long: slower by the tripwire alone, 1 and 1 launches" in line for line in sentences(slower(2.5, 1)))


def test_what_bounds_undecided_cells_is_said_and_only_once_for_many() -> None:
    few = "1 and 1 launches, 5 a side are needed for a verdict; "
    assert sentences(slower(1.3, 1)) == [f"6 cells undecided: {few}nothing says how launches spread"]
    base, head = (launches(1, seed=seed, devices=floor(0.25), sizes=(1024,)) for seed in (1, 2))
    said = sentences(compare(base, head))
    assert len(said) == 2
    for line in said:
        assert re.search(r"undecided: [+-][\d.]+% \[[+-][\d.]+ %, [+-][\d.]+ %\] \(" + few + "bounds are the noise sheet's", line)


def test_unchanged_cells_are_counted_and_not_listed() -> None:
    found = slower(1.0)
    quiet = len(found.having("equivalent"))
    assert quiet > 2 and f"{quiet} equivalent" in headline(found, "a", "b")
    assert len(sentences(found)) == len(found.cells) - quiet


def test_stored_time_is_said_to_be_worth_little_wherever_there_is_one() -> None:
    found = slower(1.0)
    assert WARNING in remarks(found) and "fabench gate" in WARNING
    assert WARNING in json.dumps(told(found))
    assert "fabench gate" in markdown(found)
    alone = compare(BASE, BASE, independent=True)
    assert WARNING not in remarks(alone)
    assert "not compared: time, exponents of time, accuracy" in remarks(alone)


def test_cells_that_short_names_can_t_tell_apart_are_called_by_their_ids() -> None:
    both = launches(1, seed=1, normalisations=("softmax", "scaling"))
    names = [row[0] for row in rows(compare(both, both))]
    assert len(set(names)) == len(names) == 12
    assert all("/" in name for name in names)


def test_what_is_worse_and_not_measured_says_both() -> None:
    head = [changed(one, CELL, status=Status.INCORRECT.value) for one in launches(5, seed=2)]
    (line,) = [line for line in sentences(compare(BASE, head)) if "WORSE" in line]
    assert "not measured (head: incorrect: for a reason); WORSE: ok -> incorrect in 5 of 5 launches (for a reason)" in line


def test_a_column_for_every_value() -> None:
    assert all(len(row) == len(COLUMNS) for row in rows(slower(1.4)))


def test_the_document_is_strict_json_and_complete() -> None:
    again = told(slower(1.4))
    assert again["exit_code"] == 1 and len(again["cells"]) == 6
    assert {cell["verdict"] for cell in again["cells"] if cell["implementation"] == "sdpa"} == {"slower"}
    assert again["sentences"] == sentences(slower(1.4))
    outcomes = {one["name"]: one["outcome"] for one in again["findings"]}
    assert {outcomes[cell["cell"]] for cell in again["cells"] if cell["verdict"] == "slower"} == {"worse"}


def test_every_exponent_and_every_cell_of_one_side_is_a_finding() -> None:
    head = [
        replace(one, records={key: record for key, record in one.records.items() if key != CELL}) for one in launches(5, seed=2)
    ]
    found = compare(BASE, head)
    findings = {one["name"]: one for one in told(found)["findings"]}
    assert findings[CELL] == {"name": CELL, "outcome": "not compared", "text": "only in base, not compared"}
    assert sum(name.startswith("exponent of ") for name in findings) == len(found.powers) > 0
    assert len(findings) == len(found.cells) + len(found.powers) + 1


def test_hostile_names_stay_text() -> None:
    hostile = "x|y`<script>@all\n\x1b[31m"
    sides = []
    for side in (BASE, launches(5, seed=2, factors={"sdpa": 3.0})):
        records = [{**one.records} for one in side]
        for known in records:
            key, record = next((key, one) for key, one in known.items() if one.cell.implementation == "sdpa")
            del known[key]
            renamed = replace(record, cell=replace(record.cell, implementation=hostile))
            known[renamed.cell.id] = renamed
        sides.append([replace(one, records=known) for one, known in zip(side, records, strict=True)])
    text = markdown(compare(sides[0], sides[1]), hostile)
    assert "<script" not in text and "\x1b" not in text and "@all" not in text
    table = [line for line in text.split("\n") if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == len(COLUMNS) + 1 for line in table)
