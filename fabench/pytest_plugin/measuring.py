"""The measuring side of a pytest session: one fork server at a time, started by the first cell that needs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from fabench.environment import available_bytes, child_settings, collect
from fabench.schema import Environment, Measure, Record
from fabench.suite import Planned, Suite
from fabench.sweep.launch import ForkServer
from fabench.sweep.lock import exclusive
from fabench.sweep.run import memory_limit, sweep
from fabench.sweep.schedule import Schedule

__all__ = ["Measuring"]


class Measuring:
    """Runs cells for tests. Suites with other threads or another allocator get a new server, since both are set when it starts."""

    def __init__(self) -> None:
        self.without_time: list[Record] = []
        self.said: list[str] = []
        self._held = ExitStack()
        self._mine: set[str] = set()
        self._server: ForkServer | None = None
        self._settings: dict[str, str] = {}
        self._built: Mapping[str, Any] = {}
        self._seen: dict[str, Mapping[str, Any]] = {}
        self._environments: dict[str, Environment] = {}
        self._done: dict[str, list[Record]] = {}
        self._since: dict[str, float] = {}

    @property
    def environments(self) -> list[Environment]:
        """One per suite that has run."""
        return list(self._environments.values())

    def auto_device(self, measure: Measure) -> str:
        """What "auto" stands for: a GPU if there is one. Raises WorkerError where the measuring side does not start."""
        return "cpu" if "missing" in self._describe(measure, "cuda") else "cuda"

    def run(self, suite: Suite, planned: Planned) -> tuple[Record, Environment]:
        """Measures one cell, after what the suite's earlier ones said about memory and time.

        Raises WorkerError, also where another fabench uses the device.
        """
        server = self._serve(suite.measure)
        environment = self._environment(suite, planned.cell.device)
        if not suite.measure.check_only:
            self._hold(planned.cell.device, environment)
        done = self._done.setdefault(suite.sha, [])
        schedule = Schedule([planned], [record for record in done if record.cell != planned.cell])
        since = self._since.setdefault(suite.sha, time.monotonic())
        total_s = suite.budget.total_s
        if done and total_s is not None and time.monotonic() - since > total_s:
            schedule.stop(f"the suite's time budget of {total_s:g} s was used up")
        (record,) = sweep(suite, schedule, server, memory_limit(suite, available_bytes()), done.append, lambda event: None)
        return record, environment

    def close(self) -> None:
        """Ends the server and what it still runs, and leaves the devices to others."""
        self._held.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _serve(self, measure: Measure) -> ForkServer:
        settings = child_settings(measure)
        if self._server is None or settings != self._settings:
            if self._server is not None:
                self._server.close()
            self._server, self._settings, self._seen = ForkServer(measure), settings, {}
            self._built = self._server.start()
        return self._server

    def _hold(self, device: str, environment: Environment) -> None:
        """Takes the device for this session's cells, once."""
        if device not in self._mine:
            self._held.enter_context(exclusive({device: environment.devices[device]}, self.said.append))
            self._mine.add(device)

    def _describe(self, measure: Measure, device: str) -> Mapping[str, Any]:
        server = self._serve(measure)
        if device not in self._seen:
            self._seen[device] = server.describe([device])[device]
        return self._seen[device]

    def _environment(self, suite: Suite, device: str) -> Environment:
        """The suite's, with every device that its cells have asked for so far."""
        facts = self._describe(suite.measure, device)
        known = self._environments.get(suite.sha)
        if known is None or device not in known.devices:
            devices = {**({} if known is None else known.devices), device: facts}
            settings = {name: value for name, value in self._settings.items() if not name.startswith("FABENCH_")}
            known = collect(suite.name, suite.sha, (), devices, self._built, settings)
            self._environments[suite.sha] = known
        return known
