"""What `sweep` and `check` do alike: find the devices, plan the cells, and refuse what can't run before anything is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fabench import noise
from fabench.catalogue import devices as kinds_of_device
from fabench.cli._console import notes, safe
from fabench.environment import available_bytes, child_settings
from fabench.errors import StoreError, WorkerError
from fabench.schema import Measure
from fabench.suite import Planned, Suite
from fabench.sweep.launch import ForkServer
from fabench.sweep.lock import exclusive
from fabench.sweep.run import memory_limit

__all__ = ["Session", "measuring", "open_session", "say", "stored_noise"]


def say(text: str) -> None:
    """A line for the user beside everything else."""
    notes.print(safe(text))


def stored_noise(facts: Mapping[str, Any], built: Mapping[str, Any], measure: Measure) -> dict[str, Any] | None:
    """The noise sheet that `fabench doctor` kept of such a device under such settings; None is unknown. A broken file is a warning."""
    try:
        return noise.recall(noise.identity(facts, built, child_settings(measure)))
    except StoreError as error:
        notes.print(f"[yellow]warning:[/] {safe(error)}")
        return None


@dataclass(frozen=True)
class Session:
    """A running measuring side and what it can see."""

    server: ForkServer
    built: Mapping[str, Any]
    devices: dict[str, dict[str, Any]]
    planned: list[Planned]
    limit_bytes: int | None
    device: str


@contextmanager
def measuring(measure: Measure) -> Iterator[tuple[ForkServer, Mapping[str, Any]]]:
    """A fork server that is ended whatever happens, and the facts it starts with."""
    server = ForkServer(measure)
    try:
        yield server, server.start()
    finally:
        server.close()


def _auto(seen: Mapping[str, Mapping[str, Any]]) -> str:
    """The first accelerator that is here, or the CPU; never a scripted device."""
    here = [
        name for name in kinds_of_device() if "missing" not in seen.get(name, {"missing": ""}) and not seen[name].get("scripted")
    ]
    return next((name for name in here if name != "cpu"), "cpu")


@contextmanager
def open_session(suite: Suite, wait: bool = False) -> Iterator[Session]:
    """Starts the measuring side, resolves "auto" (a GPU if there is one), takes the devices for itself and plans the cells.

    Raises WorkerError if none of the devices asked for is there, or another fabench uses one of them (`wait` waits). A device that is
    missing beside others that are there leaves its cells as unsupported, with the reason.
    """
    with measuring(suite.measure) as (server, built):
        wanted = suite.devices
        seen = server.describe(sorted((wanted - {"auto"}) | (set(kinds_of_device()) if "auto" in wanted else set())))
        auto = _auto(seen)
        names = {auto if name == "auto" else name for name in wanted}
        devices = {name: dict(seen[name]) for name in sorted(names)}
        missing = [f"{name}: {facts['missing']}" for name, facts in devices.items() if "missing" in facts]
        if len(missing) == len(devices):
            raise WorkerError("; ".join(missing) + "; run on another one with --device, or see `fabench doctor`")
        first = next(name for name, facts in devices.items() if "missing" not in facts)
        with exclusive(devices, say, wait, "wait for it with --wait, or take another device with --device"):
            for facts in devices.values():
                if "missing" not in facts and (sheet := stored_noise(facts, built, suite.measure)) is not None:
                    facts["noise"] = sheet
            limit = memory_limit(suite, available_bytes())
            yield Session(server, built, devices, suite.plan(auto), limit, first)
