"""One request, one answer: what the process says of a set and a network, and of what it can't do."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fabench.codec import decode, encode
from fabench.data import generate
from fabench.data.sceneflow import find
from fabench.errors import DataError, UsageError
from fabench.evaluate import checkpoint, process, server
from fabench.evaluate.networks import stereo_predict
from fabench.evaluate.stereo import evaluate_stereo
from fabench.models import stereo
from fabench.positions import Attention

BUILD: dict[str, Any] = {"where": "layer4", "attention": {"d_k": 8}, "form": "basic", "max_disparity": 16, "crop": [32, 48]}


@pytest.fixture
def request_of(tmp_path: Path) -> Any:
    generate.write_sceneflow(tmp_path, seed=1, train=0, test=3, height=30, width=50, max_disparity=20)
    network = stereo.build("layer4", Attention(d_k=8), form="basic", max_disparity=16, crop=(32, 48), seed=5)
    checkpoint.save(tmp_path / "a.pt", "stereo", BUILD, network)

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "task": "stereo", "format": "sceneflow", "data": str(tmp_path), "split": None, "weights": str(tmp_path / "a.pt"),
            "device": "cpu", "batch": 2, "max_disparity": None, "non_occluded": False, "limit": None, "options": {}, "memory_bytes": None, **changes,
        }  # fmt: skip

    return make


def test_the_answer_is_that_of_the_loop_and_says_what_was_evaluated(request_of: Any, tmp_path: Path) -> None:
    pipe = io.StringIO()
    found = server.answer(request_of(), pipe)
    network = stereo.build("layer4", Attention(d_k=8), form="basic", max_disparity=16, crop=(32, 48), seed=5).eval()
    assert found.stereo == evaluate_stereo(
        stereo_predict(network, torch.device("cpu")), find(tmp_path), batch=2, max_disparity=16.0
    )
    assert found.stereo is not None
    assert found.stereo.beyond > 0  # the network's reach is 16 px
    assert (found.task, found.format, found.device, found.build, found.limit) == ("stereo", "sceneflow", "cpu", BUILD, None)
    assert [json.loads(line) for line in pipe.getvalue().splitlines()] == [
        {"event": "progress", "done": done, "total": 3} for done in (2, 3)
    ]
    assert decode(type(found), json.loads(encode(found))) == found


def test_a_limit_is_said_and_the_mask_can_be_chosen(request_of: Any) -> None:
    found = server.answer(request_of(limit=1, max_disparity=192.0), io.StringIO())
    assert found.stereo is not None
    assert (found.stereo.pairs, found.stereo.beyond, found.limit) == (1, 0, 1)
    assert "only the first 1 of the set were taken" in found.warnings[0]
    assert server.answer(request_of(limit=3), io.StringIO()).limit is None


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"device": "nonsense"}, UsageError, "device 'nonsense' is not here"),
        ({"device": "meta"}, UsageError, "device 'meta' is not here"),
        ({"format": "coco"}, UsageError, "stereo has no data sets in the format coco"),
        ({"format": "../sceneflow"}, UsageError, "stereo has no data sets"),
        ({"weights": "none.pt"}, DataError, r"can't read none\.pt"),
        ({"data": "nowhere"}, DataError, "nowhere is no folder"),
        ({"options": {"where": "none"}}, DataError, "the attention differs"),
    ],
)
def test_what_a_user_can_mend(request_of: Any, changes: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        server.answer(request_of(**changes), io.StringIO())


def test_no_memory_is_told_from_other_errors() -> None:
    class _Error(RuntimeError):
        pass

    assert process.no_memory(MemoryError())
    assert process.no_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"))
    assert process.no_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
    )
    assert not process.no_memory(_Error("mat1 and mat2 shapes cannot be multiplied"))
