"""Watches what a launch does to memory: every address that is read and written, by which program."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from triton.runtime import interpreter

from fabench.kernels.factorized import launching

Addresses = npt.NDArray[np.int64]


@dataclass
class Seen:
    """One launch: its tensors, and for each program (its index, addresses, bytes of an element)."""

    kernel: str
    programs: int
    tensors: list[torch.Tensor]
    outside: set[str] = field(default_factory=set)
    reads: list[tuple[int, Addresses, int]] = field(default_factory=list)
    writes: list[tuple[int, Addresses, int]] = field(default_factory=list)

    @property
    def read_bytes(self) -> int:
        return sum(len(addresses) * size for _, addresses, size in self.reads)

    @property
    def written_bytes(self) -> int:
        return sum(len(addresses) * size for _, addresses, size in self.writes)


def elements(x: torch.Tensor) -> Addresses:
    """The address of every element."""
    at = np.zeros(1, dtype=np.int64)
    for size, stride in zip(x.shape, x.stride(), strict=True):
        at = (at[:, None] + np.arange(size, dtype=np.int64) * stride).ravel()
    return x.data_ptr() + x.element_size() * at


def _union(parts: list[Addresses]) -> Addresses:
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)


def faults(seen: Seen) -> list[str]:
    """What a launch must not do."""
    found = [f"{what} outside of its tensors" for what in sorted(seen.outside)]
    by_program: dict[int, list[Addresses]] = {}
    for program, addresses, _ in seen.writes:
        by_program.setdefault(program, []).append(addresses)
    unique = _union([at for _, at, _ in seen.writes])
    if len(unique) != sum(len(_union(parts)) for parts in by_program.values()):
        found.append("two programs write to one address")
    if len(np.intersect1d(_union([at for _, at, _ in seen.reads]), unique, assume_unique=True)):
        found.append("reads what the launch writes")
    for x in seen.tensors:
        places = np.unique(elements(x))
        share = len(np.intersect1d(places, unique))
        if 0 < share < len(places):
            found.append(f"writes a part of a tensor only: {share} of {len(places)} elements")
    return found


@contextmanager
def watched() -> Iterator[list[Seen]]:
    """Inside, every launch is watched."""
    launches: list[Seen] = []
    builder: Any = interpreter.interpreter_builder
    kind = type(builder)
    load, store = kind.create_masked_load, kind.create_masked_store

    known: dict[int, Addresses] = {}

    def note(to: str, pointers: Any, mask: Any) -> Any:
        """The mask without what is outside: that is noted, and not done, since it would hit other memory."""
        wanted, at = mask.data.astype(bool), pointers.data.astype(np.int64)
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        places = known[size]
        inside = places[np.minimum(np.searchsorted(places, at), len(places) - 1)] == at
        if bool((wanted & ~inside).any()):
            launches[-1].outside.add(to)
        getattr(launches[-1], to).append((builder.grid_idx[0], at[wanted & inside].ravel(), size))
        return interpreter.TensorHandle(wanted & inside, mask.dtype)

    def masked_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        return load(self, pointers, note("reads", pointers, mask), *rest)

    def masked_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        return store(self, pointers, value, note("writes", pointers, mask), *rest)

    def launch(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
        tensors = [x for x in arguments if isinstance(x, torch.Tensor) and x.numel()]
        known.update({size: _union([elements(x) for x in tensors if x.element_size() == size]) for size in (1, 2, 4, 8)})
        launches.append(Seen(kernel.__name__, programs, tensors))
        kernel[(programs,)](*arguments, **options)

    kind.create_masked_load, kind.create_masked_store = masked_load, masked_store
    try:
        with launching(launch):
            yield launches
    finally:
        kind.create_masked_load, kind.create_masked_store = load, store
