"""NVIDIA's driver library: a board found by its UUID, where there is one. `_nvml_board` has its queries, `_nvml_observer` its looks.

A board is found by UUID, never by index: NVML counts by bus and sees all GPUs, CUDA counts the fastest first and only what
CUDA_VISIBLE_DEVICES leaves it. torch writes a UUID bare; the driver puts GPU- or MIG- before it.

The library is started once per process, and after the fork. Checked against a stand-in for the driver, not yet against a driver.
"""

from __future__ import annotations

import os
from typing import Any

from fabench.devices._nvml_board import Board, decoded, lost
from fabench.devices._nvml_observer import GpuObserver

__all__ = ["Board", "GpuObserver", "board", "lost", "missing"]


class _State:
    """Which process started the library (a child must start its own), and why the last board is missing."""

    process: int | None = None
    missing: str | None = None


def board(uuid: str | None) -> Board | None:
    """The board with this UUID, as torch writes it or as the driver does ("GPU-...", "MIG-..."); None where it can't be found."""
    _State.missing = _start()
    if _State.missing is not None:
        return None
    if not uuid:
        _State.missing = "the device tells no UUID that its board could be found by"
        return None
    import pynvml

    told = []
    for name in [uuid] if uuid.startswith(("GPU-", "MIG-")) else [f"GPU-{uuid}", f"MIG-{uuid}"]:
        try:
            handle = pynvml.nvmlDeviceGetHandleByUUID(name.encode())
            if name.startswith("MIG-"):
                return Board(pynvml, name, pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle), handle)
            return _instance(pynvml, handle) or Board(pynvml, name, handle)
        except pynvml.NVMLError as error:
            told.append(f"{name}: {error}")
    _State.missing = f"NVML finds no board ({'; '.join(told)})"
    return None


def missing() -> str | None:
    """Why the latest `board` found none, or None where it found one."""
    return _State.missing


def _start() -> str | None:
    """Starts the library in this process unless that is done. Why it can't be, or None."""
    if _State.process == os.getpid():
        return None
    try:
        import pynvml
    except ImportError:
        return "the package nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML does not start: {error}"
    _State.process = os.getpid()
    return None


def _instance(library: Any, card: Any) -> Board | None:
    """The MIG instance that this process uses of a card whose own UUID CUDA tells.

    A process uses one instance only: the one that CUDA_VISIBLE_DEVICES names, or the card's only one. None where that is not known.
    """
    try:
        if not library.nvmlDeviceGetMigMode(card)[0]:
            return None
        slots = library.nvmlDeviceGetMaxMigDeviceCount(card)
    except library.NVMLError:
        return None
    found = []
    for slot in range(slots):
        try:
            handle = library.nvmlDeviceGetMigDeviceHandleByIndex(card, slot)
            found.append(Board(library, decoded(library.nvmlDeviceGetUUID(handle)) or "", card, handle))
        except library.NVMLError:  # an empty slot
            continue
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = [name for name in visible if name.startswith("MIG-")]
    chosen = [each for each in found if not named or each.uuid.startswith(named[0])]
    return chosen[0] if len(chosen) == 1 else None
