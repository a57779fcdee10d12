"""Checkpoints: weights with what the network was built with, read without running any code, and written whole or not at all.

    {"fabench": 1, "task": "stereo", "build": {"where": "layer4", "attention": {"d_k": 64}, "form": "hourglass"}, "model": {key: tensor}}

`build` are the arguments of the task's `build` (fabench/models/), plain values only; a trainer may add entries of its own beside it. A
file of others, with bare weights or weights under `state_dict` or `model`, is read too, and says nothing of how its network is built.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fabench.data.files import reason
from fabench.errors import DataError
from fabench.models.insertion import state_of

__all__ = ["Checkpoint", "read", "save"]

_VERSION = 1
_CODE = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Weights by name; `path`: where they were read; `task` and `build` are None in a file of others. `content`: all that the file holds. `sha`: SHA-256 of its bytes."""

    path: Path
    state: Mapping[str, torch.Tensor]
    content: Mapping[str, Any]
    sha: str
    task: str | None
    build: Mapping[str, Any] | None


def read(path: Path) -> Checkpoint:
    """A checkpoint on the CPU. Raises DataError where it is missing, broken, without weights, or asks for code to be run."""
    try:
        with path.open("rb") as file:
            sha = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"can't read {path}: {reason(error)}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old files' pickle protocol
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's readers raise almost anything for bytes that are no checkpoint
        if found := _CODE.search(str(error)):
            raise DataError(
                f"{path} asks for {found[1]} when it is loaded, which could run code: refused; a checkpoint holds tensors and plain values"
            ) from None
        raise DataError(f"{path} is no checkpoint that can be read: broken, cut off, or not written by torch.save") from None
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}, not weights by name")
    try:
        state = state_of(content)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if "fabench" not in content:
        return Checkpoint(path, state, content, sha, None, None)
    if content["fabench"] != _VERSION:
        raise DataError(f"{path} has the version {content['fabench']!r} of fabench's checkpoints; this fabench reads {_VERSION}")
    task, build = content.get("task"), content.get("build")
    if not isinstance(task, str) or not isinstance(build, Mapping):
        raise DataError(f"{path} is one of fabench's checkpoints, but does not say its task and how its network is built")
    return Checkpoint(path, state, content, sha, task, build)


def save(path: Path, task: str, build: Mapping[str, Any], network: torch.nn.Module, **more: Any) -> None:
    """Writes a checkpoint: to another name beside it first, then moved, so that `path` is never half a file. Raises DataError.

    `more`: further entries of tensors and plain values (an optimiser's state, an epoch).
    """
    content = {"fabench": _VERSION, "task": task, "build": dict(build), "model": network.state_dict(), **more}
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch's writer meets the disk's error first and then raises one of its own about its place in the file.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise DataError(f"can't write {path}: {reason(cause)}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the new name outlast a power cut too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
