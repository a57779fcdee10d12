"""`python -m fabench.evaluate.server`: reads one request from standard input, evaluates, and writes lines of JSON.

A request is {"task", "format", "data", "split", "weights", "device", "batch", "max_disparity", "non_occluded", "limit", "options", "memory_bytes"}: `options`
replace what the checkpoint says of how its network is built; `memory_bytes`, for a CPU, is how much more the process may take. Lines:
{"event": "progress", "done", "total"} as it goes, then {"event": "result", "value": Evaluation} or {"event": "error", "kind", "text"},
whose kind is an error's class of `fabench.errors`.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import IO, Any

from fabench.accuracy import FORMATS, Evaluation
from fabench.errors import UsageError
from fabench.evaluate.process import Request, device_of, limit_memory, pipe_to_parent, say, served

__all__ = ["answer", "main"]


def main() -> None:
    """One request, then the end."""
    pipe = pipe_to_parent()

    def lacking(request: Request) -> str:
        return (
            f"out of memory with {request['batch']} at a time on {request['device']}; take a smaller --batch or another --device"
        )

    served(lambda request: say(pipe, event="result", value=answer(request, pipe)), partial(say, pipe), lacking)


def answer(request: Request, pipe: IO[str]) -> Evaluation:
    """What the request asks for; progress goes to `pipe`. Raises FabenchError for whatever the user can mend."""
    import torch

    from fabench.evaluate import checkpoint, networks
    from fabench.evaluate.detection import evaluate_detection
    from fabench.evaluate.stereo import evaluate_stereo

    task, name = request["task"], request["format"]
    if name not in FORMATS.get(task, ()):
        raise UsageError(f"{task} has no data sets in the format {name}")
    device = device_of(torch, request["device"])
    if device.type == "cpu" and request["memory_bytes"] is not None:
        limit_memory(request["memory_bytes"])
    extra = {"non_occluded": True} if request["non_occluded"] else {}
    # The data first: finding that a folder is wrong should not take a network.
    dataset = importlib.import_module(f"fabench.data.{name}").find(Path(request["data"]), request["split"], **extra)
    weights = checkpoint.read(Path(request["weights"]))
    build = networks.merged(weights.build, request["options"])
    network = networks.network_of(task, weights, build, device)
    options: dict[str, Any] = {
        "batch": request["batch"], "limit": request["limit"],
        "progress": lambda done, total: say(pipe, event="progress", done=done, total=total),
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


if __name__ == "__main__":
    main()
