"""The parent's side of `fabench evaluate`: one process with torch, its progress as it comes, its result read back."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from fabench import errors
from fabench.accuracy import Evaluation
from fabench.codec import DecodeError, decode
from fabench.errors import FabenchError, WorkerError

__all__ = ["evaluated"]


def evaluated(request: Mapping[str, Any], progress: Callable[[int, int], None]) -> Evaluation:
    """The evaluation asked for (see `fabench.evaluate.server`). Raises what the process says is wrong, or WorkerError where it ended early."""
    command = [sys.executable, "-m", "fabench.evaluate.server"]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True) as worker,
    ):
        assert worker.stdin is not None and worker.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):  # it has died already, and its standard error says of what
                worker.stdin.write(json.dumps(dict(request)))
                worker.stdin.close()
            for line in worker.stdout:
                found = _read(line, progress)
                if found is not None:
                    return found
            code = worker.wait()
        finally:
            worker.kill()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
    last = said[-1] if said else f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
    raise WorkerError(f"the evaluation ended early: {last[:300]}")


def _read(line: str, progress: Callable[[int, int], None]) -> Evaluation | None:
    try:
        message = json.loads(line)
        if message["event"] == "result":
            return decode(Evaluation, message["value"])
        if message["event"] == "progress":
            progress(message["done"], message["total"])
            return None
        kind, text = getattr(errors, str(message["kind"]), None), str(message["text"])
    except (ValueError, KeyError, TypeError, DecodeError) as error:
        raise WorkerError(f"the evaluating process said something else than a result: {error}") from None
    if isinstance(kind, type) and issubclass(kind, FabenchError):
        raise kind(text)
    raise WorkerError(text)
