"""A training in this process: it goes on as if it had never stopped, stops at what is not finite, and refuses what does not fit."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fabench.errors import DataError, FabenchError, TrainingError, UsageError
from fabench.evaluate import checkpoint
from fabench.train import start
from tests.train.conftest import Request, losses, request_of, same, train, weights


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "changes", [{}, {"optimiser": "sgd", "milestones": [1], "warm_up": 4, "accumulate": 2, "batch": 4, "drop_last": False}]
)
def test_stopped_anywhere_and_gone_on_is_the_same_training_bit_for_bit(
    request_to: Request, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Adam, and SGD whose rate rises and falls and whose epochs end with a smaller batch."""
    whole = train(request_to("whole", changes))
    expected = losses(tmp_path / "whole")
    assert len(set(expected.values())) == len(expected) == whole.steps
    for steps in range(1, whole.steps):
        name = f"cut{steps}"
        cut = train(request_to(name, changes), steps)
        assert (cut.interrupted, cut.steps, cut.loss) == (True, steps, expected[steps])
        end = train(request_to(name, resume="latest", options={}) | {"changes": {}})
        assert (end.interrupted, end.steps, end.epochs) == (False, whole.steps, 2)
        assert losses(tmp_path / name) == expected
        assert same(weights(end.checkpoint), weights(whole.checkpoint))


@pytest.mark.usefixtures("small")
def test_a_fresh_start_in_the_middle_is_another_training(request_to: Request, tmp_path: Path) -> None:
    """The comparison above can fail: weights alone, without the optimiser and the place, give other losses."""
    train(request_to("whole"))
    cut = train(request_to("cut"), 3)
    train(request_to("fresh", init=cut.checkpoint))
    assert losses(tmp_path / "fresh")[1] != losses(tmp_path / "whole")[4]


@pytest.mark.usefixtures("small")
def test_reading_ahead_changes_nothing(request_to: Request, tmp_path: Path) -> None:
    train(request_to("plain", {"epochs": 1}))
    train(request_to("ahead", {"epochs": 1}, workers=1))
    assert losses(tmp_path / "ahead") == losses(tmp_path / "plain")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["order_seed", "augmentation_seed", "weights_seed"])
def test_each_seed_changes_the_training(request_to: Request, tmp_path: Path, name: str) -> None:
    train(request_to("plain"), 1)
    train(request_to("other", {name: 5}), 1)
    assert losses(tmp_path / "other")[1] != losses(tmp_path / "plain")[1]


@pytest.mark.usefixtures("small")
def test_a_signal_before_the_first_step_leaves_nothing(request_to: Request, tmp_path: Path) -> None:
    done = train(request_to(), 0)
    assert (done.interrupted, done.steps, done.loss, done.checkpoint) == (True, 0, None, None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["log.jsonl"]
    train(request_to(), 1)


@pytest.mark.usefixtures("small")
def test_the_log_and_the_checkpoint_say_what_was_trained(request_to: Request, tmp_path: Path) -> None:
    done = train(request_to(changes={"epochs": 1, "learning_rate": 0.5, "warm_up": 4}, every=2, keep=1))
    events = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert [(event["event"], event["step"]) for event in events] == [
        ("start", 0), ("step", 1), ("step", 2), ("saved", 2), ("step", 3), ("saved", 3), ("end", 3),
    ]  # fmt: skip
    begun = events[0]
    assert (begun["recipe"]["preset"], begun["recipe"]["optimiser"], begun["recipe"]["learning_rate"]) == ("paper", "adam", 0.5)
    assert [event["rate"] for event in events if event["event"] == "step"] == [0.125, 0.25, 0.375]
    assert begun["data"] == {"format": "sceneflow", "split": "train", "samples": 6}
    assert done.checkpoint == str(tmp_path / "out/step-00000003.pt")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["log.jsonl", "step-00000003.pt"]
    stored = checkpoint.read(Path(done.checkpoint))
    assert stored.task == "stereo"
    assert stored.build == {"form": "basic", "max_disparity": 16, "where": "layer4", "attention": {"d_k": 8}}
    training = stored.content["training"]
    assert {key: list(value) if isinstance(value, tuple) else value for key, value in training["recipe"].items()} == begun[
        "recipe"
    ]
    assert (training["epoch"], training["seen"], training["step"]) == (0, 6, 3) or (training["epoch"], training["seen"]) == (1, 0)


@pytest.mark.usefixtures("small")
def test_gone_on_with_another_recipe_is_noted(request_to: Request, tmp_path: Path) -> None:
    train(request_to(), 2)
    end = train(request_to(resume="latest") | {"changes": {"learning_rate": 0.01, "weight_decay": 0.1}})
    begun = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines() if '"start"' in line]
    assert begun[1]["notes"] == [
        "learning_rate is 0.01 from here on, and was 0.001", "weight_decay is 0.1 from here on, and was 0.0",
    ]  # fmt: skip
    assert end.checkpoint is not None
    (group,) = checkpoint.read(Path(end.checkpoint)).content["training"]["optimiser"]["param_groups"]
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.1)
    assert begun[1]["place"] == {"epoch": 0, "seen": 4, "step": 2}


@pytest.mark.usefixtures("small")
def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint(request_to: Request, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        train(request_to(changes={"learning_rate": 1e30}, every=1))
    kept = sorted((tmp_path / "out").glob("*.pt"))
    assert str(caught.value).endswith(f"stopped before the weights changed; the last good checkpoint is {kept[-1]}")
    assert "is nan at step" in str(caught.value) or "is inf at step" in str(caught.value)
    last = json.loads((tmp_path / "out/log.jsonl").read_text().splitlines()[-1])
    assert (last["event"], last["text"]) == ("stopped", str(caught.value))
    with pytest.raises(TrainingError, match="there was no checkpoint yet"):
        train(request_to("none", {"learning_rate": 1e30}))


@pytest.mark.usefixtures("small")
def test_a_full_disk_is_one_line_and_the_earlier_checkpoint_stands(
    request_to: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train(request_to(keep=1), 1)
    before = weights(first.checkpoint)

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"can't write .*step-00000006\.pt: No space left on device"):
        train(request_to(resume="latest", keep=1) | {"changes": {}})
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "out").glob("step*")] == ["step-00000001.pt"]
    assert same(weights(first.checkpoint), before)


@pytest.mark.usefixtures("small")
def test_left_overs_of_a_killed_writer_are_cleared(request_to: Request, tmp_path: Path) -> None:
    train(request_to(), 1)
    (tmp_path / "out/step-00000002.pt.4711.part").write_bytes(b"half")
    (tmp_path / "out/mine.part").write_bytes(b"not ours")
    train(request_to(resume="latest"), 1)
    assert not (tmp_path / "out/step-00000002.pt.4711.part").exists()
    assert (tmp_path / "out/mine.part").exists()


def test_starting_from_weights_with_less_attention_begins_like_them(request_to: Request, tmp_path: Path) -> None:
    plain = {"form": "basic", "max_disparity": 16}
    first = train(request_to("plain", options=plain, every=1), 1)
    train(request_to("on", options=plain, init=first.checkpoint), 1)
    train(request_to("more", options=plain | {"where": "layer4", "attention.identity": True}, init=first.checkpoint), 1)
    assert losses(tmp_path / "more")[1] == losses(tmp_path / "on")[1]  # the block is the identity at first
    noted = json.loads((tmp_path / "more/log.jsonl").read_text().splitlines()[0])["notes"]
    assert noted[0].startswith("starts from the weights of ")
    assert "8 tensors of attention are not in them and begin at random" in noted[1]


@pytest.fixture(scope="module")
def done(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of PSMNet after one step."""
    end = train(request_of(pairs, tmp_path_factory.mktemp("done") / "out"), 1)
    assert end.checkpoint is not None
    return Path(end.checkpoint)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (lambda path: {"out": str(path.parent)}, UsageError, "holds the checkpoints of a training; go on with it by --resume latest"),
        (lambda path: {"resume": "latest"}, UsageError, "holds no checkpoint to go on from"),
        (lambda path: {"resume": "none.pt"}, DataError, r"can't read none\.pt"),
        (lambda path: {"resume": str(path), "options": {"form": "hourglass"}}, UsageError, "--set can't change it on the way"),
        (lambda path: {"resume": str(path), "limit": 4}, DataError, "was trained on 6 samples of sceneflow .train., and this is 4 samples"),
        (lambda path: {"resume": str(path), "changes": {"optimiser": "sgd"}}, UsageError, "has the state of adam; --resume can't go on with sgd"),
        (lambda path: {"resume": str(path), "changes": {"crop": [30, 48]}}, UsageError, "crop is .*multiples of 16"),
        (lambda path: {"changes": {"crop": [64, 48]}}, DataError, "80 x 48 pixels, less than the crop of 48 x 64; take another --crop"),
        (lambda path: {"changes": {"batch": 7}}, UsageError, "the set has 6 samples and a batch takes 7"),
        (lambda path: {"preset": "quick"}, UsageError, "stereo has no preset 'quick'; there are paper, psmnet"),
        (lambda path: {"changes": {"flip": 0.5}}, UsageError, "stereo has no flip"),
        (lambda path: {"changes": {"precision": "fp16", "crop": [32, 48]}}, UsageError, "fp16 can't be trained in on cpu"),
        (lambda path: {"changes": {"precision": "bf16"}, "options": {"max_disparity": 32}}, UsageError, "an hourglass of 32 disparities can't"),
        (lambda path: {"options": {"wher": "layer4"}}, UsageError, "is not built with 'wher'"),
        (lambda path: {"data": "nowhere"}, DataError, "nowhere is no folder"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(
    request_to: Request, done: Path, change: Callable[[Path], dict[str, Any]], kind: type[FabenchError], words: str
) -> None:
    changed = change(done)
    with pytest.raises(kind, match=words) as caught:
        train(request_to(changes=changed.pop("changes", None)) | changed)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small")
def test_weights_without_a_training_and_a_fork_in_the_road(request_to: Request, tmp_path: Path) -> None:
    done = train(request_to(every=1), 3)
    assert done.checkpoint is not None
    stored = checkpoint.read(Path(done.checkpoint))
    torch.save(dict(stored.state), tmp_path / "bare.pt")
    with pytest.raises(DataError, match="is no checkpoint of a training for stereo; start from its weights with --init"):
        train(request_to(resume=str(tmp_path / "bare.pt")))
    torch.save({key: value for key, value in stored.content.items() if key != "training"}, tmp_path / "less.pt")
    with pytest.raises(DataError, match="holds weights and no training to go on with"):
        train(request_to(resume=str(tmp_path / "less.pt")))
    early = tmp_path / "out/step-00000001.pt"
    with pytest.raises(UsageError, match=r"holds later checkpoints \(step-00000003\.pt\)"):
        train(request_to(resume=str(early)))
    train(request_to("branch", resume=str(early)), 1)
    assert losses(tmp_path / "branch")[2] == losses(tmp_path / "out")[2]


def test_a_checkpoint_with_code_is_refused_and_not_run(request_to: Request, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "was here"),)

    torch.save({"fabench": 1, "model": {"weight": torch.zeros(1)}, "training": Hostile()}, tmp_path / "hostile.pt")
    for name in ("resume", "init"):
        with pytest.raises(
            DataError, match=r"hostile\.pt asks for posix\.mkdir when it is loaded, which could run code: refused"
        ):
            train(request_to(**{name: str(tmp_path / "hostile.pt")}))
    assert not (tmp_path / "was here").exists()


def test_a_written_folder_that_is_a_file(request_to: Request, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(DataError, match=r"can't write .*out/log\.jsonl"):
        train(request_to())


def test_formats_have_a_part_for_training() -> None:
    assert set(start._SPLITS) == {"sceneflow", "kitti", "middlebury", "coco"}
