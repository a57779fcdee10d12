"""The parent's side of `fabench evaluate`: one process with torch, its progress as it comes, its result read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fabench.accuracy import Evaluation
from fabench.sweep.child import conversed

__all__ = ["evaluated"]


def evaluated(request: Mapping[str, Any], progress: Callable[[int, int], None]) -> Evaluation:
    """The evaluation asked for (see `fabench.evaluate.server`). Raises what the process says is wrong, or WorkerError where it ended early."""

    def tell(message: Mapping[str, Any]) -> None:
        progress(message["done"], message["total"])

    return conversed(Evaluation, "fabench.evaluate.server", request, "evaluation", tell)
