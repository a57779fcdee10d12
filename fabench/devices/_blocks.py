"""Which blocks of memory a call took, and when each existed: the profiler's allocations and releases, replayed in their order.

Addresses are used again, so a block is an address between its allocation and its release. `point_out` puts a mark between these
events while the call runs, which tells what the block at an address is at that moment. A mark is a range of torch's profiler: it
takes no memory, and costs some microseconds under the profiler and hardly less without.

A release of a block that the call did not take says nothing of the call, and is passed over. (The profiler reports one where an
earlier trace saw that address taken and nobody saw it released.) Blocks of no bytes are never reported. What threads without the
profiler's state take (those of OpenMP loops) is not reported either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch._C._profiler import _EventType

from fabench.devices.base import Block, Peak

__all__ = ["Change", "Mark", "point_out", "replay", "trace"]

_PREFIX = "fabench block"


class Change(NamedTuple):
    """An allocation (`change_bytes` positive) or a release, and the allocator's total after it."""

    time_ns: int
    address: int
    change_bytes: int
    total_bytes: int


class Mark(NamedTuple):
    """What was said at a moment: the block at `address` is `name`, of `size_bytes`. Address None: all blocks that exist then."""

    time_ns: int
    name: str
    address: int | None
    size_bytes: int


def point_out(name: str, storage: torch.UntypedStorage | None = None) -> None:
    """Says, to a trace that may be running, that the block of `storage` is `name`; without one, all blocks that exist now are."""
    where = "all 0" if storage is None else f"{storage.data_ptr()} {storage.nbytes()}"
    with torch.profiler.record_function(f"{_PREFIX} {where} {name}"):
        pass


def trace(call: Callable[[], Any]) -> Peak:
    """Runs `call` once under the profiler; the peak of what it took."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = call()
    del result
    results = profile.profiler.kineto_results if profile.profiler is not None else None
    if results is None:
        raise RuntimeError("torch's profiler returned no results")
    return replay(*_read(results.experimental_event_tree()))


def _read(tree: Sequence[Any]) -> tuple[list[Change], list[Mark]]:
    changes, marks, left = [], [], list(tree)
    while left:
        event = left.pop()
        left.extend(event.children)
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            if fields.device.type == "cpu":
                changes.append(Change(event.start_time_ns, fields.ptr, fields.alloc_size, fields.total_allocated))
        elif event.tag == _EventType.TorchOp and event.name.startswith(_PREFIX):
            address, size, name = event.name.removeprefix(_PREFIX).split(maxsplit=2)
            marks.append(Mark(event.start_time_ns, name, None if address == "all" else int(address), int(size)))
    return changes, marks


@dataclass(slots=True, eq=False)
class _Life:
    """A block from its allocation to its release, both as positions among the changes."""

    address: int
    size_bytes: int
    taken: int
    released: int | None = None
    names: list[tuple[str, int]] = field(default_factory=list)

    @property
    def block(self) -> Block:
        return Block(self.address, self.size_bytes, tuple(dict.fromkeys(self.names)))


def replay(changes: Sequence[Change], marks: Sequence[Mark]) -> Peak:
    """The highest sum of blocks that existed at once, those blocks, and those that were never released."""
    lives: list[_Life] = []
    now: dict[int, _Life] = {}
    running = highest = at = 0
    for position, event in enumerate(_in_order(changes, marks)):
        if isinstance(event, Mark):
            _name(now, event)
            continue
        # Also where an allocation finds its address taken: then nobody saw the release.
        gone = now.pop(event.address, None)
        if gone is not None:
            gone.released, running = position, running - gone.size_bytes
        if event.change_bytes > 0:
            now[event.address] = _Life(event.address, event.change_bytes, position)
            lives.append(now[event.address])
            running += event.change_bytes
        if running > highest:
            highest, at = running, position
    live = [life for life in lives if life.taken <= at and (life.released is None or life.released > at)]
    return Peak(
        delta_bytes=highest,
        live=tuple(life.block for life in live),
        left=tuple(life.block for life in lives if life.released is None),
    )


def _name(now: dict[int, _Life], mark: Mark) -> None:
    if mark.address is None:
        for life in now.values():
            life.names.append((mark.name, life.size_bytes))
    elif mark.address in now:
        now[mark.address].names.append((mark.name, mark.size_bytes))


def _in_order(changes: Sequence[Change], marks: Sequence[Mark]) -> Iterator[Change | Mark]:
    """By time; where a coarse clock gives changes one time, so that each total follows from the one before."""
    waiting = sorted(marks, key=itemgetter(0))[::-1]
    for change in _untied(sorted(changes, key=itemgetter(0))):
        while waiting and waiting[-1].time_ns < change.time_ns:
            yield waiting.pop()
        yield change
    yield from waiting[::-1]


def _untied(changes: Sequence[Change]) -> Iterator[Change]:
    """Changes in order of time, those of one time chained by their totals."""
    total: int | None = None
    for _, together in groupby(changes, key=itemgetter(0)):
        tied = list(together)
        while tied:
            following = (one for one in tied if one.total_bytes - one.change_bytes == total)
            first = next(following, tied[0])
            tied.remove(first)
            total = first.total_bytes
            yield first
