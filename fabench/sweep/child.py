"""A process with torch that gets one request and answers in lines of JSON, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from types import FrameType
from typing import Any, TypeVar

from fabench import errors
from fabench.codec import DecodeError, decode, encode
from fabench.errors import FabenchError, WorkerError

__all__ = ["conversed", "messages", "understood"]

T = TypeVar("T")


def conversed(
    cls: type[T], module: str, request: Mapping[str, Any], what: str, tell: Callable[[dict[str, Any]], None], *, lets_end: bool = False
) -> T:  # fmt: skip
    """The result of `python -m module`; `tell` gets each message before it. `what` the process does, in words.

    Raises what the process says is wrong, and WorkerError where it ends without a result. The process has ended when this does.
    `lets_end`: a first interruption is passed on, and the process may end in its own way; a second one kills it.
    """
    with contextlib.closing(messages(module, request, what, lets_end=lets_end)) as conversation:
        for message in conversation:
            if message["event"] == "result":
                with understood(what, message):
                    return decode(cls, message["value"])
            tell(message)
    raise AssertionError("a conversation ends with its result or with an error")


@contextlib.contextmanager
def understood(what: str, message: Mapping[str, Any]) -> Iterator[None]:
    """Within it a message that is none of its kind is a WorkerError."""
    try:
        yield
    except (KeyError, TypeError, DecodeError) as error:
        raise WorkerError(f"the {what} said something that is no {message['event']}: {error}") from None


def messages(
    module: str, request: Mapping[str, Any], what: str, *,
    lets_end: bool = False, settings: Mapping[str, str] | None = None, advice: str = "",
) -> Generator[dict[str, Any], None, None]:  # fmt: skip
    """Each message of `python -m module`, which runs under `settings`, until whoever listens closes this: then the process is killed.

    Raises what the process says is wrong, and WorkerError where it ends while it is listened to; `advice` says what to do then.
    """
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            env=os.environ | (settings or {}),
        ) as worker,
        _passed_on(worker) if lets_end else contextlib.nullcontext(),
    ):  # fmt: skip
        assert worker.stdin is not None and worker.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has died already, and its standard error says of what
                worker.stdin.write(encode(dict(request)))
                worker.stdin.close()
            for line in worker.stdout:
                yield _read(line, what)
            code = worker.wait()
        finally:
            worker.kill()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    raise WorkerError(f"the {what} ended early: {last[:300]}" + (f"; {advice}" if advice else ""))


def _read(line: str, what: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
        if message["event"] != "error":
            return dict(message)
        kind, text = getattr(errors, str(message["kind"]), None), str(message["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise WorkerError(f"the {what} said something else than a result: {error}") from None
    if isinstance(kind, type) and issubclass(kind, FabenchError):
        raise kind(text)
    raise WorkerError(text)


@contextlib.contextmanager
def _passed_on(worker: subprocess.Popen[str]) -> Iterator[None]:
    """Within it SIGINT and SIGTERM go to the process and not to this one: first as SIGTERM, and then as SIGKILL."""
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        worker.send_signal(signal.SIGKILL if asked else signal.SIGTERM)
        asked.append(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
