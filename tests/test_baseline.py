"""The baseline file: what is written is read, by us and by another TOML reader; what is not ours is one line; git merges it."""

import json
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.baseline import Baseline, Coded, Counted, changes, depends_on, parse, render
from fabench.errors import StoreError
from tests import synthetic

WHOLE = st.none() | st.integers(0, 2**70)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
POWERS = st.floats(-9, 9).map(lambda power: round(power, 3) + 0.0)
BASELINES = st.builds(
    Baseline,
    NAMES,
    st.dictionaries(NAMES, NAMES, max_size=4),
    st.dictionaries(NAMES, st.builds(Counted, WHOLE, WHOLE, WHOLE), max_size=4),
    st.dictionaries(NAMES, POWERS, max_size=3),
    st.dictionaries(NAMES, st.builds(Coded, WHOLE, WHOLE, WHOLE), max_size=3),
)
SMALL = Baseline(
    "ci",
    {"packages.torch": "2.13.0", "devices.cpu.capability": "AVX2"},
    {"b/cpu/n=4": Counted(10, None, 30), "a/cpu/n=4": Counted(1, 2, 3), "c/cpu/n=4": Counted(7, 8, 9)},
    {"a · core": 1.0},
)


@given(BASELINES)
def test_what_is_written_is_read(found: Baseline) -> None:
    text = render(found)
    assert parse(text.encode(), "x") == found
    assert render(parse(text.encode(), "x")) == text


@given(BASELINES)
def test_another_reader_reads_the_same(found: Baseline) -> None:
    read = tomllib.loads(render(found))
    assert read["suite"] == found.suite
    assert read["environment"] == found.environment
    written = {cell: {k: v for k, v in vars_of(one).items() if v is not None} for cell, one in found.cells.items()}
    assert read.get("cells", {}) == written


def vars_of(one: Counted) -> dict[str, int | None]:
    return {"peak_bytes": one.peak_bytes, "saved_bytes": one.saved_bytes, "flop": one.flop}


@given(BASELINES)
def test_every_line_can_be_seen_and_none_holds_two_values(found: Baseline) -> None:
    for line in render(found).split("\n"):
        assert line.isprintable()


def test_the_order_of_writing_does_not_show() -> None:
    turned = replace(
        SMALL, cells=dict(reversed(list(SMALL.cells.items()))), environment=dict(reversed(list(SMALL.environment.items())))
    )
    assert render(turned) == render(SMALL)


def test_the_form() -> None:
    assert render(SMALL).partition("\nversion")[2] == (
        ' = 1\nsuite = "ci"\n\n[environment]\n"devices.cpu.capability" = "AVX2"\n"packages.torch" = "2.13.0"\n\n'
        '[cells."a/cpu/n=4"]\nflop = 3\npeak_bytes = 1\nsaved_bytes = 2\n\n[cells."b/cpu/n=4"]\nflop = 30\npeak_bytes = 10\n\n'
        '[cells."c/cpu/n=4"]\nflop = 9\npeak_bytes = 7\nsaved_bytes = 8\n\n[exponents."a · core"]\nmemory = 1.000\n'
    )


def merged(folder: Path, ours: Baseline, theirs: Baseline, base: Baseline = SMALL) -> tuple[int, bytes]:
    for name, one in (("ours", ours), ("base", base), ("theirs", theirs)):
        (folder / name).write_text(render(one), encoding="utf-8")
    done = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], cwd=folder, capture_output=True, check=False)
    return done.returncode, done.stdout


def with_cell(cell: str, found: Counted, base: Baseline = SMALL) -> Baseline:
    return replace(base, cells={**base.cells, cell: found})


def test_git_merges_changes_to_neighbouring_cells(tmp_path: Path) -> None:
    ours, theirs = Counted(1, 5, 6), Counted(100, None, 300)
    conflicts, text = merged(tmp_path, with_cell("a/cpu/n=4", ours), with_cell("b/cpu/n=4", theirs))
    assert conflicts == 0
    assert parse(text, "x") == with_cell("b/cpu/n=4", theirs, with_cell("a/cpu/n=4", ours))


def test_a_cell_that_is_new_on_one_side_merges_with_a_change_on_the_other(tmp_path: Path) -> None:
    new = Counted(4, 5, 6)
    conflicts, text = merged(tmp_path, with_cell("d/cpu/n=4", new), with_cell("b/cpu/n=4", new))
    assert conflicts == 0
    assert parse(text, "x") == with_cell("b/cpu/n=4", new, with_cell("d/cpu/n=4", new))


def test_a_conflict_that_is_left_is_named_with_its_line(tmp_path: Path) -> None:
    conflicts, text = merged(tmp_path, with_cell("a/cpu/n=4", Counted(8)), with_cell("a/cpu/n=4", Counted(9)))
    assert conflicts == 1
    line = 1 + text.decode().split("\n").index("<<<<<<< ours")
    with pytest.raises(StoreError, match=f"line {line}: a merge conflict is left"):
        parse(text, "b.toml")


GOOD = render(SMALL)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "version None is not known"),
        ("version = 2\n", "version 2 is not known"),
        (GOOD.replace("version = 1", "version = true"), "version True is not known"),
        (GOOD.replace('suite = "ci"', ""), "suite must be a text"),
        (GOOD.replace("[environment]", "[other]"), "'other' has no place"),
        (GOOD.replace('"2.13.0"', "2"), "environment must be a table of texts"),
        (GOOD.replace("peak_bytes = 10", "peak_bytes = -10"), "b/cpu/n=4: peak_bytes must be a whole number"),
        (GOOD.replace("peak_bytes = 10", "peak_bytes = 10.0"), "b/cpu/n=4: peak_bytes must be a whole number"),
        (GOOD.replace("peak_bytes = 10", "peak_bytes = true"), "b/cpu/n=4: peak_bytes must be a whole number"),
        (GOOD.replace("peak_bytes = 10", "peak_mib = 10"), "b/cpu/n=4: 'peak_mib' is not known"),
        (GOOD.replace("peak_bytes = 10", "peak_bytes = 10\npeak_bytes = 11"), "no baseline: Cannot overwrite a value"),
        (GOOD.replace('[cells."b/cpu/n=4"]', '[cells."a/cpu/n=4"]'), "no baseline: Cannot declare"),
        (GOOD.replace("memory = 1.000", "memory = nan"), "must be memory = 1.000"),
        (GOOD.replace("memory = 1.000", 'memory = "1"'), "must be memory = 1.000"),
        (GOOD.replace("memory = 1.000", "time = 1.0"), "must be memory = 1.000"),
        (GOOD.replace('[exponents."a · core"]', "[exponents]\nx = 1\n[exponents.y]"), "exponents must hold tables only"),
        ("version = 1\nsuite = 'x'\n[environment]\n[[cells]]\n", "cells must hold tables only"),
        ("[" * 5000, "no baseline"),
    ],
)
def test_what_is_wrong_is_one_line(text: str, problem: str) -> None:
    with pytest.raises(StoreError, match=problem) as raised:
        parse(text.encode(), "b.toml")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("b.toml")


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=6), st.integers(0, 40))
def test_any_damage_is_a_baseline_or_one_line(at: int, put: bytes, cut: int) -> None:
    data = GOOD.encode()
    try:
        parse(data[:at] + put + data[at + cut :], "x")
    except StoreError as error:
        assert "\n" not in str(error)


def test_half_a_character_is_refused_when_written() -> None:
    with pytest.raises(StoreError, match="half a character"):
        render(replace(SMALL, suite="\ud800"))


def test_it_stands_on_what_bytes_depend_on_and_on_nothing_else() -> None:
    one = synthetic.environment()
    known = depends_on(one)
    assert known == {"devices.cpu.threads": "1", "devices.cuda.name": "Example GPU", "packages.torch": "2.13.0"}
    later = replace(one, started_at="2026-01-01T00:00:00Z", commit="f" * 40, host={"cpu": "another"})
    assert depends_on(later) == known
    other = replace(one, packages={"torch": "2.14.0"}, settings={"PYTORCH_CUDA_ALLOC_CONF": "x", "OMP_NUM_THREADS": "9"})
    assert depends_on(other) == {**known, "packages.torch": "2.14.0", "settings.PYTORCH_CUDA_ALLOC_CONF": "x"}


def test_kernels_stand_beside_the_cells() -> None:
    found = replace(SMALL, kernels={"f/k/sm_90": Coded(0, None, 49152)})
    assert render(found).endswith('\n\n[kernels."f/k/sm_90"]\nshared_bytes = 49152\nspills = 0\n')
    assert changes(found, replace(found, kernels={"f/k/sm_90": Coded(8, None, 49152)})) == ["f/k/sm_90: spills: 0 -> 8"]


def test_changes_are_told_one_by_one() -> None:
    new = replace(with_cell("d/cpu/n=4", Counted(1)), environment={"packages.torch": "2.14.0"}, exponents={"a · core": 1.5})
    cells = {cell: one for cell, one in new.cells.items() if cell != "c/cpu/n=4"}
    told = changes(SMALL, replace(new, cells={**cells, "a/cpu/n=4": Counted(1, 2, 3000)}))
    assert told == [
        "devices.cpu.capability: AVX2 -> not known",
        "packages.torch: 2.13.0 -> 2.14.0",
        "a/cpu/n=4: flop: 3 -> 3,000",
        "c/cpu/n=4: gone",
        "d/cpu/n=4: new",
        "exponent of memory, a · core: 1.0 -> 1.5",
    ]
    assert changes(SMALL, SMALL) == []


@given(BASELINES, BASELINES)
def test_two_files_say_the_same_exactly_where_no_change_is_told(one: Baseline, other: Baseline) -> None:
    assert (changes(one, other) == []) == (render(one) == render(other))
    assert changes(one, one) == [] and json.dumps(changes(one, other))
