"""`python -m fabench.evaluate.server`: reads one request from standard input, evaluates, and writes lines of JSON.

A request is {"task", "format", "data", "split", "weights", "device", "batch", "max_disparity", "limit", "options", "memory_bytes"}: `options`
replace what the checkpoint says of how its network is built; `memory_bytes`, for a CPU, is how much more the process may take. Lines:
{"event": "progress", "done", "total"} as it goes, then {"event": "result", "value": Evaluation} or {"event": "error", "kind", "text"},
whose kind is an error's class of `fabench.errors`.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
from pathlib import Path
from typing import IO, Any

from fabench.accuracy import FORMATS, Evaluation
from fabench.codec import encode
from fabench.errors import FabenchError, UsageError, WorkerError

__all__ = ["answer", "main"]


def main() -> None:
    """One request, then the end. What libraries print goes to standard error: standard output is the pipe to the parent."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read())
    try:
        _say(pipe, event="result", value=answer(request, pipe))
    except FabenchError as error:
        _say(pipe, event="error", kind=type(error).__name__, text=" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if not _no_memory(error):
            raise
        text = (
            f"out of memory with {request['batch']} at a time on {request['device']}; take a smaller --batch or another --device"
        )
        _say(pipe, event="error", kind=WorkerError.__name__, text=text)


def _say(pipe: IO[str], **line: Any) -> None:
    pipe.write(encode(line) + "\n")
    pipe.flush()


def _no_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said or "not enough memory" in said


def answer(request: dict[str, Any], pipe: IO[str]) -> Evaluation:
    """What the request asks for; progress goes to `pipe`. Raises FabenchError for whatever the user can mend."""
    import torch

    from fabench.evaluate import checkpoint, networks
    from fabench.evaluate.detection import evaluate_detection
    from fabench.evaluate.stereo import evaluate_stereo

    task, name = request["task"], request["format"]
    if name not in FORMATS.get(task, ()):
        raise UsageError(f"{task} has no data sets in the format {name}")
    device = _device(torch, request["device"])
    if device.type == "cpu" and request["memory_bytes"] is not None:
        _limit_memory(request["memory_bytes"])
    # The data first: finding that a folder is wrong should not take a network.
    dataset = importlib.import_module(f"fabench.data.{name}").find(Path(request["data"]), request["split"])
    weights = checkpoint.read(Path(request["weights"]))
    build = networks.merged(weights.build, request["options"])
    network = networks.network_of(task, weights, build, device)
    options: dict[str, Any] = {
        "batch": request["batch"], "limit": request["limit"],
        "progress": lambda done, total: _say(pipe, event="progress", done=done, total=total),
    }  # fmt: skip
    result: dict[str, Any]
    if task == "stereo":
        reach = float(network.max_disparity) if request["max_disparity"] is None else request["max_disparity"]
        predict = networks.stereo_predict(network, device)
        result = {"stereo": evaluate_stereo(predict, dataset, max_disparity=reach, **options)}
    else:
        result = {"detection": evaluate_detection(networks.detection_predict(network, device), dataset, **options)}
    limit = request["limit"] if request["limit"] is not None and request["limit"] < len(dataset) else None
    return Evaluation(
        task, name, request["data"], request["split"], request["weights"], weights.sha, build, str(device), limit, **result
    )


def _device(torch: Any, word: str) -> Any:
    """The device meant. Raises UsageError for one that is not here."""
    if word == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(word)
        torch.empty(1, device=device).item()  # also what is known by name may not be here
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"the device {word[:40]!r} is not here; `fabench doctor` lists what is") from None
    return device


def _limit_memory(extra_bytes: int) -> None:
    """Address space: what the process has now, and this much more. Allocations beyond fail, where the kernel would kill at random."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
