"""`python -m fabench.train.server`: reads one request from standard input, trains, and writes lines of JSON.

A request is {"task", "format", "data", "split", "limit", "out", "every", "keep", "resume", "init", "preset", "changes", "options", "log",
"device", "workers", "memory_bytes"}: `changes` replace values of the preset or of the checkpoint's recipe, `options` how the network is
built; `every` so many steps a checkpoint is written to `out`, and `keep` of them stay; `resume` is a file or "latest"; `memory_bytes`, for
a CPU, is how much more the process may take. Lines: the events of the log (`fabench.train.journal`) as they happen, then {"event": "result",
"value": Trained} or {"event": "error", "kind", "text"}, whose kind is an error's class of `fabench.errors`.

SIGTERM and SIGINT end the training after the step in hand, with a checkpoint; so does a parent that is gone. Started by torchrun, directly or
below `fabench train`, the processes train together; the first alone writes and says events.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from fabench.evaluate.process import Request, device_of, limit_memory, pipe_to_parent, say, served

__all__ = ["main"]


def main() -> None:
    """One request, then the end."""
    stop: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    pipe = pipe_to_parent()

    def tell(**line: Any) -> None:
        try:
            say(pipe, **line)
        except BrokenPipeError:
            stop.append(signal.SIGPIPE)

    def answer(request: Request) -> None:
        tell(event="result", value=_trained(request, tell, lambda: bool(stop)))

    def lacking(request: Request) -> str:
        return "out of memory; take a smaller --batch, more parts of it (--accumulate), a smaller --crop or another --device"

    served(answer, tell, lacking)


def _trained(request: Request, tell: Any, stopped: Any) -> Any:
    import torch

    from fabench.train.group import group_of, joined
    from fabench.train.trainer import trained

    group = group_of()
    device = device_of(torch, group.device_word(request["device"]))
    if device.type == "cpu" and request["memory_bytes"] is not None:
        limit_memory(request["memory_bytes"])
    with joined(group, device):
        return trained(request, device, group, tell, stopped)


if __name__ == "__main__":
    main()
