"""The measuring side: a fork server that has imported torch once and forks a clean process for every request.

    python -m fabench.measure.server        requests on standard input, answers on standard output, one JSON document a line

    {"kind": "cell", "job": {...}}          -> "started", "phase"..., "answer" (a record), "ended"
    {"kind": "duet", "job": {...}, "slow_down": 0.0}      a cell that is timed ping by ping: see `duet`
    {"kind": "describe", "devices": [...]}  -> "started", "answer" (facts, or {"missing": why}), "ended"
    {"kind": "rates" | "noise", "device": "cpu", "threads": 1}     ("noise": and the "work" that an earlier launch answered)

Importing torch starts no CUDA context and no OpenMP pool, so the fork is safe. Allocator and OpenMP settings are read when a process
starts, so they are in this process's environment; the processors to run on are set here before torch is imported. A child dies with
this process, and this process with its parent (PR_SET_PDEATHSIG): whatever is killed, nothing keeps running.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import IO, Any

from fabench.schema import Job, Measure, Record, from_json, to_json

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def _die_with(parent: int) -> None:
    """Asks the kernel to kill this process when `parent` ends (Linux; elsewhere end of input does it)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _pin(processors: str | None) -> None:
    """Runs on these processors only ("1,2"), so that OpenMP sizes its pool by them."""
    if processors:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.sched_setaffinity(0, {int(part) for part in processors.split(",")})


def _limit_memory(extra_bytes: int | None) -> None:
    """Address space: what the process has now, plus `extra_bytes`. Allocations beyond fail with an error instead of a kill."""
    if extra_bytes is None:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


class _Answers:
    """The private pipe back to the parent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, event: str, **values: Any) -> None:
        """One line; written whole, by one writer at a time (the server is silent while a child lives)."""
        self.send_raw(json.dumps({"event": event, **values}, allow_nan=False))

    def send_raw(self, line: str) -> None:
        """The line as it is. It starts with a line break, in case a killed writer left half a line."""
        data = f"\n{line}\n".encode()
        while data:
            data = data[os.write(self._descriptor, data) :]


def _answer(request: dict[str, Any], answers: _Answers, requests: IO[bytes]) -> None:
    """What a child does: answers one request. What it is told on the way stands in `requests`, which the server leaves alone meanwhile."""
    kind = request.get("kind")
    if kind in ("cell", "duet"):
        from fabench.measure import cell
        from fabench.measure.duet import Duet
        from fabench.measure.timing import time_call

        job = from_json(Job, json.dumps(request["job"]))
        # A CUDA process reserves far more address space than it uses.
        _limit_memory(job.address_space_bytes if job.cell.device == "cpu" else None)
        timer = (
            time_call
            if kind == "cell"
            else Duet(lambda: requests.readline().decode(), answers.send, request.get("slow_down", 0.0))
        )
        record: Record = cell.run(job, lambda name: answers.send("phase", name=name), timer)
        answers.send_raw(f'{{"event":"answer","value":{to_json(record)}}}')
    elif kind == "describe":
        answers.send("answer", value={name: _describe(name, request) for name in request["devices"]})
    elif kind in ("rates", "noise"):
        from fabench.devices.base import load
        from fabench.measure.noise import noise_floor

        device = load(request["device"])
        device.prepare(Measure(threads=request.get("threads")))
        answers.send("answer", value=device.rates() if kind == "rates" else noise_floor(device, request.get("work")))
    else:
        raise ValueError(f"unknown request {kind!r}")


def _describe(name: str, request: dict[str, Any]) -> dict[str, Any]:
    from fabench.devices.base import load

    device = load(name)
    if (reason := device.missing()) is not None:
        return {"missing": reason}
    device.prepare(Measure(threads=request.get("threads")))
    return device.describe()


def _serve(request: dict[str, Any], answers: _Answers, requests: IO[bytes]) -> None:
    server = os.getpid()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            _die_with(server)
            _answer(request, answers, requests)
            status = 0
        except BaseException as error:  # the parent must hear why
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            sys.stderr.flush()
            os._exit(status)  # no teardown: the process held nothing but this request
    answers.send("started", pid=child)
    _, status, usage = os.wait4(child, 0)
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)  # compilers that the child started
    answers.send("ended", code=os.waitstatus_to_exitcode(status), max_rss_bytes=usage.ru_maxrss * 1024)


def _private_pipes() -> tuple[IO[bytes], _Answers]:
    """Moves the protocol away from standard input and output, so that a stray print can't break it."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = _Answers(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return requests, answers


def main() -> None:
    """Serves requests until the input ends."""
    _die_with(int(os.environ.get("FABENCH_PARENT", os.getppid())))
    requests, answers = _private_pipes()
    _pin(os.environ.get("FABENCH_PROCESSORS"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from fabench.measure import preload

    facts = preload.facts()
    gc.collect()
    gc.freeze()  # children inherit a heap that their collector need not walk (0.2 s per cell)
    answers.send("ready", **facts)
    for line in requests:
        _serve(json.loads(line), answers, requests)


if __name__ == "__main__":
    main()
