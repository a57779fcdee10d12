"""Attention put into a network that exists: the block, and weights that fit with and without it.

Every inserted block sits under a name `attention` (`...layer3.attention.keys.weight`), and all else keeps its name. So a network with
attention and one without share their keys literally, and which keys are attention's can be read from the keys alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from fabench import positions
from fabench.attention.base import load
from fabench.errors import DataError, UsageError
from fabench.models.blocks import AttentionBlock
from fabench.positions import MAX_DISPARITY, Attention, Position

__all__ = ["Loaded", "block", "blocks_of", "is_attention", "load_weights", "parameters_added", "state_of"]

_SHOWN = 3


def block(
    position: Position, attention: Attention, height: int, width: int, *,
    device: str, dtype: str, max_disparity: int = MAX_DISPARITY,
) -> AttentionBlock:  # fmt: skip
    """The block for `position`, with default initialisation, on torch's default device; its core is prepared for an input of this size.

    Raises UsageError for channels that don't fit, and for an implementation that can't run on `device` in `dtype`.
    """
    asked = positions.case(position, attention, height, width, dtype=dtype, mode="fwd_bwd", max_disparity=max_disparity)
    implementation = load(attention.implementation)
    if (reason := implementation.supports(asked, device)) is not None:
        raise UsageError(f"{attention.implementation} can't run at {position.name}: {reason}")
    if implementation.facts.family == "linear" and asked.d_k == 1:
        raise UsageError(
            f"d_k = {attention.d_k} for {attention.heads} heads leaves one key channel per head, whose softmax is always 1: "
            "the queries would have no effect; take a larger d_k or fewer heads"
        )
    made = AttentionBlock(
        implementation.prepare(asked, device), position.channels, attention.d_k, attention.heads, position.channels,
        dims=len(asked.dimensions), pool=attention.pool,
    )  # fmt: skip
    if attention.identity:
        assert made.reprojection is not None
        nn.init.zeros_(made.reprojection.weight)
        assert made.reprojection.bias is not None
        nn.init.zeros_(made.reprojection.bias)
    return made


def blocks_of(network: nn.Module) -> dict[str, AttentionBlock]:
    """The inserted blocks by their place in the network."""
    return {name: module for name, module in network.named_modules() if isinstance(module, AttentionBlock)}


def parameters_added(network: nn.Module) -> int:
    """Learnt numbers of all inserted blocks."""
    return sum(parameter.numel() for module in blocks_of(network).values() for parameter in module.parameters())


def is_attention(key: str) -> bool:
    """Whether a key of a state dict belongs to an inserted block."""
    return "attention" in key.split(".")


def state_of(checkpoint: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """The weights in what a checkpoint holds: bare, or under `state_dict` or `model`; DataParallel's `module.` is taken off.

    Raises DataError where there are none.
    """
    for name in ("state_dict", "model"):
        inner = checkpoint.get(name)
        if isinstance(inner, Mapping):
            checkpoint = inner
    state = {key: value for key, value in checkpoint.items() if isinstance(value, torch.Tensor)}
    if not state or len(state) != len(checkpoint):
        raise DataError("the checkpoint holds no weights: expected tensors by name, bare or under state_dict or model")
    if all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


class Loaded(NamedTuple):
    """What was left when weights with and without attention met. `fresh`: attention of the network that the weights lack and that
    keeps its initialisation; `dropped`: attention in the weights that the network has no place for."""

    fresh: tuple[str, ...]
    dropped: tuple[str, ...]


def load_weights(network: nn.Module, state: Mapping[str, torch.Tensor], *, shared: bool = False) -> Loaded:
    """Loads `state`; every key must fit, or with `shared` every key that is not attention's.

    Raises DataError, one line with the first of the keys that don't fit; what the network then holds is undefined.
    """
    own = network.state_dict()
    for key, value in state.items():
        if key in own and own[key].shape != value.shape:
            raise DataError(f"{key} is {tuple(value.shape)} in the weights and {tuple(own[key].shape)} in the network")
    found = network.load_state_dict(state, strict=False)
    missing, unexpected = _told_apart(found.missing_keys), _told_apart(found.unexpected_keys)
    if missing.others or unexpected.others or (not shared and (missing.attention or unexpected.attention)):
        raise DataError(_complaint(missing, unexpected, shared))
    return Loaded(fresh=tuple(missing.attention), dropped=tuple(unexpected.attention))


class _Keys(NamedTuple):
    attention: list[str]
    others: list[str]


def _told_apart(keys: Sequence[str]) -> _Keys:
    return _Keys([key for key in keys if is_attention(key)], [key for key in keys if not is_attention(key)])


def _complaint(missing: _Keys, unexpected: _Keys, shared: bool) -> str:
    if not missing.others and not unexpected.others:
        parts = [
            f"{what} {_some(keys)}"
            for what, keys in (("lack", missing.attention), ("have besides", unexpected.attention))
            if keys
        ]  # fmt: skip
        return f"the attention differs: the weights {' and '.join(parts)}; insert the same blocks, or load only what is shared"
    lacking = missing.others + ([] if shared else missing.attention)
    besides = unexpected.others + ([] if shared else unexpected.attention)
    parts = [f"{what} {_some(keys)}" for what, keys in (("lack", lacking), ("have besides", besides)) if keys]
    return f"the weights belong to another network: they {' and '.join(parts)}"


def _some(keys: Sequence[str]) -> str:
    rest = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
