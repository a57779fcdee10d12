"""Which configuration each kernel takes: the fixed one, what tuning found on this kind of device, or what is pinned. No torch, no Triton.

`FABENCH_TILINGS` decides: unset, the file that `fabench tune` writes for this user, if there is one; "fixed", none; else the path of such
a file, which pins what it holds. A file holds entries, each for one target, type and width and one version of Triton, because another
compiler makes other code. What has no entry takes the fixed configuration. `Choice.labels` is what a record keeps.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fabench.kernels.factorized.tilings import Shape, Target, Tiling, tiling

__all__ = ["VARIABLE", "Choice", "chosen", "forget", "path", "remember", "users_path"]

VARIABLE = "FABENCH_TILINGS"
_FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernels that don't take their fixed configuration, and where that comes from."""

    tilings: tuple[tuple[str, Tiling], ...] = ()
    source: str = _FIXED

    def labels(self, kernels: dict[str, Tiling]) -> dict[str, str]:
        """Each kernel of a plan in words: "64x64x64, 4 warps, 2 stages, fixed"."""
        pinned = dict(self.tilings)
        return {
            name: f"{one.block_n}x{one.block_k}x{one.block_v}, {one.warps} warps, {one.stages} stages, {self.source if name in pinned else _FIXED}"
            for name, one in kernels.items()
        }


def path() -> Path | None:
    """The file in force, whether or not it exists; None where only fixed configurations are wanted."""
    named = os.environ.get(VARIABLE, "")
    if named == _FIXED:
        return None
    return Path(named) if named else users_path()


def users_path() -> Path:
    """The file that tuning writes and every run of this user reads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fabench" / "tilings.json"


@cache
def _triton() -> str:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _key(shape: Shape, target: Target) -> dict[str, Any]:
    return {
        "target": target.name, "processors": target.processors, "dtype": shape.dtype, "precision": shape.precision, "d_k": shape.d_k,
        "d_v": shape.d_v, "softmax": shape.softmax, "triton": _triton(),
    }  # fmt: skip


@cache
def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        entries = held["entries"]
        for entry in entries:
            entry["tilings"] = {str(name): Tiling(*(int(size) for size in sizes)) for name, sizes in entry["tilings"].items()}
    except OSError as error:
        raise ValueError(
            f"can't read {file}: {error.strerror}; write it with `fabench tune`, or set {VARIABLE}={_FIXED}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is no file of tilings; write it anew with `fabench tune`, or set {VARIABLE}={_FIXED}") from None
    return list(entries)


def _require(name: str, one: Tiling, shape: Shape, target: Target, file: Path) -> None:
    """Only what tuning varies may be pinned: with other tiles of a context a kernel would compute something else."""
    fixed = tiling(name, shape, target)
    powers = one.block_n >= 16 and one.block_n & (one.block_n - 1) == 0 and one.warps in (1, 2, 4, 8, 16) and 1 <= one.stages <= 8
    if not powers or (one.block_k, one.block_v) != (fixed.block_k, fixed.block_v):
        raise ValueError(
            f"{file}: {name} can't take {astuple(one)}; positions are a power of two from 16 on, channels {fixed.block_k} and {fixed.block_v}"
        )


@cache
def chosen(shape: Shape, target: Target) -> Choice:
    """What holds for the shape on the target. Read once: a file that changes later is for the next process.

    Raises ValueError, with one line that says how to mend it, for a file that is pinned and can't be used.
    """
    file = path()
    pinned = bool(os.environ.get(VARIABLE))
    if file is None or not (pinned or file.exists()):
        return Choice()
    key = _key(shape, target)
    for entry in _entries(file):
        if all(entry.get(name) == value for name, value in key.items()):
            found = entry["tilings"]
            for name, one in found.items():
                _require(name, one, shape, target, file)
            different = {name: one for name, one in found.items() if one != tiling(name, shape, target)}
            return Choice(tuple(sorted(different.items())), f"pinned by {file.name}" if pinned else "tuned")
    return Choice()


def forget() -> None:
    """Lets files be read again."""
    chosen.cache_clear()
    _entries.cache_clear()


def remember(file: Path, shape: Shape, target: Target, tilings: dict[str, Tiling]) -> None:
    """Writes what tuning found for the shape into the file, in place of what it held for the same. Raises OSError or ValueError."""
    forget()
    key = _key(shape, target)
    held = _entries(file) if file.exists() else []
    kept = [
        entry | {"tilings": _plain(entry["tilings"])}
        for entry in held
        if any(entry.get(name) != value for name, value in key.items())
    ]
    entries = [*kept, key | {"tilings": _plain(tilings)}]
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in entries)
    part.write_text(f'{{"entries": [\n{lines}\n]}}\n', encoding="utf-8")
    part.replace(file)
    forget()


def _plain(tilings: dict[str, Tiling]) -> dict[str, list[int]]:
    return {name: list(astuple(one)) for name, one in tilings.items()}
