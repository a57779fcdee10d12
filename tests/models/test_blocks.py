"""The blocks: the official module's weights and output, exact costs, layouts, and channels that can't be divided."""

from typing import Any

import pytest
import torch
from torch import nn

from fabench import cost
from fabench.attention import base
from fabench.devices.base import load
from fabench.measure import flop, inputs, memory, subject
from fabench.models.blocks import AttentionBlock, DotProductAttention, FactorizedAttention, from_case
from fabench.schema import Case, Measure


class Transcribed(nn.Module):
    """The official module as the facts on it describe it: softmax form, a loop over heads, reprojection and residual."""

    def __init__(self, in_channels: int, key_channels: int, head_count: int, value_channels: int) -> None:
        super().__init__()
        self.keys = nn.Conv2d(in_channels, key_channels, 1)
        self.queries = nn.Conv2d(in_channels, key_channels, 1)
        self.values = nn.Conv2d(in_channels, value_channels, 1)
        self.reprojection = nn.Conv2d(value_channels, in_channels, 1)
        self.head_count = head_count

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        attended = []
        for key, query, value in zip(
            *(part(x).flatten(2).chunk(self.head_count, 1) for part in (self.keys, self.queries, self.values)), strict=True
        ):
            context = key.softmax(2) @ value.transpose(1, 2)
            attended.append(context.transpose(1, 2) @ query.softmax(1))
        out: torch.Tensor = self.reprojection(torch.cat(attended, 1).reshape(n, -1, h, w)) + x
        return out


@pytest.mark.parametrize(("channels", "keys", "heads", "values"), [(16, 8, 1, 16), (32, 32, 4, 64), (12, 6, 3, 9)])
def test_the_official_state_dict_gives_the_official_output(channels: int, keys: int, heads: int, values: int) -> None:
    official = Transcribed(channels, keys, heads, values)
    ours = FactorizedAttention(channels, keys, heads, values)
    assert ours.load_state_dict(official.state_dict()).missing_keys == []
    x = torch.randn(2, channels, 7, 5)
    torch.testing.assert_close(ours(x), official(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((16, 10, 4, 16), "key_channels 10 is not divisible by 4 heads: 2 channels would be lost"),
        ((16, 8, 4, 18), "value_channels 18 is not divisible by 4 heads"),
        ((16, 4, 4, 16), "one channel per head, whose softmax is always 1"),
        ((16, 0, 1, 16), "must be at least 1"),
    ],
)
def test_bad_channels_are_an_error_that_says_so(arguments: tuple[int, int, int, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FactorizedAttention(*arguments)


def test_a_residual_needs_matching_channels() -> None:
    with pytest.raises(ValueError, match="a residual without reprojection needs"):
        FactorizedAttention(16, 8, 2, 32, reprojection=False)
    with pytest.raises(ValueError, match="dims is 4"):
        DotProductAttention(16, 8, 2, 32, dims=4)


@pytest.mark.parametrize("kind", [FactorizedAttention, DotProductAttention])
def test_layouts_agree(kind: Any) -> None:
    torch.manual_seed(0)
    image = kind(8, 4, 2, 6)
    x = torch.randn(2, 8, 4, 6)
    sequence, volume = kind(8, 4, 2, 6, dims=1), kind(8, 4, 2, 6, dims=3)
    sequence.load_state_dict({name: value.flatten(1) if value.dim() > 1 else value for name, value in image.state_dict().items()})
    volume.load_state_dict({name: value[..., None] if value.dim() > 1 else value for name, value in image.state_dict().items()})
    expected = image(x)
    torch.testing.assert_close(sequence(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape), expected)
    torch.testing.assert_close(volume(x[:, :, None]).squeeze(2), expected)


def test_padding_of_a_sequence() -> None:
    block = FactorizedAttention(8, 4, 2, 6, dims=1)
    x = torch.randn(1, 10, 8)
    mask = torch.arange(10)[None] >= 7
    torch.testing.assert_close(block(x, mask)[:, :7], block(x[:, :7])[:, :7])


def test_padding_does_not_go_with_pooled_keys() -> None:
    block = DotProductAttention(8, 4, 1, 8, dims=1, pool=2)
    with pytest.raises(ValueError, match=r"pool=2 merges them into keys; take pool=1"):
        block(torch.randn(1, 10, 8), torch.arange(10)[None] >= 7)


def test_one_channel_per_head_is_only_dead_in_a_softmax() -> None:
    core = base.load("factorized").prepare(Case(n=6, m=6, d_k=1, normalisation="scaling"), "cpu")
    block, x = FactorizedAttention(8, 4, 4, 8, dims=1, core=core), torch.randn(1, 6, 8)
    queries = block.queries.weight
    (gradient,) = torch.autograd.grad(block(x).square().sum(), (queries,))
    assert float(gradient.abs().min()) > 0


def test_pooling_quarters_the_keys() -> None:
    seen: list[tuple[int, ...]] = []

    def core(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
        seen.extend(tuple(x.shape) for x in (q, k, v))
        return q.new_zeros(*q.shape[:3], v.shape[3])

    AttentionBlock(core, 8, 4, 2, 6, pool=2)(torch.randn(1, 8, 8, 6))
    assert seen == [(1, 2, 48, 2), (1, 2, 12, 2), (1, 2, 12, 3)]
    pooled, whole = DotProductAttention(8, 4, 1, 8, pool=2), DotProductAttention(8, 4, 1, 8)
    pooled.load_state_dict(whole.state_dict())
    flat = torch.randn(1, 8, 1, 1).expand(1, 8, 4, 4)  # where all positions are equal, pooling changes nothing
    torch.testing.assert_close(pooled(flat), whole(flat))


MODULES = [
    # n, C, d_k, d_v (over all heads), heads
    (64, 64, 32, 64, 1),
    (256, 16, 8, 24, 4),
    (100, 12, 12, 6, 3),
]


@pytest.mark.parametrize(("n", "channels", "d_k", "d_v", "heads"), MODULES)
def test_flops_and_saved_bytes_to_the_digit(n: int, channels: int, d_k: int, d_v: int, heads: int) -> None:
    case = Case(
        n=n, m=n, heads=heads, d_k=d_k // heads, d_v=d_v // heads, mode="fwd_bwd", scope="module", channels=channels,
        reprojection=True, residual=False, pool=1, space=f"{n}x1",
    )  # fmt: skip
    weights = channels * (2 * d_k + 2 * d_v)
    projections = n * channels * (2 * d_k + 2 * d_v)
    for name, order in (("factorized_plain", 1), ("dot_product", 2)):
        given = inputs.make(case, Measure(), torch.device("cpu"))
        measured = subject.build(case, base.load(name), "cpu", given)
        core_mac = 2 * n * d_k * d_v // heads if order == 1 else n * n * (d_k + d_v)
        inner = d_k * d_v // heads if order == 1 else heads * n * n
        with torch.no_grad():
            assert flop.count(measured.forward) == 2 * (projections + core_mac)
        saved = memory.measure_memory(load("cpu"), measured, False).saved_bytes
        assert saved == 4 * ((channels + 2 * d_k + 2 * d_v) * n + inner) + 4 * weights
        assert saved == cost.of(case, order, order).saved_bytes


def test_the_parameters_of_a_level_of_the_paper() -> None:
    # One FPN level of 256 channels, d_k = 64: 164,480 parameters; res3 with 1024 channels: 2,230,400 (section 3).
    assert sum(p.numel() for p in FactorizedAttention(256, 64, 1, 256).parameters()) == 164_480
    assert sum(p.numel() for p in FactorizedAttention(1024, 64, 1, 1024).parameters()) == 2_230_400


def test_blocks_from_cases() -> None:
    case = Case(
        n=24,
        m=24,
        heads=2,
        d_k=3,
        d_v=4,
        scope="module",
        space="4x6",
        channels=10,
        reprojection=True,
        residual=True,
        pool=1,
        dtype="float64",
    )
    block = from_case(case, base.load("factorized").prepare(case, "cpu"), load("cpu").torch_device)
    assert block(torch.randn(1, 10, 4, 6, dtype=torch.float64)).shape == (1, 10, 4, 6)
