"""The contract of an implementation: one file in this folder, found by its file name.

Each file states, as literals (the parent reads them without importing torch, see `fabench.catalogue`):

    TIME_ORDER, MEMORY_ORDER    the powers of n its core costs: 1 or 2
    COMPUTES                    {normalisation: name of the function}; equal names mean equal results
    COMPILES                    optional, True where the first call builds code (timed apart)
    OPAQUE                      optional, True where torch's hooks don't see its operators and what it saves
    SYNCHRONISES                optional, True where the call waits for the device inside, so that calls can't be queued before they run

and defines

    supports(case, device) -> str | None     why it can't run, or None
    prepare(case, device) -> Core            builds what a call needs; nothing that belongs into the timed call
    configuration(case, device)              optional: what it chose among several ways to run the case, in words, for the record

A `Core` is called as core(q, k, v, padding) -> [B, H, N, D_v], with Q [B, H, N, D_k], K [B, H, M, D_k], V [B, H, M, D_v] and
padding [B, M] boolean, True where a key is padding (it takes no part), or None. It must be differentiable in q, k and v.
Where all keys of a batch element are padding, its output is 0.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

import torch

from fabench.catalogue import Facts, implementations
from fabench.errors import UsageError
from fabench.schema import Case

__all__ = ["Core", "Implementation", "load"]

Core: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, "torch.Tensor | None"], torch.Tensor]


@dataclass(frozen=True)
class Implementation:
    """A discovered implementation: its declared facts and its code."""

    facts: Facts
    module: ModuleType

    def supports(self, case: Case, device: str) -> str | None:
        """Why this implementation can't run `case` on `device`, or None if it can."""
        if case.normalisation not in self.facts.computes:
            return f"{self.facts.name} has no {case.normalisation} form"
        reason: str | None = self.module.supports(case, device)
        return reason

    def prepare(self, case: Case, device: str) -> Core:
        """The callable that is checked, timed and measured."""
        core: Core = self.module.prepare(case, device)
        return core

    def configuration(self, case: Case, device: str) -> dict[str, str] | None:
        """What the implementation chose among several ways to run `case`; None where it has no choice."""
        ask = getattr(self.module, "configuration", None)
        found: dict[str, str] | None = None if ask is None else ask(case, device)
        return found


def load(name: str) -> Implementation:
    """The implementation in the file `name`.py. Raises UsageError for a name that no file has."""
    known = implementations()
    if name not in known:
        raise UsageError(f"no implementation {name[:40]!r}; there are {', '.join(known)}")
    return Implementation(known[name], importlib.import_module(f"fabench.attention.{name}"))
