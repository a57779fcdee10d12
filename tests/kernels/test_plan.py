"""What would be launched, from shapes alone: parts, grids, traffic; and the host's code on tensors that have no memory."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fabench.kernels.factorized import TARGETS, Plan, Shape, host, launching, on_target
from fabench.kernels.factorized.plan import parts
from fabench.kernels.factorized.tilings import padded, tiling

H100 = TARGETS["sm_90"]
KERNELS = ("key_contexts", "query_contexts", "attend", "query_gradients", "key_gradients")


@given(st.integers(1, 2**33), st.integers(1, 2**20), st.integers(1, 400))
def test_parts_cover_all_positions_once(positions: int, rows: int, processors: int) -> None:
    count, length = parts(positions, rows, processors)
    assert (count - 1) * length < positions <= count * length
    assert length % 128 == 0
    assert length >= min(positions, 1024) // 2


def test_one_head_fills_a_gpu() -> None:
    count, _ = parts(2**20, 1, H100.processors)
    assert count >= 2 * H100.processors - 8


@pytest.mark.parametrize(("n", "share"), [(4096, 0.45), (16384, 0.15), (65536, 0.15), (2**20, 0.15)])
def test_least_traffic(n: int, share: float) -> None:
    """4 tensors forward and 7 backward, what parts leave behind, and contexts: nothing else is moved."""
    plan = Plan(Shape(4, 8, n, n, 64, 64, "bfloat16"), H100)
    tensor, context, channel = 32 * n * 64 * 2, 32 * 64 * 64 * 4, 32 * 64 * 4
    keys, combined, queries = plan.forward
    left = keys.written_bytes + combined.read_bytes
    assert left <= share * tensor
    contexts = combined.written_bytes + queries.read_bytes - tensor
    assert contexts == (1 + plan.query_parts[0]) * context + 2 * channel
    assert keys.read_bytes + (queries.read_bytes - contexts + combined.written_bytes) + queries.written_bytes == 4 * tensor
    queries, combined, keys = plan.backward
    left = queries.written_bytes - tensor + combined.read_bytes
    assert left <= share * tensor
    contexts = queries.read_bytes - 2 * tensor + combined.written_bytes + keys.read_bytes - 2 * tensor
    assert contexts == (plan.query_parts[0] + 1 + plan.key_parts[0]) * context + (1 + 2 * plan.key_parts[0]) * channel
    assert sum(one.read_bytes + one.written_bytes for one in plan.backward) == 7 * tensor + left + contexts


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("width", [1, 16, 40, 64, 100, 128, 200, 256])
def test_every_kernel_has_a_configuration_everywhere(target: str, dtype: str, width: int) -> None:
    for kernel in KERNELS:
        for precision in ("ieee", "tf32"):
            found = tiling(kernel, Shape(1, 1, 64, 64, width, 16, dtype, precision=precision), TARGETS[target])
            assert found.block_k <= padded(width)
            if kernel not in ("key_contexts", "query_contexts"):
                assert found.block_k == padded(width)  # a softmax over the channels needs all of them


@pytest.mark.parametrize(
    ("batch", "heads", "n", "d"), [(1, 1, 2**20, 64), (4, 8, 2**20, 128), (8192, 9, 300, 32), (1, 3, 2**27, 16), (2, 2, 100, 256)]
)
def test_the_host_needs_no_memory_and_reads_no_value(batch: int, heads: int, n: int, d: int) -> None:
    launches: list[tuple[Any, int, tuple[Any, ...], dict[str, Any]]] = []

    def record(kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
        launches.append((kernel, programs, arguments, options))

    q, k, v = (torch.empty(batch, heads, n, d, dtype=torch.bfloat16, device="meta") for _ in range(3))
    with launching(record), on_target(H100):
        output, kept = host.forward(q, k, v, None, 1.0, True, "ieee")
        gradients = host.backward(output, q, k, v, None, kept, 1.0, True, "ieee")
    assert output.shape == q.shape and [x.shape for x in gradients] == [q.shape, k.shape, v.shape]
    plan = Plan(Shape(batch, heads, n, n, d, d, "bfloat16"), H100)
    assert [programs for _, programs, _, _ in launches] == [one.programs for one in (*plan.forward, *plan.backward)]
    for _, programs, arguments, options in launches:
        assert programs < 2**31
        assert options.get("STEP", 8) == 8
        if "BLOCK_N" in options:
            assert all(isinstance(x, torch.Tensor) or abs(x) < 2**63 for x in arguments)


def test_offsets_inside_a_part_fit_into_32_bits() -> None:
    near = torch.empty(1, 1, 2**20, 64, device="meta")
    assert host.ready(near, 8192) is near
    far = torch.empty_strided((1, 1, 2**20, 64), (2**45, 2**45, 2**25, 1), device="meta")
    assert host.ready(far, 8192).stride(2) == 64
    sideways = torch.empty(1, 1, 64, 2**20, device="meta").transpose(2, 3)
    assert host.ready(sideways, 8192).stride(3) == 1


@pytest.mark.parametrize(("width", "step"), [(64, 8), (40, 8), (36, 4), (33, 1)])
def test_strides_come_in_steps_that_keep_wide_reads(width: int, step: int) -> None:
    x = torch.empty(2, 3, 100, width, device="meta")
    found, strides = host.strides(x)
    assert found == step
    assert [stride * step for stride in strides] == list(x.stride()[:3])
