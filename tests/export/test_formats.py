"""Every export: found by its file, the same bytes for the same records, nothing lost silently, any text and number survived."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from fabench.analysis.evidence import Evidence
from fabench.errors import UsageError
from fabench.export import Bundle, base, formats, load
from fabench.median import median, median_interval
from fabench.schema import Record
from tests.export.examples import FAILED, MEASURED, ONE_SAMPLE, RECORDS, WHY, bundle, cell, environment, odd_bundles, ok
from tests.report import hostile

EXPECTED = Path(__file__).parent / "expected"
JSON_FORMATS = ("bencher", "github_action", "google_benchmark", "hyperfine", "pytest_benchmark")


def text(name: str, asked: Bundle) -> str:
    return load(name).write(asked).decode("utf-8")


def parsed(name: str, asked: Bundle) -> Any:
    return json.loads(text(name, asked), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "assess", lambda record, facts: Evidence("B" if record.timing else None))


def without_records(document: str) -> str:
    """pytest-benchmark's file without the complete records, whose fields are the schema's affair."""
    data = json.loads(document)
    for benchmark in data["benchmarks"]:
        benchmark["extra_info"]["fabench_record"] = benchmark["extra_info"]["fabench_record"]["cell"]["implementation"]
    data["fabench"]["environments"] = len(data["fabench"]["environments"])
    data["fabench"]["records"] = [record["status"] for record in data["fabench"]["records"]]
    return json.dumps(data, indent=1) + "\n"


def test_they_are_found_by_their_files() -> None:
    assert set(formats()) == {*JSON_FORMATS, "junit", "step_summary", "annotations"}
    with pytest.raises(UsageError, match="no format 'docx'; there are annotations, bencher"):
        load("docx")


@pytest.mark.parametrize("name", formats())
def test_an_example_as_it_is_written(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    no_evidence(monkeypatch)
    written = text(name, bundle())
    found = without_records(written) if name == "pytest_benchmark" else written
    assert found == (EXPECTED / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", formats())
def test_a_cell_without_a_time_is_said_or_left_out_and_never_0(name: str) -> None:
    gone = [record for record in RECORDS if record.status != "ok" and record.status != "unsupported"]
    written = text(name, bundle())
    if load(name).says_endings:
        for record in gone:
            assert record.reason is not None
            assert record.reason.split(":")[-1].strip() in written.replace("&apos;", "'").replace("\\", "")
    elif name == "pytest_benchmark":
        assert {one["status"] for one in json.loads(written)["fabench"]["records"]} == {
            record.status for record in bundle().untimed
        }
    else:
        assert all(record.cell.id not in written for record in gone)
    assert bundle().counted(bundle().untimed).startswith("1 ") and len(bundle().untimed) == len(RECORDS) - 2


@pytest.mark.parametrize("name", formats())
@settings(max_examples=40, deadline=None)
@given(asked=odd_bundles())
def test_odd_records_pass_through(name: str, asked: Bundle) -> None:
    written = load(name).write(asked)
    assert written == load(name).write(asked)
    if name in JSON_FORMATS:
        parsed(name, asked)
    elif name == "junit":
        suite = ElementTree.fromstring(written)[0]
        assert len(suite) == len(asked.records) == int(suite.attrib["tests"])
    elif name == "annotations":
        assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in written.decode().splitlines())


@pytest.mark.parametrize("name", formats())
def test_no_records_at_all(name: str) -> None:
    assert isinstance(load(name).write(Bundle(())), bytes)


@pytest.mark.parametrize("name", formats())
def test_hostile_texts_stay_texts(name: str) -> None:
    records = {record.cell.id: record for record in hostile.records()}
    asked = Bundle(tuple(records.values()), (hostile.environment(),))
    written = text(name, asked)
    if name == "step_summary":
        assert "<script" not in written and "<img" not in written and "](http" not in written
        assert {line.count("|") - line.count("\\|") for line in written.splitlines() if line.startswith("|")} <= {3, 6}
    elif name == "annotations":
        assert len(written.splitlines()) <= 30 and "\x1b" not in written
    elif name == "junit":
        names = [case.attrib["name"] for case in ElementTree.fromstring(written).iter("testcase")]
        assert len(names) == len(records) and "\x00" not in "".join(names)
    else:
        parsed(name, asked)
        assert written.isascii()


def entries(name: str, asked: Bundle) -> dict[str, tuple[float, float | None, float | None]]:
    """Median, low and high in seconds, as a reader of that format finds them."""
    data = parsed(name, asked)
    if name == "bencher":
        seconds = {key: {name: value / 1e9 for name, value in one["latency"].items()} for key, one in data.items()}
        return {key: (one["value"], one.get("lower_value"), one.get("upper_value")) for key, one in seconds.items()}
    found = {}
    for entry in data:
        assert entry["unit"] == "ms" and isinstance(entry["extra"], str)
        low, high = map(float, entry["range"].split(" .. ")) if "range" in entry else (None, None)
        found[entry["name"]] = (entry["value"] / 1e3, low and low / 1e3, high and high / 1e3)
    return found


@pytest.mark.parametrize("name", ["bencher", "github_action"])
def test_values_are_medians_with_their_interval(name: str) -> None:
    found = entries(name, bundle())
    assert MEASURED.timing is not None
    low, high = median_interval(MEASURED.timing.samples_s)
    assert found[MEASURED.cell.id] == pytest.approx((median(MEASURED.timing.samples_s), low, high))
    assert found[ONE_SAMPLE.cell.id] == (0.5, None, None)


def test_bencher_has_the_published_form() -> None:
    data = parsed("bencher", bundle())
    assert list(data) == [MEASURED.cell.id, ONE_SAMPLE.cell.id]
    for measures in data.values():
        assert set(measures) == {"latency", "peak-memory", "call-memory", "saved-memory", "energy"}
        for metric in measures.values():
            assert {"value"} <= set(metric) <= {"value", "lower_value", "upper_value"}
            assert all(type(value) in (int, float) for value in metric.values())
    assert data[MEASURED.cell.id]["peak-memory"] == {"value": 5000}


def test_a_time_that_cannot_be_is_no_time() -> None:
    zero = ok(cell(8), (0.0,) * 10)
    asked = bundle(MEASURED, zero)
    assert asked.untimed == [zero] and asked.counted(asked.untimed) == "1 impossible"
    assert list(parsed("bencher", asked)) == [MEASURED.cell.id]
    assert "::warning" in text("annotations", asked) and "impossible" in text("annotations", asked)
    assert 'failures="0"' in text("junit", asked) and 'skipped="1"' in text("junit", asked)


def test_what_was_only_checked_is_not_timed() -> None:
    checked = replace(MEASURED, timing=None)
    asked = bundle(checked)
    assert asked.ending(checked) == "not timed: the check alone was asked for"
    assert 'failures="0"' in text("junit", asked)
    assert parsed("github_action", asked) == []


def test_a_record_is_shown_with_its_own_environment() -> None:
    first, second = environment(), replace(environment(), devices={"cpu": {"name": "Another CPU"}})
    other = ok(cell(512))
    asked = Bundle((MEASURED, other), (first, second), origins={MEASURED.cell.id: first, other.cell.id: second})
    assert [asked.facts(record)["device"] for record in asked.records] == ["Example CPU", "Another CPU"]
    assert "device" not in Bundle((MEASURED,), (first, second)).facts(MEASURED)


def test_the_summary_stays_below_a_mebibyte_and_counts_what_it_cut() -> None:
    many = [ok(cell(n)) for n in range(1, 6001)]
    broken = [replace(record, cell=cell(n, "dot_product")) for n, record in enumerate(RECORDS[2:3] * 6000, start=1)]
    written = text("step_summary", Bundle(many + broken, (environment(),)))
    assert 300_000 < len(written.encode()) < 900_000
    assert written.count(" of 6000 rows; `fabench report` has the rest.") == 2


def test_annotations_are_ten_of_a_kind_at_most() -> None:
    broken = [replace(RECORDS[2], cell=cell(n)) for n in range(1, 101)]
    lines = text("annotations", Bundle(broken)).splitlines()
    assert len(lines) == 10 and lines[-1] == "::error title=fabench::and 91 more cells: 91 incorrect"
    assert lines[0].startswith("::error title=factorized/cpu/core/softmax/fp32/fwd/n=1%2Cb=1%2C")
    assert text("annotations", bundle(MEASURED)) == ""
    escaped = replace(RECORDS[2], reason="100% wrong\n::warning::forged")
    (line,) = text("annotations", Bundle([escaped])).splitlines()
    assert line.endswith("::incorrect: 100%25 wrong\\n::warning::forged")


def test_junit_cases_and_counts() -> None:
    suite = ElementTree.fromstring(load("junit").write(bundle()))[0]
    kinds = {case.attrib["name"]: [child.tag for child in case if child.tag != "system-out"] for case in suite}
    assert [kinds[record.cell.id] for record in RECORDS] == [
        [], [], ["failure"], ["skipped"], ["skipped"], ["skipped"], ["failure"], ["failure"],
    ]  # fmt: skip
    assert (suite.attrib["tests"], suite.attrib["failures"], suite.attrib["skipped"]) == ("8", str(FAILED), "3")
    types = [failure.attrib["type"] for failure in suite.iter("failure")]
    assert types == ["incorrect", "crashed", "timed_out"]
    (expected,) = (skipped for skipped in suite.iter("skipped") if "16 GiB" in skipped.attrib["message"])
    assert expected.attrib["message"].endswith(f"(expected: {WHY})")
    assert not set("".join(case.text or "" for case in suite.iter("system-out"))) & set("\x00\x0b\ufffe")


def test_junit_is_read_by_junitparser(tmp_path: Path) -> None:
    junitparser = pytest.importorskip("junitparser", reason="junitparser is not installed")
    path = tmp_path / "cells.xml"
    path.write_bytes(load("junit").write(bundle()))
    (suite,) = junitparser.JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.skipped) == (8, FAILED, 3)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record.status))
def test_names_are_cell_ids(record: Record) -> None:
    (case,) = ElementTree.fromstring(load("junit").write(bundle(record))).iter("testcase")
    assert case.attrib["name"] == record.cell.id
