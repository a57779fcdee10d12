"""Faults planted into the kernels' source: each is caught by a check that the suite makes."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fabench.kernels.factorized import backward, forward, host
from tests.kernels.interpreted.probe import faults, watched
from tests.kernels.interpreted.subjects import CASE, NAMES, errors, inputs, replace, run, truth


def planted(module: ModuleType, right: str, wrong: str, folder: Path, calls: int = 1) -> ModuleType:
    """The module with `wrong` in place of `right`. Triton reads a kernel's source from its file."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    assert source.count(right) >= calls, right
    path = folder / f"planted_{module.__name__.rsplit('.', 1)[1]}.py"
    path.write_text(source.replace(right, wrong), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def use(module: ModuleType, right: str, wrong: str) -> None:
        monkeypatch.setattr(host, "values" if module is forward else "grads", planted(module, right, wrong, tmp_path))

    yield use


def worst() -> dict[str, float]:
    given = inputs(CASE)
    return dict(zip(NAMES, errors(run(CASE, given), truth(CASE, given), given[3]), strict=True))


def in_a_larger_buffer(x: torch.Tensor) -> torch.Tensor:
    """The same tensor with zeros behind its last position: what is read there by mistake is not the memory of somebody else."""
    return torch.cat([x, torch.zeros_like(x)], 2)[:, :, : x.shape[2]]


def memory_faults() -> list[str]:
    q, k, v, grad = (in_a_larger_buffer(x) for x in inputs(replace(CASE, n=75, m=75, batch=1, heads=1)))
    with watched() as launches:
        _, kept = host.forward(q, k, v, None, 1.0, True, "ieee")
        host.backward(grad, q, k, v, None, kept, 1.0, True, "ieee")
    return [fault for seen in launches for fault in faults(seen)]


def test_without_a_fault_all_is_right(many_parts: None) -> None:
    assert max(worst().values()) < 2e-6
    assert memory_faults() == []


def test_a_missing_mask_is_seen_by_the_probe(plant: Any, many_parts: None) -> None:
    plant(forward, "count = tl.minimum(length - first, part_length)", "count = part_length")
    assert any("outside" in fault for fault in memory_faults())


def test_a_wrong_delta_is_seen_in_dk(plant: Any, many_parts: None) -> None:
    plant(backward, "(grad_weights - delta[None, :])", "grad_weights")
    found = worst()
    assert found["dk"] > 1e-3
    assert max(found["output"], found["dq"], found["dv"]) < 2e-6


def test_a_dropped_part_is_seen_in_the_output(plant: Any, many_parts: None) -> None:
    plant(forward, "here = part < parts", "here = part < parts - 1")
    assert worst()["output"] > 1e-3


def test_a_missing_rescaling_is_seen_in_the_output(plant: Any, many_parts: None) -> None:
    plant(forward, "context = context * shrink[:, None]", "context = context * 1.0")
    assert worst()["output"] > 1e-3


def test_a_reference_that_is_trusted_without_looking_is_seen_in_the_output(plant: Any) -> None:
    plant(forward, "exact = tl.min(sound.to(tl.int32), axis=0) == 0", "exact = False")
    case = replace(CASE, dtype="bfloat16")
    q, k, v, grad = inputs(case)
    k = torch.where(torch.arange(case.m)[:, None] > 90, k + 200, k)  # beyond the first tile, and beyond float32's exponential
    assert not errors(run(case, (q, k, v, grad)), truth(case, (q, k, v, grad)), grad)[0] < 1e-2


def test_a_forgotten_gradient_of_the_softmax_is_seen_in_dq(plant: Any, many_parts: None) -> None:
    plant(backward, "grad_weights - tl.sum(weights * grad_weights, axis=1)[:, None]", "grad_weights")
    assert worst()["dq"] > 1e-3


def far_apart() -> list[str]:
    """Memory faults of a forward pass whose second head lies beyond 2^31 elements; only what is used of the 4 GiB is ever touched."""
    case = replace(CASE, n=70, m=70, batch=1, heads=2, dtype="float16")
    near, k, v, _ = inputs(case)
    q = torch.empty_strided(near.shape, (2**33, 2**31 + 64, 16, 1), dtype=torch.float16).copy_(near)
    with watched() as launches:
        output, _ = host.forward(q, k, v, None, 1.0, True, "ieee")
    found = [fault for seen in launches for fault in faults(seen)]
    if not found:
        torch.testing.assert_close(output, host.forward(near, k, v, None, 1.0, True, "ieee")[0], rtol=0, atol=0)
    return found


def test_heads_beyond_32_bits_are_found() -> None:
    assert far_apart() == []


def test_an_offset_in_32_bits_is_seen_by_the_probe(plant: Any) -> None:
    plant(
        forward,
        "q_base = base_of(Q, row, heads, first, q_b, q_h, q_n, STEP)",
        "q_base = Q + ((row // heads) * q_b + (row % heads) * q_h + first * q_n) * STEP",
    )
    assert "reads outside of its tensors" in far_apart()


def test_one_address_for_two_programs_is_seen_by_the_probe(plant: Any, many_parts: None) -> None:
    plant(forward, "slot = row.to(tl.int64) * parts + part", "slot = row.to(tl.int64) * parts")
    assert any("two programs" in fault for fault in memory_faults())
