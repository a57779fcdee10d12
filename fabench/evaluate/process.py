"""What a process with torch that answers one request needs: lines of JSON to its parent, a device by its name, and a limit on memory."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeAlias

from fabench.codec import encode
from fabench.errors import FabenchError, UsageError, WorkerError

__all__ = ["Request", "device_of", "limit_memory", "no_memory", "pipe_to_parent", "say", "served"]

Request: TypeAlias = dict[str, Any]


def served(answer: Callable[[Request], None], tell: Callable[..., None], out_of_memory: Callable[[Request], str]) -> None:
    """Reads the one request and answers it. What the user can mend, and too little memory, is told as {"event": "error", "kind", "text"}.

    `out_of_memory` says what to do then. Every other error is one of ours, and ends the process with its traceback.
    """
    request = json.loads(sys.stdin.buffer.read())
    try:
        answer(request)
    except FabenchError as error:
        tell(event="error", kind=type(error).__name__, text=" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        tell(event="error", kind=WorkerError.__name__, text=out_of_memory(request))


def pipe_to_parent() -> IO[str]:
    """Standard output; what libraries print goes to standard error from now on."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def say(pipe: IO[str], **line: Any) -> None:
    """One line of JSON, at once."""
    pipe.write(encode(line) + "\n")
    pipe.flush()


def no_memory(error: Exception) -> bool:
    """Whether an allocation failed, whoever raised it."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said or "not enough memory" in said


def device_of(torch: Any, word: str) -> Any:
    """The device meant. Raises UsageError for one that is not here."""
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word)
        torch.empty(1, device=device).item()  # also what is known by name may not be here
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"the device {word[:40]!r} is not here; `fabench doctor` lists what is") from None
    return device


def limit_memory(extra_bytes: int) -> None:
    """Address space: what the process has now, and this much more. Allocations beyond fail, where the kernel would kill at random."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
