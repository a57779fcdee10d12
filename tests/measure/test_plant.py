"""Planted work is real, and as much as was asked for by the clocks that it was fitted with."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fabench.devices.base import Batch, Stopwatch, Work, load
from fabench.measure.plant import planted


class Copies(TorchDispatchMode):
    """Counts the copies that run inside."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten.copy_.default
        return func(*args, **(kwargs or {}))


class Known(Stopwatch):
    """Every copy takes a microsecond, every other call a millisecond."""

    def __init__(self, work: Work) -> None:
        with Copies() as copies:  # type: ignore[no-untyped-call]
            work.call()
        self.seconds = 1e-6 * copies.count or 1e-3

    def take(self, loops: int, count: int) -> Batch:
        return Batch((self.seconds,) * count)


def copies_of(call: Any) -> int:
    with Copies() as copies:  # type: ignore[no-untyped-call]
        assert call() == "result"
    return int(copies.count)


@pytest.mark.parametrize(("share", "copies"), [(0.02, 20), (0.1, 100), (1e-9, 1)])
def test_work_is_copies_that_take_their_share(share: float, copies: int) -> None:
    slower = planted(load("cpu"), Work(lambda: "result", another=lambda: lambda: "result"), share, Known)
    assert copies_of(slower.call) == copies
    assert slower.another is not None
    assert copies_of(slower.another()) == copies, "a call on other tensors is slower too"
