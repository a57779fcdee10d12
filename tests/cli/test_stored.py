"""`fabench compare`, `baseline` and `history` as a user runs them on stored results: exit codes, what is printed, what is refused."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fabench.analysis.launches import Launch
from fabench.codec import encode
from fabench.export import Bundle, load
from fabench.report import write_report
from fabench.schema import Status
from fabench.sheet import KernelSheet, SheetFile
from tests import synthetic
from tests.cli.conftest import Inside
from tests.launched import changed, environment, floor, launches, stored
from tests.launched import run as records_of


@pytest.fixture
def fabench(inside: Inside, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Inside:
    """Runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return inside


def folders(tmp_path: Path, name: str, found: Sequence[Launch]) -> Path:
    stored(tmp_path / name, found)
    return tmp_path / name


def test_equal_runs_exit_with_0_and_say_how_little_that_is(fabench: Inside, tmp_path: Path) -> None:
    base, head = folders(tmp_path, "base", launches(5, seed=1)), folders(tmp_path, "head", launches(5, seed=2, minute=9))
    done = fabench("compare", base, head)
    assert done.out.count("equivalent") >= 3
    assert "head / base" in done.out
    assert "fabench gate --base REV" in done.err
    assert "measured as a whole before" in done.err


def test_slower_exits_with_1_and_json_and_summary_say_the_same(fabench: Inside, tmp_path: Path) -> None:
    base = folders(tmp_path, "base", launches(5, seed=1))
    head = folders(tmp_path, "head", launches(5, seed=2, minute=9, factors={"sdpa": 1.4}))
    done = fabench("compare", base, head, "--json", "--summary", "s.md", status=1)
    found = json.loads(done.out)
    assert found["exit_code"] == 1
    assert {cell["implementation"] for cell in found["cells"] if cell["verdict"] == "slower"} == {"sdpa"}
    text = Path("s.md").read_text(encoding="utf-8")
    assert text.startswith("## fabench compare: worse") and found["sentences"][0].split(":")[0] in text
    advised = fabench("compare", base, head, "--advisory")
    assert "advisory: the exit code would be 1, it is 0" in advised.err
    commas = ",".join(str(path) for path in sorted(base.iterdir()))
    assert json.loads(fabench("compare", commas, head, "--json", status=1).out)["cells"] == found["cells"]
    assert fabench("compare", base, head, "--min-effect", "0.6").status == 0


def test_junit_and_annotations_say_what_the_exit_code_says(fabench: Inside, tmp_path: Path) -> None:
    base = folders(tmp_path, "base", launches(5, seed=1))
    head = folders(tmp_path, "head", launches(5, seed=2, minute=9, factors={"sdpa": 1.4}))
    done = fabench("compare", base, head, "--junit", "deep/v.xml", "--annotations", status=1)
    suite = ElementTree.parse("deep/v.xml").getroot()[0]
    failed = [case.attrib["name"] for case in suite.iter("testcase") if case.find("failure") is not None]
    slower = [line for line in done.err.splitlines() if " slower [" in line]
    assert len(failed) == len(slower) == int(suite.attrib["failures"]) == 3
    assert [line.partition(" title=")[0] for line in done.out.splitlines() if line.startswith("::error")] == ["::error"] * 3
    assert "head / base" in done.out, "the table stays"
    advised = fabench("compare", base, head, "--annotations", "--advisory")
    assert "::error" not in advised.out and advised.out.count("::warning title=") >= 3
    document = fabench("compare", base, head, "--json", status=1).out
    Path("v.json").write_text(document)
    assert fabench("export", "v.json", "-f", "junit").out == Path("deep/v.xml").read_text()


def test_undecided_is_a_failed_case_only_when_asked(fabench: Inside, tmp_path: Path) -> None:
    (base,), (head,) = (stored(tmp_path / str(seed), launches(1, seed=seed)) for seed in (1, 2))
    for words, status, tag in (((), 0, "skipped"), (("--inconclusive", "fail"), 3, "failure")):
        fabench("compare", base, head, "--junit", "v.xml", *words, status=status)
        suite = ElementTree.parse("v.xml").getroot()[0]
        cells = [case for case in suite.iter("testcase") if not case.attrib["name"].startswith("exponent of ")]
        assert {case[0].tag for case in cells} == {tag}


def test_undecided_exits_with_3_only_when_asked(fabench: Inside, tmp_path: Path) -> None:
    (base,), (head,) = (stored(tmp_path / str(seed), launches(1, seed=seed)) for seed in (1, 2))
    assert "5 a side are needed" in fabench("compare", base, head).err
    fabench("compare", base, head, "--inconclusive", "fail", status=3)


def test_a_run_that_could_not_measure_exits_with_4(fabench: Inside, tmp_path: Path) -> None:
    one, cell = launches(1, seed=1)[0], next(iter(records_of()))
    (base,), (head,) = stored(tmp_path / "a", [one]), stored(tmp_path / "b", [changed(one, cell, status=Status.SKIPPED.value)])
    assert "not measured (head: skipped: for a reason)" in fabench("compare", base, head, status=4).err
    (wrong,) = stored(tmp_path / "c", [changed(one, cell, status=Status.INCORRECT.value)])
    fabench("compare", base, wrong, status=1)
    fabench("compare", wrong, base)


def test_memory_has_its_two_tolerances(fabench: Inside, tmp_path: Path) -> None:
    one, cell = launches(1, seed=1)[0], next(iter(records_of()))
    memory = one.records[cell].memory
    assert memory is not None
    more = changed(one, cell, memory=replace(memory, delta_bytes=memory.delta_bytes + 8192))
    (base,), (head,) = stored(tmp_path / "a", [one]), stored(tmp_path / "b", [more])
    fabench("compare", base, head)
    assert "WORSE: peak memory" in fabench("compare", base, head, "--exact", status=1).err
    fabench("compare", base, head, "--memory", "8 KiB")
    fabench("compare", base, head, "--memory", "7 KiB", status=1)


def test_other_environments_are_refused_field_by_field_or_compared_without_time(fabench: Inside, tmp_path: Path) -> None:
    old = launches(1, seed=1)[0]
    packages, settings = {**old.environment.packages, "torch": "2.14.1"}, {"OMP_NUM_THREADS": "2"}
    new = replace(old, environment=environment(3, packages=packages, settings=settings))
    (base,), (head,) = stored(tmp_path / "a", [old]), stored(tmp_path / "b", [new])
    done = fabench("compare", base, head, status=5)
    assert done.err.count("->") == 2
    assert "packages.torch" in done.err and "2.13.0  ->  2.14.1" in done.err and "settings.OMP_NUM_THREADS" in done.err
    found = json.loads(fabench("compare", base, head, "--independent", "--json").out)
    assert {cell["verdict"] for cell in found["cells"]} == {"not timed"}
    assert found["left_out"] == ["time", "exponents of time", "accuracy"]


def test_what_only_reads_results_may_differ_and_noise_sheets_too(fabench: Inside, tmp_path: Path) -> None:
    old = launches(1, seed=1)[0]
    other = environment(3, packages={**old.environment.packages, "pandas": "9"}, devices=floor(0.3), code_hash="f" * 16)
    (base,), (head,) = stored(tmp_path / "a", [old]), stored(tmp_path / "b", [replace(old, environment=other)])
    assert "bounds are the noise sheet's" in fabench("compare", base, head).err


def test_runs_of_different_code_are_no_launches_of_one_side(fabench: Inside, tmp_path: Path) -> None:
    old, new = launches(2, seed=1)
    mixed = folders(tmp_path, "a", [old, replace(new, environment=environment(1, code_hash="f" * 16))])
    done = fabench("compare", mixed, mixed, status=5)
    assert "BASE:" in done.err and "code_hash is 0123456789abcdef and ffffffffffffffff" in done.err


@pytest.mark.parametrize("ending", ["html", "json", "pytest_benchmark"])
def test_every_kind_of_stored_result_compares_as_its_run_folder(fabench: Inside, tmp_path: Path, ending: str) -> None:
    one = launches(1, seed=1)[0]
    (folder,) = stored(tmp_path / "a", [one])
    if ending == "pytest_benchmark":
        file = tmp_path / "b.json"
        file.write_bytes(load(ending).write(Bundle(list(one.records.values()), [one.environment])))
    else:
        (file,) = write_report(list(one.records.values()), [one.environment], tmp_path, "x", [ending])
    found = json.loads(fabench("compare", folder, file, "--json").out)
    assert len(found["cells"]) == len(one.records)
    assert {cell["time"]["ratio"] for cell in found["cells"]} == {1.0}
    assert fabench("compare", file, file, "--exact").status == 0


def test_a_report_of_five_runs_is_five_launches(fabench: Inside, tmp_path: Path) -> None:
    sides = []
    for name, found in (("a", launches(5, seed=1)), ("b", launches(5, seed=2, minute=9, factors={"sdpa": 1.4}))):
        records = [record for one in found for record in one.records.values()]
        sides += write_report(records, [one.environment for one in found], tmp_path, name, ["html"])
    told = json.loads(fabench("compare", *sides, "--json", status=1).out)
    assert {(cell["time"]["base_launches"], cell["time"]["head_launches"]) for cell in told["cells"]} == {(5, 5)}


def test_a_report_of_several_environments_is_refused(fabench: Inside, tmp_path: Path) -> None:
    one = launches(1, seed=1)[0]
    other = environment(1, packages={"torch": "1"})
    (file,) = write_report([*one.records.values()] * 2, [one.environment, other], tmp_path, "x", ["html"])
    assert "give their run folders" in fabench("compare", file, file, status=5).err


def sheets(path: Path, spills: int) -> Path:
    one = KernelSheet("f", "k", "sm_90", "bfloat16", "ieee", 64, 64, 4096, 8, 1, 100, 100, 1000, spills=spills)
    path.write_text(encode(SheetFile("3.7", (one,))))
    return path


def test_kernel_sheets_are_compared_where_given_or_found(fabench: Inside, tmp_path: Path) -> None:
    (base,), (head,) = (stored(tmp_path / str(seed), launches(1, seed=1)) for seed in (1, 2))
    files = sheets(tmp_path / "old.json", 0), sheets(tmp_path / "new.json", 2)
    assert "WORSE: kernel f/k/sm_90" in fabench("compare", base, head, "--kernels", *files, status=1).err
    fabench("compare", base, head, "--kernels", *files[::-1])
    sheets(base / "kernels.json", 0)
    assert "on one side only" in fabench("compare", base, head).err
    sheets(head / "kernels.json", 3)
    fabench("compare", base, head, status=1)
    assert "no file of kernel sheets" in fabench("compare", base, head, "--kernels", files[0], base / "suite.toml", status=4).err


def test_no_cell_in_common_is_not_comparable(fabench: Inside, tmp_path: Path) -> None:
    (base,) = stored(tmp_path / "a", launches(1, seed=1, sizes=(1024,)))
    (head,) = stored(tmp_path / "b", launches(1, seed=1, sizes=(2048,)))
    assert "no cell of" in fabench("compare", base, head, status=5).err


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["compare", "{run}"], 2, "name BASE and HEAD"),
        (["compare", "{run}", "{run}", "{run}"], 2, "name BASE and HEAD"),
        (["compare", "{run}", "{run}", "--baseline", "x"], 2, "one run with --baseline"),
        (["compare", "{run}", ","], 2, "an empty name"),
        (["compare", "{run}", "{run}", "--inconclusive", "x"], 2, "there are pass, fail"),
        (["compare", "{run}", "{run}", "--memory", "much"], 2, "--memory"),
        (["compare", "{run}", "{run}", "--memory", "1 KiB", "--exact"], 2, "both say what peaks may take more"),
        (["compare", "{run}", "{run}", "--json", "--annotations"], 2, "fabench export FILE -f annotations"),
        (["compare", "{run}", "{run}", "--min-effect", "7"], 2, "min_effect is 7"),
        (["compare", "{run}", "{run}", "--alpha", "7"], 2, "alpha is 7"),
        (["compare", "{run}", "nowhere"], 4, "is no run folder"),
        (["compare", "{run}", "nowhere.json"], 4, "is no run folder"),
        (["compare", "{run}", "{run}/suite.toml"], 4, "no fabench report"),
        (["compare", "{run}", "{run}", "--summary", "{run}"], 4, "can't write"),
        (["compare", "{run}", "--baseline", "none.toml"], 4, "fabench baseline save"),
        (["baseline", "keep"], 2, "there are save, list, show, promote"),
        (["baseline", "save", "{run}"], 2, "fabench baseline save RUN FILE"),
        (["baseline", "show", "x", "--kernels", "y"], 2, "--kernels is for save and promote"),
        (["baseline", "show"], 2, "fabench baseline show FILE"),
        (["baseline", "show", "none.toml"], 4, "can't read none.toml"),
        (["baseline", "promote", "{run}", "none.toml"], 4, "can't read none.toml"),
        (["baseline", "list", "none"], 4, "no baseline in none"),
        (["history", "nowhere"], 4, "is no run folder"),
        (["history", "{run}", "--alpha", "0"], 2, "--alpha is 0"),
        (["history", "{run}", "--min-effect", "-1"], 2, "must not be negative"),
    ],
)
def test_wrong_words_are_one_line(fabench: Inside, tmp_path: Path, words: list[str], status: int, problem: str) -> None:
    (path,) = stored(tmp_path / "a", launches(1, seed=1))
    done = fabench(*(word.replace("{run}", str(path)) for word in words), status=status)
    (line,) = [line for line in done.err.splitlines() if line.startswith("fabench:")]
    assert problem in line


def test_a_baseline_is_saved_shown_listed_compared_and_promoted(fabench: Inside, tmp_path: Path) -> None:
    one, cell = launches(1, seed=1)[0], next(iter(records_of()))
    memory = one.records[cell].memory
    assert memory is not None
    more = changed(one, cell, memory=replace(memory, delta_bytes=memory.delta_bytes + 2**21))
    (run_,), (heavy,) = stored(tmp_path / "a", [one]), stored(tmp_path / "b", [more])
    file = Path("baselines/ci.toml")
    fabench("baseline", "save", run_, file)
    before = file.read_text(encoding="utf-8")
    assert f"peak_bytes = {memory.delta_bytes}\n" in before and "memory = 0.967" in before
    assert "promote" in fabench("baseline", "save", run_, file, status=2).err
    assert "suite synthetic, 6 cells, torch 2.13.0" in fabench("baseline", "list").out
    shown = fabench("baseline", "show", file)
    assert cell in shown.out and "packages.torch: 2.13.0" in shown.err
    assert "6 not timed" in fabench("compare", "--baseline", file, run_).err
    assert "WORSE: peak memory" in fabench("compare", "--baseline", file, heavy, status=1).err
    fabench("compare", "--baseline", file, heavy, "--memory", "4 MiB")
    told = fabench("baseline", "promote", heavy, file).out
    changed_lines = told.splitlines()
    assert changed_lines[0] == f"{cell}: peak_bytes: {memory.delta_bytes:,} -> {memory.delta_bytes + 2**21:,}"
    assert len(changed_lines) == 2 and changed_lines[1].startswith("exponent of memory, factorized_plain")
    fabench("compare", "--baseline", file, heavy)
    assert "says the same already" in fabench("baseline", "promote", heavy, file).err
    fabench("baseline", "promote", run_, file)
    assert file.read_text(encoding="utf-8") == before


def test_a_baseline_of_another_torch_is_refused_or_compared_when_asked(fabench: Inside, tmp_path: Path) -> None:
    one = launches(1, seed=1)[0]
    packages = {**one.environment.packages, "torch": "2.14.1"}
    (run_,), (other,) = (
        stored(tmp_path / "a", [one]),
        stored(tmp_path / "b", [replace(one, environment=environment(1, packages=packages))]),
    )
    fabench("baseline", "save", run_, "x.toml")
    assert "packages.torch  2.13.0  ->  2.14.1" in fabench("compare", "--baseline", "x.toml", other, status=5).err
    fabench("compare", "--baseline", "x.toml", other, "--independent")


def test_a_baseline_keeps_spills_and_the_compiler_that_they_came_from(fabench: Inside, tmp_path: Path) -> None:
    (path,) = stored(tmp_path / "a", launches(1, seed=1))
    fabench("baseline", "save", path, "x.toml", "--kernels", sheets(tmp_path / "k.json", 1))
    assert '"kernels.triton" = "3.7"' in Path("x.toml").read_text(encoding="utf-8")
    assert "1 spills" in fabench("baseline", "show", "x.toml").out
    assert "no kernels.json" in fabench("compare", "--baseline", "x.toml", path).err
    sheets(path / "kernels.json", 1)
    fabench("compare", "--baseline", "x.toml", path)
    sheets(path / "kernels.json", 2)
    assert "WORSE: kernel f/k/sm_90" in fabench("compare", "--baseline", "x.toml", path, status=1).err
    assert "spills: 1 -> 2" in fabench("baseline", "promote", path, "x.toml").out
    file = path / "kernels.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"3.7"', '"3.8"'), encoding="utf-8")
    assert "kernels.triton  3.7  ->  3.8" in fabench("compare", "--baseline", "x.toml", path, status=5).err


def test_cells_that_are_not_ok_have_no_place_in_a_baseline(fabench: Inside, tmp_path: Path) -> None:
    one, cell = launches(1, seed=1)[0], next(iter(records_of()))
    (run_,) = stored(tmp_path / "a", [changed(one, cell, status=Status.CRASHED.value)])
    assert f"1 cells that are not ok are left out: {cell}" in fabench("baseline", "save", run_, "x.toml").err
    assert cell not in Path("x.toml").read_text(encoding="utf-8")
    empty = {key: synthetic.ended(record.cell, Status.CRASHED, "gone") for key, record in one.records.items()}
    (nothing,) = stored(tmp_path / "b", [replace(one, records=empty)])
    assert "nothing to keep" in fabench("baseline", "save", nothing, "y.toml", status=4).err


def test_what_varies_between_launches_is_warned_of_and_the_most_is_kept(fabench: Inside, tmp_path: Path) -> None:
    old, new = launches(2, seed=1)
    cell = next(iter(old.records))
    memory = new.records[cell].memory
    assert memory is not None
    both = folders(tmp_path, "a", [old, changed(new, cell, memory=replace(memory, delta_bytes=memory.delta_bytes + 1))])
    assert "counts otherwise from launch to launch" in fabench("baseline", "save", both, "x.toml").err
    assert f"peak_bytes = {memory.delta_bytes + 1}\n" in Path("x.toml").read_text(encoding="utf-8")


def test_a_history_is_a_table_a_page_and_json(fabench: Inside, tmp_path: Path) -> None:
    old = launches(8, seed=1, commit="a" * 12)
    new = launches(8, seed=2, minute=20, commit="b" * 12, factors={"sdpa": 1.5})
    folders(tmp_path, "results", [*new, *old])
    done = fabench("history")
    assert done.out.count(f"slower from run 9 on ({'b' * 12})") == 3
    assert "16 runs, 6 cells: 3 shifts of time, no changes of what is counted." in done.err
    page = Path("reports/history.html")
    assert page.exists() and Path("reports/history.md").exists() and str(page) in done.out
    found = json.loads(fabench("history", "results", "--json").out)
    (series,) = found["series"]
    assert [run["commit"][0] for run in series["runs"]] == ["a"] * 8 + ["b"] * 8
    assert "no shifts of time" in fabench("history", "results", "--min-effect", "0.9", "--name", "calm").err
    assert Path("reports/calm.html").exists()


def test_environments_are_series_with_a_title_that_tells_them_apart(fabench: Inside, tmp_path: Path) -> None:
    old, new = launches(3, seed=1), launches(2, seed=2, minute=20)
    packages = {**old[0].environment.packages, "torch": "2.14.1"}
    moved = [replace(one, environment=replace(one.environment, packages=packages)) for one in new]
    folders(tmp_path, "results", [*old, *moved])
    found = json.loads(fabench("history", "results", "--json").out)
    assert [len(series["runs"]) for series in found["series"]] == [3, 2]
    assert found["series"][1]["environment"].endswith("packages.torch 2.14.1")
    assert "2 environments" in found["headline"]
