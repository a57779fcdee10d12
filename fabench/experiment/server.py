"""`python -m fabench.experiment.server`: reads one request from standard input, makes the trials it asks for, and writes lines of JSON.

A request is {"name", "protocol", "wanted", "references"}: `wanted` lists [arm, seed], `references` is whether the methods without training
are asked for too. Lines, as it goes: {"event": "progress", "arm", "seed", "share"}, {"event": "references", "value": [StereoReference]},
{"event": "trial", "value"}; at the end {"event": "done"} or {"event": "error", "kind", "text"}, whose kind is a class of `fabench.errors`.
"""

from __future__ import annotations

import json
import sys
from typing import IO, Any

from fabench.codec import decode
from fabench.errors import FabenchError, WorkerError
from fabench.evaluate.process import no_memory, pipe_to_parent, say
from fabench.trials import DigitsProtocol, MotorcycleProtocol

__all__ = ["answer", "main"]


def main() -> None:
    """One request, then the end."""
    pipe = pipe_to_parent()
    request = json.loads(sys.stdin.buffer.read())
    try:
        answer(request, pipe)
        say(pipe, event="done")
    except FabenchError as error:
        say(pipe, event="error", kind=type(error).__name__, text=" ".join(str(error).split()))
    except (MemoryError, RuntimeError) as error:
        if not no_memory(error):
            raise
        text = f"out of memory in the experiment {request['name']}; free some, and start it again: made trials are kept"
        say(pipe, event="error", kind=WorkerError.__name__, text=text)


def answer(request: dict[str, Any], pipe: IO[str]) -> None:
    """Makes the trials, and tells of each as soon as it is made. Raises FabenchError for whatever the user can mend."""
    for arm, seed in request["wanted"]:

        def progress(share: float, arm: str = arm, seed: int = seed) -> None:
            say(pipe, event="progress", arm=arm, seed=seed, share=share)

        if request["name"] == "digits":
            from fabench.experiment import digits

            protocol = decode(DigitsProtocol, request["protocol"])
            say(pipe, event="trial", value=digits.trial(arm, seed, protocol, progress))
        else:
            from fabench.experiment import motorcycle

            stereo = decode(MotorcycleProtocol, request["protocol"])
            if request["references"]:
                say(pipe, event="references", value=motorcycle.references(stereo))
                request["references"] = False
            say(pipe, event="trial", value=motorcycle.trial(arm, seed, stereo, progress))


if __name__ == "__main__":
    main()
