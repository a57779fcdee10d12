"""The local executor: a fork server that imports torch once, and one process per cell.

The parent owns time-out and kill. It never holds torch, so nothing it does disturbs what is measured, and no crash of a child reaches it.
The server runs in a session of its own: Ctrl-C reaches the parent alone, which then ends the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from fabench.codec import DecodeError, decode, encode
from fabench.environment import child_settings, utc_now
from fabench.errors import WorkerError
from fabench.schema import Job, Measure, Record, Status
from fabench.sweep.ending import died, ended, oom_kills, server_died

__all__ = ["ForkServer"]

_START_TIMEOUT_S = 180.0
_ANSWER_TIMEOUT_S = 120.0
_TAIL_BYTES = 4000


class ForkServer:
    """Starts on first use, and again if it was killed. `command` is the measuring side; another one can speak its protocol.

    `tree`: the checkout whose fabench measures; None is this one.
    """

    def __init__(
        self,
        measure: Measure,
        command: Sequence[str] = (sys.executable, "-m", "fabench.measure.server"),
        tree: Path | None = None,
    ) -> None:
        self._command = list(command)
        self._tree = tree
        self._settings = child_settings(measure)
        self._threads = int(self._settings["OMP_NUM_THREADS"])
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._buffer = b""
        self._child: int | None = None
        self._spawned = False

    def spawn(self) -> None:
        """Starts the server, which takes seconds to import torch; `start` waits for it. Raises WorkerError where it can't be run."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        environment = os.environ | self._settings | {"FABENCH_PARENT": str(os.getpid())}
        if self._tree is not None:
            environment["PYTHONPATH"] = str(self._tree)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
                env=environment, cwd=self._tree, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WorkerError(f"its interpreter does not run: {error.strerror}") from None
        self._buffer = b""
        self._spawned = True

    def start(self) -> Mapping[str, Any]:
        """Starts the server unless that was done, and waits until it has imported torch. Raises WorkerError where it does not."""
        if not self._spawned:
            self.spawn()
        self._spawned = False
        for message in self.messages(time.monotonic() + _START_TIMEOUT_S):
            if message.get("event") == "ready":
                return message
        why = self._tail() or "it gave no reason"
        self.close()
        raise WorkerError(f"the measuring side did not start: {why}; is torch installed? (`fabench doctor` tells more)")

    def describe(self, devices: Sequence[str]) -> Mapping[str, Any]:
        """Facts per device, asked in a process of its own."""
        return self._ask({"kind": "describe", "devices": list(devices), "threads": self._threads})

    def rates(self, device: str) -> Mapping[str, Any]:
        """Measured peaks of a device."""
        return self._ask({"kind": "rates", "device": device, "threads": self._threads})

    def noise(self, device: str, work: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """A launch of the noise sheet: medians of the same work per duration class; `work` is what an earlier launch answered."""
        return self._ask({"kind": "noise", "device": device, "threads": self._threads, "work": work})

    def _ask(self, request: dict[str, Any]) -> Mapping[str, Any]:
        value: Mapping[str, Any] | None = None
        self.send(request)
        for message in self.messages(time.monotonic() + _ANSWER_TIMEOUT_S):
            if message.get("event") == "answer":
                value = message["value"]
            elif message.get("event") == "ended":
                break
        if value is None:
            self._kill_child()
            raise WorkerError(f"the measuring side did not answer: {self._tail() or 'no reason known'}")
        return value

    def run(self, job: Job, timeout_s: float, on_phase: Callable[[str], None]) -> Record:
        """One cell, one record: the child's own, or what its end says.

        A process that dies before the cell's first phase was killed from outside (the cell's own code has not run yet), so the cell
        is tried once more; `phases_s` then has the time of the lost one as "lost start". Nothing else is ever tried again.
        """
        started_at, start = utc_now(), time.monotonic()
        record, began = self._attempt(job, timeout_s, on_phase)
        lost: dict[str, float] = {}
        if not began:
            lost = {"lost start": time.monotonic() - start}
            record, began = self._attempt(job, timeout_s, on_phase)
            if not began:
                record = replace(record, reason=f"{record.reason}; so did a second process")
        return replace(record, started_at=started_at, phases_s=record.phases_s | lost | {"total": time.monotonic() - start})

    def _attempt(self, job: Job, timeout_s: float, on_phase: Callable[[str], None]) -> tuple[Record, bool]:
        """The record, and False where the process died before the cell began."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        mark, kills = self._log_size(), oom_kills()
        self.send({"kind": "cell", "job": job})
        record, phase, code = None, "start", None
        deadline = time.monotonic() + timeout_s
        for message in self.messages(deadline):
            event = message.get("event")
            if event == "phase":
                phase = message["name"]
                on_phase(phase)
            elif event == "answer":
                with contextlib.suppress(DecodeError):
                    record = decode(Record, message["value"])
            elif event == "ended":
                code = message["code"]
                break
        expired = code is None and time.monotonic() >= deadline
        if code is None:
            record = self._without_end(job, record, phase, f"{timeout_s:g} s" if expired else None, kills)
        elif record is None:
            record = died(job, phase, code, self._tail(mark), kills)
        self._child = None
        return record, phase != "start" or expired or record.status != Status.CRASHED

    def _without_end(self, job: Job, record: Record | None, phase: str, expired: str | None, kills: Mapping[str, int]) -> Record:
        """The child ran out of time, or the server itself died: both are ended, the next cell starts anew."""
        tail, code = self._tail(), None if self._process is None or expired else self._wait_s(1.0)
        self.close()
        if record is not None:
            return record
        if expired is not None:
            return ended(job, Status.TIMED_OUT, f"not done after {expired} (in {phase})")
        return server_died(job, phase, code, tail, kills)

    def _wait_s(self, seconds: float) -> int | None:
        """The server's exit status, once its output has ended."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def close(self) -> None:
        """Kills the child and the server."""
        self._kill_child()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _kill_child(self) -> None:
        if self._child is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._child, signal.SIGKILL)
            self._child = None

    def send(self, request: Mapping[str, Any]) -> None:
        """One request, or one line to the process that answers one. Starts the server if it does not run."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(encode(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return  # the server just died: reading finds the end of its output and says so

    def messages(self, deadline: float) -> Iterator[dict[str, Any]]:
        """Messages until the deadline or the end of the server's output. What is no message (a torn line) is passed over."""
        assert self._process is not None and self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while True:
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                with contextlib.suppress(ValueError):
                    message = json.loads(line)
                    if isinstance(message, dict):
                        self._follow(message)
                        yield message
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                return
            data = os.read(pipe, 2**16)
            if not data:
                return
            self._buffer += data

    def _follow(self, message: Mapping[str, Any]) -> None:
        """Keeps in mind which child has to be killed."""
        if message.get("event") == "started":
            self._child = message["pid"]
        elif message.get("event") == "ended":
            self._child = None

    def _log_size(self) -> int:
        return 0 if self._log is None else os.fstat(self._log.fileno()).st_size

    def _tail(self, since: int = 0) -> str:
        """The last words on the measuring side's standard error, as one line."""
        if self._log is None:
            return ""
        size = self._log_size()
        data = os.pread(self._log.fileno(), _TAIL_BYTES, max(since, size - _TAIL_BYTES))
        lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-2:])[-300:]
