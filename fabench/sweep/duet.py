"""A launch pair from the parent's side: two fork servers, base's and head's, whose children hold the same cell and take turns.

Turns are as fine as one call (or two milliseconds of calls), so that drift, bursts of load and the clocks meet both sides alike. Who goes
first is drawn once for each cell and pair, and alternates from round to round.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fabench.codec import DecodeError, decode
from fabench.errors import WorkerError
from fabench.paired import Paired
from fabench.schema import Job, Measure, Record, Status
from fabench.sweep.ending import died, ended, oom_kills
from fabench.sweep.launch import ForkServer

__all__ = ["ROUNDS", "Side", "duet", "server_command"]

ROUNDS = 20
_SINGLE_S = 5e-3  # from here on a turn is one call
_TURN_S = 2e-3
_CALIBRATIONS = 3
_GRACE_S = 5.0
_KEPT_BACK = 0.8  # of a turn's wall time: less CPU time than that, and something else had the processor


@dataclass(frozen=True, slots=True)
class _Pong:
    seconds: float
    cpu_s: float


class _Over(Exception):
    """The side's cell has ended, with this record."""

    def __init__(self, side: str, record: Record) -> None:
        super().__init__(record.reason or record.status)
        self.side, self.record = side, record


def server_command(python: Path | None) -> tuple[str, ...]:
    """What starts a checkout's measuring side with this interpreter; None is the one that runs this."""
    return str(python or sys.executable), "-m", "fabench.measure.server"


class Side:
    """Base or head: a fork server that runs the fabench of one checkout.

    `slow_down` plants real work beside each call, as a share of its time: in all cells, or in the one called `slowed`.
    `command` starts it; see `server_command`.
    """

    def __init__(
        self,
        name: str,
        tree: Path,
        measure: Measure,
        slow_down: float = 0.0,
        slowed: str | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name, self._tree, self._slow_down, self._slowed = name, tree, slow_down, slowed
        self._server = ForkServer(measure, command or server_command(None), tree)
        self._job: Job | None = None
        self._timeout_s = self._deadline = math.inf
        self._phase = "start"
        self._kills: Mapping[str, int] = {}

    def spawn(self) -> None:
        """Starts the process and does not wait. Raises WorkerError where it can't be run."""
        try:
            self._server.spawn()
        except WorkerError as error:
            raise WorkerError(f"{self.name}: {error}") from None

    def start(self) -> Mapping[str, Any]:
        """Waits for the process that `spawn` started. Raises WorkerError where it is not the checkout's own fabench that answers."""
        try:
            facts = self._server.start()
        except WorkerError as error:
            raise WorkerError(f"{self.name}: {error}") from None
        package = facts.get("package")
        if package is None:
            raise WorkerError(f"{self.name}'s fabench is too old to be paired: it does not say where it runs from")
        if Path(package).resolve() != (self._tree / "fabench").resolve():
            raise WorkerError(f"{self.name} was to run from {self._tree}, but {package} answered: is PYTHONPATH overridden?")
        return facts

    def begin(self, job: Job, timeout_s: float) -> None:
        """Hands over the cell; `prepared` waits until it is ready."""
        self._job, self._timeout_s, self._deadline, self._phase = job, timeout_s, time.monotonic() + timeout_s, "start"
        self._kills = oom_kills()
        slow_down = self._slow_down if self._slowed in (None, job.cell.id) else 0.0
        self._server.send({"kind": "duet", "job": job, "slow_down": slow_down})

    def prepared(self) -> None:
        """Returns when the cell is checked and warm. Raises _Over where it ended before.

        The other side may have used up the time that both have; what this one has said meanwhile is still read.
        """
        self._deadline = max(self._deadline, time.monotonic() + min(self._timeout_s, _GRACE_S))
        self._wait("prepared")

    def ping(self, loops: int, discard: int) -> _Pong:
        """One turn. Raises _Over where the process ended instead."""
        self._server.send({"ping": loops, "discard": discard})
        answer = self._wait("pong")
        return _Pong(float(answer["seconds"]), float(answer["cpu_s"]))

    def finish(self) -> Record:
        """Ends the cell: its record, with memory and check. It has the same time anew: what is gone may be the other side's doing."""
        self._deadline = max(self._deadline, time.monotonic() + self._timeout_s)
        self._server.send({"done": True})
        try:
            self._wait("no such event")
        except _Over as over:
            return over.record
        raise AssertionError("a wait ends with its event or with the cell")

    def _wait(self, wanted: str) -> dict[str, Any]:
        assert self._job is not None
        record: Record | None = None
        for message in self._server.messages(self._deadline):
            event = message.get("event")
            if event == wanted:
                return message
            if event == "phase":
                self._phase = message["name"]
            elif event == "answer":
                with suppress(DecodeError):
                    record = decode(Record, message["value"])
            elif event == "ended":
                raise _Over(self.name, record or died(self._job, self._phase, message["code"], "", self._kills))
        expired = time.monotonic() >= self._deadline
        self._server.close()
        if expired:
            raise _Over(self.name, ended(self._job, Status.TIMED_OUT, f"not done in time (in {self._phase})"))
        raise _Over(self.name, record or ended(self._job, Status.CRASHED, f"in {self._phase}: the measuring side died"))

    def close(self) -> None:
        """Kills the process."""
        self._server.close()


def duet(base: Side, head: Side, job: Job, pair: int, seed: int, timeout_s: float, tell: Callable[[str], None]) -> Paired:
    """One cell in turns. Whatever happens to a side, there is a `Paired`, with rounds or with the reason why not."""
    order = random.Random(f"{seed}/{pair}/{job.cell.id}")
    sides = [base, head] if order.random() < 0.5 else [head, base]
    turns: _Turns | None = None
    records: dict[str, Record] = {}
    for side in sides:
        side.begin(job, timeout_s)
    for side in sides:
        tell(f"{side.name} prepares")
        try:
            side.prepared()
        except _Over as over:
            records[side.name] = over.record
    if not records:
        tell("turns")
        try:
            turns = _turns(sides, hosted=job.cell.device == "cpu")
        except _Over as over:
            records[over.side] = over.record
    records |= {side.name: side.finish() for side in sides if side.name not in records}
    failed = [f"{name}: {one.status}: {one.reason}" for name, one in sorted(records.items()) if one.status != Status.OK]
    both = Paired(job.cell, pair, sides[0].name, base=records[base.name], head=records[head.name])
    if failed or turns is None:
        return replace(both, reason="; ".join(failed) or "a side ended early")
    return replace(
        both, loops=turns.loops, base_s=tuple(turns.seconds[base.name]), head_s=tuple(turns.seconds[head.name]),
        disturbed=turns.disturbed, repeated=turns.repeated,
    )  # fmt: skip


@dataclass
class _Turns:
    loops: int
    seconds: dict[str, list[float]]
    disturbed: int | None
    repeated: bool = False


def _turns(sides: Sequence[Side], hosted: bool) -> _Turns:
    """All rounds; once more if something else had the processor in most of them. Raises _Over.

    `hosted`: calls run on the host's processors; elsewhere a process that waits for its device is none that was disturbed.
    """
    call_s = max(min(side.ping(1, 0).seconds for _ in range(_CALIBRATIONS)) for side in sides)
    single = call_s >= _SINGLE_S
    loops, discard = (1, 0) if single else (math.ceil(_TURN_S / call_s), 1)
    found = _rounds(sides, loops, discard, hosted)
    if found.disturbed is not None and found.disturbed > ROUNDS // 2:
        found = replace(_rounds(sides, loops, discard, hosted), repeated=True)
    return found


def _rounds(sides: Sequence[Side], loops: int, discard: int, hosted: bool) -> _Turns:
    seconds: dict[str, list[float]] = {side.name: [] for side in sides}
    disturbed = 0
    for number in range(ROUNDS):
        pongs = {side.name: side.ping(loops, discard) for side in (sides if number % 2 == 0 else reversed(sides))}
        for name, pong in pongs.items():
            seconds[name].append(pong.seconds / loops)
        disturbed += any(pong.cpu_s < _KEPT_BACK * pong.seconds for pong in pongs.values())
    return _Turns(loops, seconds, disturbed if hosted else None)
