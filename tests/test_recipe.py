"""Recipes: the published schedules, rates by hand, and values that make no sense."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.codec import encode
from fabench.errors import UsageError
from fabench.recipe import PRECISIONS, PRESETS, Recipe, recipe_of


def test_the_papers_schedules() -> None:
    detection, stereo = PRESETS["detection"]["paper"], PRESETS["stereo"]["paper"]
    assert (detection.epochs, detection.batch, detection.learning_rate, detection.milestones) == (24, 64, 1.25e-4, (18, 21))
    assert [detection.rate(epoch, 10**6) for epoch in (0, 17, 18, 20, 21, 23)] == pytest.approx(
        [1.25e-4, 1.25e-4, 1.25e-5, 1.25e-5, 1.25e-6, 1.25e-6]
    )
    assert (stereo.epochs, stereo.batch, stereo.learning_rate, stereo.optimiser, stereo.crop) == (
        100,
        24,
        2e-3,
        "adam",
        (256, 512),
    )
    assert {stereo.rate(epoch, 5) for epoch in range(100)} == {2e-3}
    assert (stereo.momentum, detection.momentum) == (0.9, 0.9)


def test_the_authors_own_schedule_of_psmnet() -> None:
    own = PRESETS["stereo"]["psmnet"]
    assert (own.epochs, own.batch, own.learning_rate, own.drop_last, own.crop) == (10, 12, 1e-3, False, (256, 512))


def test_every_preset_bears_its_name() -> None:
    assert all(recipe.preset == name for presets in PRESETS.values() for name, recipe in presets.items())


def test_a_rate_rises_over_the_first_steps_and_then_falls_by_epochs() -> None:
    recipe = recipe_of("stereo", "paper", {"learning_rate": 1.0, "warm_up": 4, "milestones": [1, 2]})
    assert [recipe.rate(0, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [recipe.rate(epoch, 9) for epoch in range(3)] == pytest.approx([1.0, 0.1, 0.01])


def test_any_value_can_be_replaced_and_the_rest_is_the_presets() -> None:
    found = recipe_of("detection", "paper", {"epochs": 2, "clip_norm": 1})
    assert found == Recipe(**{**asdict(PRESETS["detection"]["paper"]), "epochs": 2, "clip_norm": 1.0})


@given(
    st.builds(
        dict, epochs=st.integers(1, 500), accumulate=st.integers(1, 8), learning_rate=st.floats(1e-8, 10), precision=st.sampled_from(PRECISIONS),
        crop=st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda sides: [16 * side for side in sides]), drop_last=st.booleans(),
        clip_norm=st.none() | st.floats(1e-3, 1e3), order_seed=st.integers(0, 2**62),
    )
)  # fmt: skip
def test_a_stored_recipe_comes_back(changes: dict[str, Any]) -> None:
    recipe = recipe_of("stereo", "psmnet", changes)
    assert recipe_of("stereo", "paper", {}, json.loads(encode(recipe))) == recipe
    assert recipe_of("stereo", "paper", {}, asdict(recipe)) == recipe


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("stereo", {"epochs": 0}, "epochs is 0, must be at least 1"),
        ("stereo", {"batch": 2.5}, r"batch is 2\.5, not a whole number"),
        ("stereo", {"learning_rate": 0}, "learning_rate is 0.0, must be above 0"),
        ("stereo", {"learning_rate": float("inf")}, "learning_rate is inf"),
        ("stereo", {"milestones": [3, 3]}, "milestones is .*rising"),
        ("stereo", {"milestones": [0]}, "milestones is .*rising"),
        ("stereo", {"crop": [30, 48]}, "crop is .*multiples of 16"),
        ("stereo", {"crop": [32]}, "crop is .*a height and a width"),
        ("stereo", {"optimiser": "lion"}, "optimiser is 'lion', must be one of adam, sgd"),
        ("stereo", {"precision": "fp8"}, "precision is 'fp8', must be one of fp32, bf16, fp16"),
        ("stereo", {"momentum": 1.0}, "momentum is 1.0"),
        ("stereo", {"order_seed": -1}, "order_seed is -1, must be 0 or more"),
        ("stereo", {"clip_norm": 0.0}, "clip_norm is 0.0"),
        ("stereo", {"flip": 0.5}, "stereo has no flip"),
        ("detection", {"flip": 2}, "flip is 2.0"),
        ("detection", {"crop": [32, 32]}, "detection has no crop"),
        ("detection", {"nonsense": 1}, "nonsense is not known"),
    ],
)
def test_values_that_make_no_sense_are_one_line(task: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        recipe_of(task, "paper", changes)
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="detection has no preset 'psmnet'; there are paper"):
        recipe_of("detection", "psmnet", {})
