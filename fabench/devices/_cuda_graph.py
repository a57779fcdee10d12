"""The rung `cuda_graph`: replays of captured calls, behind the same blocker as events.

A replay is one launch whatever the call launches, so it has no launch gaps inside and thousands of kernels fit into the queue. There
is one graph per copy of the call's tensors (`Work.another`), and calls go round the copies, from sample to sample without starting
anew: fewer calls in a sample than copies never come back to a warm buffer.

Cold is by rotation alone, never by a flush: between two uses of one copy, the others touch twice the L2 (the same bytes that a flush
overwrites), which is asserted, and every copy has been used once before the first sample. What calls returned while they were
captured is kept until all are, so that outputs rotate as well. `touched_bytes` in the record says that a row is cold in this way:
all copies together. Hot is a single copy.

Calls are made on the side stream that captures them, because a backward pass runs on the stream that its forward pass ran on.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fabench.devices._cuda_cache import Cache
from fabench.devices._cuda_queue import Queue, QueuedWatch
from fabench.devices.base import Call, Unfit, Work
from fabench.units import format_bytes

__all__ = ["GraphWatch"]

_MOST_COPIES = 1024
_SHARE = 0.5  # of the memory that is free, for copies


class GraphWatch(QueuedWatch):
    """Replays, one call each. Raises Unfit where the work can't be captured or the copies have no room."""

    clock = "cuda_graph"

    def __init__(self, queue: Queue, work: Work, cache: Cache | None, look: Callable[[], None]) -> None:
        copies = 1 if cache is None else _rotations(work, cache)
        graphs = _capture(work, copies)
        for graph in graphs:  # a graph's first replay also uploads it
            graph.replay()
        torch.cuda.synchronize()
        self.touched_bytes = None if work.touched_bytes is None else copies * work.touched_bytes
        turn = itertools.cycle(graphs)
        super().__init__(queue, lambda: next(turn).replay(), None, look)

    def _launch_s(self, launches: Sequence[float]) -> float | None:
        """Submitting a replay says nothing about submitting the call."""
        return None


def _rotations(work: Work, cache: Cache) -> int:
    """How many copies a cold rotation takes. Raises Unfit where it can't be had."""
    if work.another is None or not work.touched_bytes:
        raise Unfit(
            "a cold replay goes round copies of the tensors, and this work can't be copied or does not say how large it is"
        )
    copies = 1 + -(-cache.flush_bytes // work.touched_bytes)
    if copies > _MOST_COPIES:
        raise Unfit(f"a cold replay would take {copies} copies of {format_bytes(work.touched_bytes)}, more than {_MOST_COPIES}")
    free, _ = torch.cuda.mem_get_info()
    if copies * work.touched_bytes > _SHARE * free:
        size = format_bytes(copies * work.touched_bytes)
        raise Unfit(f"{copies} copies take {size}, more than half of the {format_bytes(free)} that are free")
    assert (copies - 1) * work.touched_bytes >= cache.flush_bytes
    return copies


def _capture(work: Work, copies: int) -> list[torch.cuda.CUDAGraph]:
    """A graph per copy. Raises Unfit with the first error; an error of the device itself is raised as it is."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    graphs: list[torch.cuda.CUDAGraph] = []
    try:
        with torch.cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("error", message="The CUDA Graph is empty")
            calls = [work.call if work.another is None else work.another() for _ in range(copies)]
            for call in calls:
                call()  # whatever a first call on a stream sets up can't be captured
            torch.cuda.synchronize()
            pool = torch.cuda.graph_pool_handle()
            kept = [_captured(call, pool, graphs) for call in calls]
            del kept
    except Exception as error:
        graphs.clear()
        torch.cuda.synchronize()  # raises again what no later call would survive
        raise Unfit(f"capture failed: {' '.join(str(error).split())[:200] or type(error).__name__}") from None
    return graphs


def _captured(call: Call, pool: Any, graphs: list[torch.cuda.CUDAGraph]) -> object:
    """Appends the graph of one call; what the call returned."""
    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(pool=pool)
    try:
        result: object = call()
    except BaseException:
        _abandon(graph)
        raise
    graph.capture_end()
    graphs.append(graph)
    return result


def _abandon(graph: torch.cuda.CUDAGraph) -> None:
    """Ends a capture whose call failed; that this fails too says nothing new."""
    try:
        graph.capture_end()
    except RuntimeError:
        return
