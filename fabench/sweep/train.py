"""The parent's side of `fabench train`: one process with torch, its events as they come, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fabench.recipe import Trained
from fabench.sweep.child import conversed

__all__ = ["trained"]


def trained(request: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> Trained:
    """The training asked for (see `fabench.train.server`); `tell` gets each event of its log.

    A first SIGINT or SIGTERM lets it write a checkpoint and end, and a second one kills it. Raises what the process says is wrong, or
    WorkerError where it ended early.
    """
    return conversed(Trained, "fabench.train.server", request, "training", tell, lets_end=True)
