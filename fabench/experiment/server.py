"""`python -m fabench.experiment.server`: reads one request from standard input, makes the trials it asks for, and writes lines of JSON.

A request is {"name", "protocol", "wanted", "references"}: `wanted` lists [arm, seed], `references` is whether the methods without training
are asked for too. Lines, as it goes: {"event": "progress", "arm", "seed", "share"}, {"event": "references", "value": [StereoReference]},
{"event": "trial", "value"}; at the end {"event": "done"} or {"event": "error", "kind", "text"}, whose kind is a class of `fabench.errors`.
"""

from __future__ import annotations

from functools import partial
from typing import IO

from fabench.codec import decode
from fabench.evaluate.process import Request, pipe_to_parent, say, served
from fabench.trials import DigitsProtocol, MotorcycleProtocol

__all__ = ["answer", "main"]


def main() -> None:
    """One request, then the end."""
    pipe = pipe_to_parent()

    def lacking(request: Request) -> str:
        return f"out of memory in the experiment {request['name']}; free some, and start it again: made trials are kept"

    served(partial(answer, pipe=pipe), partial(say, pipe), lacking)


def answer(request: Request, pipe: IO[str]) -> None:
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
    say(pipe, event="done")


if __name__ == "__main__":
    main()
