"""The processes of one training: those that torchrun started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from fabench.errors import UsageError

__all__ = ["ALONE", "Group", "group_of", "joined"]


@dataclass(frozen=True, slots=True)
class Group:
    """How many processes train together, which of them this is, and which on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes checkpoints and the log."""
        return self.rank == 0

    def device_word(self, word: str) -> str:
        """A GPU for each process of a machine, where `word` names none by number."""
        if self.size == 1 or word not in ("auto", "cuda"):
            return word
        return f"cuda:{self.local_rank}" if word == "cuda" or torch.cuda.is_available() else "cpu"

    def any(self, said: bool, device: torch.device) -> bool:
        """Whether one of the processes says so; the same answer on all."""
        if self.size == 1:
            return said
        flag = torch.tensor(int(said), device=device)
        distributed.all_reduce(flag, op=distributed.ReduceOp.MAX)
        return bool(flag.item())


ALONE = Group()


def group_of(environment: Mapping[str, str] = os.environ) -> Group:
    """What torchrun's RANK, WORLD_SIZE and LOCAL_RANK say. Raises UsageError where they contradict each other."""
    try:
        size = int(environment.get("WORLD_SIZE", "1"))
        rank = int(environment.get("RANK", "0"))
        local = int(environment.get("LOCAL_RANK", str(rank)))
    except ValueError as error:
        raise UsageError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers, as torchrun sets them: {error}") from None
    if not (0 <= rank < size and local >= 0):
        raise UsageError(f"RANK={rank} and WORLD_SIZE={size} don't fit; start the processes with torchrun")
    return Group(rank, size, local)


@contextmanager
def joined(group: Group, device: torch.device) -> Iterator[None]:
    """Within it the group's processes can talk to each other: over NCCL between GPUs, over gloo otherwise."""
    if group.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", rank=group.rank, world_size=group.size)
    try:
        yield
    finally:
        distributed.destroy_process_group()
