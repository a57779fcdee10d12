"""How a cell is handed to whoever measures it: the protocol that a cluster engine could fill in for the local fork server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fabench.schema import Job, Record

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs jobs, one at a time, each in a process of its own. A job always ends as a record, whatever happens to its process."""

    def start(self) -> Mapping[str, Any]:
        """Gets ready; facts about the measuring side's torch. Raises WorkerError where that can't be."""
        ...

    def describe(self, devices: Sequence[str]) -> Mapping[str, Any]:
        """Per device name its facts, or {"missing": reason}."""
        ...

    def rates(self, device: str) -> Mapping[str, Any]:
        """The device's measured peaks."""
        ...

    def run(self, job: Job, timeout_s: float, on_phase: Callable[[str], None]) -> Record:
        """Measures one cell."""
        ...

    def close(self) -> None:
        """Ends everything that still runs."""
        ...
