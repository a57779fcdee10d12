"""Which configuration a kernel takes: fixed, tuned or pinned; what may be tuned; and what is said of a file that can't be used."""

import json
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("triton")

from fabench.kernels.factorized import TARGETS, Plan, Shape, choice
from fabench.kernels.factorized.tilings import Tiling, candidates, tiling

SHAPE = Shape(4, 8, 65536, 65536, 64, 64, "bfloat16")
TARGET = TARGETS["sm_90"]
KERNELS = ("key_contexts", "query_contexts", "attend", "query_gradients", "key_gradients")
FASTER = replace(tiling("attend", SHAPE, TARGET), warps=8)


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.forget()
    yield tmp_path
    choice.forget()


def test_without_a_file_all_is_fixed() -> None:
    found = choice.chosen(SHAPE, TARGET)
    assert found == choice.Choice()
    plan = Plan(SHAPE, TARGET, found.tilings)
    assert all(launch.tiling in (None, tiling(launch.kernel, SHAPE, TARGET)) for launch in (*plan.forward, *plan.backward))


def test_what_tuning_kept_is_taken_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    file = choice.users_path()
    choice.remember(file, SHAPE, TARGET, {"attend": FASTER, "key_contexts": tiling("key_contexts", SHAPE, TARGET)})
    found = choice.chosen(SHAPE, TARGET)
    assert found == choice.Choice((("attend", FASTER),), "tuned")
    plan = Plan(SHAPE, TARGET, found.tilings)
    assert {one.kernel: one.tiling for one in plan.forward}["attend"] == FASTER
    assert found.labels({"attend": FASTER, "key_contexts": Tiling(64, 64, 64, 4, 2)}) == {
        "attend": "64x64x64, 8 warps, 2 stages, tuned",
        "key_contexts": "64x64x64, 4 warps, 2 stages, fixed",
    }
    choice.forget()
    monkeypatch.setenv(choice.VARIABLE, "fixed")
    assert choice.chosen(SHAPE, TARGET) == choice.Choice()


@pytest.mark.parametrize(
    "other",
    [
        (replace(SHAPE, dtype="float16"), TARGET),
        (replace(SHAPE, d_k=32), TARGET),
        (replace(SHAPE, softmax=False), TARGET),
        (SHAPE, TARGETS["sm_100"]),
        (SHAPE, replace(TARGET, processors=114)),
    ],
)
def test_it_holds_for_what_was_tuned_only(other: tuple[Shape, object]) -> None:
    choice.remember(choice.users_path(), SHAPE, TARGET, {"attend": FASTER})
    assert choice.chosen(*other) == choice.Choice()
    assert choice.chosen(replace(SHAPE, n=1024, m=10, batch=1, masked=True), TARGET).tilings  # sizes don't matter, widths do


def test_another_compiler_makes_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    choice.remember(choice.users_path(), SHAPE, TARGET, {"attend": FASTER})
    monkeypatch.setattr(choice, "_triton", lambda: "9.9.9")
    assert choice.chosen(SHAPE, TARGET) == choice.Choice()


def test_remembering_again_replaces_and_keeps_the_rest() -> None:
    file, other = choice.users_path(), replace(SHAPE, dtype="float16")
    choice.remember(file, SHAPE, TARGET, {"attend": FASTER})
    choice.remember(file, other, TARGET, {"attend": FASTER})
    choice.remember(file, SHAPE, TARGET, {"attend": tiling("attend", SHAPE, TARGET)})
    assert len(json.loads(file.read_text())["entries"]) == 2
    assert choice.chosen(SHAPE, TARGET).tilings == ()
    assert choice.chosen(other, TARGET).tilings == (("attend", FASTER),)


def test_a_pinned_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.json"
    choice.remember(file, SHAPE, TARGET, {"attend": FASTER})
    monkeypatch.setenv(choice.VARIABLE, str(file))
    assert choice.chosen(SHAPE, TARGET).source == "pinned by mine.json"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "can't read"),
        ("{", "no file of tilings"),
        ("[]", "no file of tilings"),
        ('{"entries": [{"tilings": {"attend": [1, 2]}}]}', "no file of tilings"),
        ('{"entries": [{"tilings": 3}]}', "no file of tilings"),
    ],
)
def test_a_file_that_cant_be_used_is_said_in_one_line(
    text: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.json"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv(choice.VARIABLE, str(file))
    with pytest.raises(ValueError, match=words) as raised:
        choice.chosen(SHAPE, TARGET)
    assert "\n" not in str(raised.value)
    assert "fabench tune" in str(raised.value)


@pytest.mark.parametrize("wrong", [{"block_k": 32}, {"block_n": 48}, {"block_n": 8}, {"warps": 3}, {"stages": 0}])
def test_a_tile_that_would_compute_something_else_is_refused(wrong: dict[str, int]) -> None:
    choice.remember(choice.users_path(), SHAPE, TARGET, {"attend": replace(FASTER, **wrong)})
    with pytest.raises(ValueError, match="attend can't take"):
        choice.chosen(SHAPE, TARGET)


@given(
    st.sampled_from(KERNELS), st.sampled_from(sorted(TARGETS)), st.sampled_from(["bfloat16", "float16", "float32"]),
    st.sampled_from(["ieee", "tf32"]), st.integers(1, 256), st.integers(1, 256),
)  # fmt: skip
def test_candidates_are_few_and_differ_where_tuning_may(
    kernel: str, target: str, dtype: str, precision: str, d_k: int, d_v: int
) -> None:
    shape = replace(SHAPE, dtype=dtype, precision=precision, d_k=d_k, d_v=d_v)
    fixed, *others = candidates(kernel, shape, TARGETS[target])
    assert fixed == tiling(kernel, shape, TARGETS[target])
    assert len({fixed, *others}) == 1 + len(others) <= 6
    assert all(astuple(one)[1:3] == astuple(fixed)[1:3] for one in others)
    assert all(one.block_n >= 16 and one.warps in (1, 2, 4, 8) and one.stages >= 1 for one in others)
