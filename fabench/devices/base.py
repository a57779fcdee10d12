"""The contract of a device: one file in this folder, found by its file name, with a class `Device`.

A device knows how to get ready, how to time a call on its own clock, and how to read its own memory. It runs in a cell's process
only; nothing here is called in the parent or before the fork.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fabench.errors import UsageError
from fabench.schema import Measure

__all__ = ["Call", "Device", "Peak", "load", "names"]

Call = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Peak:
    """What the allocator saw during one call, in bytes: how much above the start it went, and what else is known.

    `baseline_bytes` is None where the allocator has no live counter (CPU): the caller then adds up what it holds.
    """

    delta_bytes: int
    baseline_bytes: int | None = None
    reserved_bytes: int | None = None
    process_bytes: int | None = None


class Device(ABC):
    """Where calls run. `name` is what the user wrote: "cpu", "cuda", "cuda:1"."""

    clock: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.torch_device = torch.device(name)

    @abstractmethod
    def missing(self) -> str | None:
        """Why nothing can be measured here, or None."""

    @abstractmethod
    def prepare(self, measure: Measure) -> None:
        """Sets threads and whatever else must hold before the first tensor exists."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name, memory_bytes, threads and whatever else identifies the device in an environment."""

    @abstractmethod
    def synchronise(self) -> None:
        """Returns when all submitted work is done."""

    @abstractmethod
    def sample(self, call: Call, loops: int, cold: bool) -> float:
        """Seconds per call, over `loops` calls on the device's clock; `cold` flushes the cache before each, outside the window."""

    @abstractmethod
    def peak(self, call: Call) -> Peak:
        """Runs `call` once and says what memory it took."""

    @abstractmethod
    def rates(self) -> dict[str, Any]:
        """Measured peaks: {"copy_bytes_per_s": float, "flop_per_s": {dtype: float}}."""


def names() -> list[str]:
    """The devices that have a file here."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in ("base", "__init__") and p.stem[0] != "_")


def load(name: str) -> Device:
    """The device "cpu", "cuda" or "cuda:1". Raises UsageError for a name that no file has."""
    kind = name.partition(":")[0]
    if kind not in names():
        raise UsageError(f"no device {name[:20]!r}; there are {', '.join(names())}")
    device: Device = importlib.import_module(f"fabench.devices.{kind}").Device(name)
    return device
