"""Checkpoints run no code, say in one line what is wrong with them, and are never half written."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fabench.errors import DataError
from fabench.evaluate import checkpoint


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def refused(path: Path, words: str) -> str:
    with pytest.raises(DataError, match=words) as caught:
        checkpoint.read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_with_code_is_refused_in_one_line_and_not_run(tmp_path: Path, old: bool) -> None:
    sign = tmp_path / "was here"
    content = {"model": {"weight": torch.ones(2), "x": Hostile(sign)}}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old)
    refused(tmp_path / "a.pt", r"a\.pt asks for (posix|nt)\.mkdir when it is loaded, which could run code: refused")
    assert not sign.exists()
    # The same file does run code where it is trusted.
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert sign.exists()


def test_a_bare_pickle_with_code_is_not_run_either(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Hostile(tmp_path / "was here")))
    refused(tmp_path / "a.pt", "no checkpoint that can be read|could run code")
    assert not (tmp_path / "was here").exists()


def test_whole_modules_and_arrays_are_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    refused(tmp_path / "module.pt", r"asks for torch\.nn\.modules\.linear\.Linear")
    torch.save({"weight": np.ones(2)}, tmp_path / "array.pt")
    refused(tmp_path / "array.pt", "asks for numpy")


def test_broken_files(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"weight": torch.ones(1000)}, path)
    whole = path.read_bytes()
    for data in (b"", b"hello", whole[:10], whole[: len(whole) // 2], whole[:-1], os.urandom(100)):
        path.write_bytes(data)
        refused(path, "is no checkpoint that can be read")
    path.unlink()
    refused(path, "can't read .*: No such file")
    refused(tmp_path, "can't read .*: Is a directory")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (torch.ones(2), "holds a Tensor, not weights by name"),
        ({}, "holds no weights"),
        ({"epoch": 3}, "holds no weights"),
        ({"model": {}}, "holds no weights"),
        ({"fabench": 2, "model": {"w": torch.ones(1)}}, "the version 2 of fabench's checkpoints; this fabench reads 1"),
        ({"fabench": 1, "model": {"w": torch.ones(1)}}, "does not say its task"),
    ],
)
def test_files_without_weights(tmp_path: Path, content: Any, words: str) -> None:
    torch.save(content, tmp_path / "a.pt")
    refused(tmp_path / "a.pt", words)


@pytest.mark.parametrize(
    "wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}, lambda state: {"model": state}]
)
def test_files_of_others_are_read_and_say_nothing_of_how_to_build(tmp_path: Path, wrap: Any) -> None:
    network = torch.nn.Linear(2, 3)
    torch.save(wrap({f"module.{key}": value for key, value in network.state_dict().items()}), tmp_path / "a.pt")
    found = checkpoint.read(tmp_path / "a.pt")
    assert found.build is None
    assert found.task is None
    torch.nn.Linear(2, 3).load_state_dict(dict(found.state))


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    build = {"where": "layer4", "attention": {"d_k": 8}}
    checkpoint.save(tmp_path / "new" / "a.pt", "stereo", build, network, epoch=3, optimiser={"lr": 0.1, "state": torch.ones(2)})
    found = checkpoint.read(tmp_path / "new" / "a.pt")
    assert (found.task, found.build, found.content["epoch"]) == ("stereo", build, 3)
    assert all(torch.equal(found.state[key], value) for key, value in network.state_dict().items())
    assert [left.name for left in (tmp_path / "new").iterdir()] == ["a.pt"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, "stereo", {}, torch.nn.Linear(2, 3))
    before = path.read_bytes()

    def half(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(DataError, match=r"can't write .*a\.pt: No space left on device"):
        checkpoint.save(path, "stereo", {}, torch.nn.Linear(2, 3))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_fills_up_in_the_middle_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    """torch's writer hides the disk's error behind one of its own; a limit on files' sizes makes the same error without a full disk."""
    resource = pytest.importorskip("resource", reason="this system has no limits on files' sizes")
    network = torch.nn.Linear(300, 300)
    checkpoint.save(tmp_path / "a.pt", "stereo", {}, network)
    before = (tmp_path / "a.pt").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DataError) as caught:
            checkpoint.save(tmp_path / "a.pt", "stereo", {}, network)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == f"can't write {tmp_path / 'a.pt'}: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    assert (tmp_path / "a.pt").read_bytes() == before
