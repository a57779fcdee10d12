"""A network's first call, and its blocks against float64 on the maps that they really got in it.

Each inserted block is compared as a module of its own is (`fabench.measure.check`): its output in the network with that of the same block
around the float64 core, on the same map; sampled query rows where a map would be large. For a training step the gradients of the block's
parameters and of its map are compared as well, for a seeded gradient sent into the block alone: that of the loss reaches every row, and
float64 on every row would take the square of n. A position that a call passes twice (both views of a pair) is compared each time.

What the network itself gives must be finite (in training the gradients of all its parameters), and is compared no further: detections
follow from thresholds, from the order of scores and from the suppression of neighbours, which jump where a rounding tips them, so that
float64 would give other boxes without anything being wrong. A network without attention has nothing to compare.

On a map that is not N(0, 1) logits are larger. Their root mean square is taken from the queries and keys that the core got, and widens
the tolerance (see `fabench.measure.tolerance`).

The FLOPs are counted in this same call, because calls take seconds. So its time has torch's dispatch to the counter in it, some
microseconds for each of a few thousand operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from fabench.attention.base import Core
from fabench.devices.base import Device
from fabench.measure import check, flop
from fabench.measure.inputs import Inputs
from fabench.measure.memory import watch_first
from fabench.measure.network import NetworkSubject, Site
from fabench.measure.subject import Subject
from fabench.schema import Check, TensorError

__all__ = ["FirstPass", "first_pass"]

_ROWS = 64  # of queries, whose logits tell how large logits are


@dataclass
class _Passed:
    """What a block got and gave in one pass, and what its core got."""

    site: Site
    x: torch.Tensor
    output: torch.Tensor | None = None
    queries: torch.Tensor | None = None
    keys: torch.Tensor | None = None


@dataclass(frozen=True)
class FirstPass:
    """The first call's seconds, its FLOPs (None where they can't be counted), and the check; `reason` says what failed, None for nothing."""

    seconds: float
    flop: int | None
    check: Check
    reason: str | None


def first_pass(
    subject: NetworkSubject, device: Device, function: str | None, opaque: bool, on_phase: Callable[[str], None]
) -> FirstPass:
    """Calls the network once and checks it. `function`: what its blocks compute; `opaque`: their operators can't be counted."""
    results: list[Any] = []
    counted: list[int | None] = []
    call = subject.call()

    def once() -> None:
        if opaque:
            results.append(call())
        else:
            counted.append(flop.count(lambda: results.append(call())))

    with _watched(subject.sites) as passed:
        called = watch_first(device, once, watch=False)
    on_phase("check")
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in results.pop())
    errors: list[TensorError] = []
    seen: dict[str, int] = {}
    while passed:
        one = passed.pop(0)
        name = one.site.position.name
        seen[name] = seen.get(name, 0) + 1
        assert function is not None
        errors += _compared(subject, one, function, name if seen[name] == 1 else f"{name} again")
    reason = None
    if not finite:
        reason = f"the network's {'gradients' if subject.case.needs_gradients else 'outputs'} have NaN or Inf"
    elif not check.passes(errors):
        reason = check.describe_failure(errors)
    return FirstPass(called.seconds, counted[0] if counted else None, Check(reason is None, tuple(errors)), reason)


@contextmanager
def _watched(sites: Sequence[Site]) -> Iterator[list[_Passed]]:
    """Keeps what passes through the blocks. Nothing is copied, and nothing computed."""
    passed: list[_Passed] = []
    handles = []
    cores = [site.block.core for site in sites]

    def keeping(core: Core) -> Core:
        def kept(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
            passed[-1].queries, passed[-1].keys = q.detach(), k.detach()
            return core(q, k, v, padding)

        return kept

    for site in sites:
        site.block.core = keeping(site.block.core)
        handles += [
            site.block.register_forward_pre_hook(
                lambda block, given, site=site: passed.append(_Passed(site, given[0].detach()))
            ),
            site.block.register_forward_hook(lambda block, given, output: setattr(passed[-1], "output", output.detach())),
        ]  # fmt: skip
    try:
        yield passed
    finally:
        for handle in handles:
            handle.remove()
        for site, core in zip(sites, cores, strict=True):
            site.block.core = core


def _compared(subject: NetworkSubject, passed: _Passed, function: str, name: str) -> list[TensorError]:
    """The block's errors: its output by `name`, gradients by `name.dkeys.weight`."""
    block, seed = passed.site.block, subject.inputs.seed
    assert passed.output is not None
    with torch.no_grad():
        sigma = _size_of_logits(passed, function)
    x = passed.x.requires_grad_(subject.case.needs_gradients)
    named = dict(block.named_parameters())
    alone = Subject(
        passed.site.case, Inputs((x,), None, seed), lambda: block(x), (x, *named.values()), ("x", *named), block, block.core
    )
    rows = check.sampled_rows(alone.case, function, seed)
    gradient = check.upstream(alone, rows) if subject.case.needs_gradients else None
    gradients = () if gradient is None else check.compute(alone, gradient).tensors[1:]
    result = check.Result((passed.output, *gradients))
    found = check.compare(alone, result, gradient, function, rows, sigma)
    return [
        replace(error, name=name if error.name == "output" else f"{name}.{error.name}") for error in found.tensors
    ]  # fmt: skip


def _size_of_logits(passed: _Passed, function: str) -> float:
    """Root mean square of what is under the softmax: scaled products of some queries with all keys, or queries and keys themselves."""
    queries, keys = passed.queries, passed.keys
    assert queries is not None and keys is not None
    if function.startswith("factorized"):
        return max(_root_mean_square(queries), _root_mean_square(keys))
    step = max(1, queries.shape[2] // _ROWS)
    products = queries[:, :, ::step].double() @ keys.double().transpose(-1, -2)
    return passed.site.case.scale_value * _root_mean_square(products)


def _root_mean_square(x: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.float64)) / math.sqrt(x.numel())
