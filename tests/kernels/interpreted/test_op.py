"""What torch sees: one operator with gradients, fake tensors, a FLOP formula; types, empty shapes, and mistakes in one line."""

from typing import Any

import pytest
import torch

from fabench import cost
from fabench.attention import base
from fabench.devices.base import load
from fabench.kernels.factorized import factorized_attention
from fabench.measure import flop, subject
from fabench.measure.inputs import make as make_inputs
from fabench.measure.memory import measure_memory
from fabench.schema import Case, Measure
from tests.kernels.interpreted.subjects import CASE, inputs, replace, truth

SMALL = replace(CASE, n=5, m=7, batch=1, heads=2, d_k=3, d_v=2, dtype="float64")


@pytest.mark.parametrize("scale", [None, 0.7])
def test_gradcheck(scale: float | None) -> None:
    q, k, v = (x.requires_grad_() for x in inputs(SMALL)[:3])
    mask = torch.tensor([[False, True, False, False, False, False, True]])
    assert torch.autograd.gradcheck(
        lambda *x: factorized_attention(x[0], x[1], x[2], mask, scale=scale), (q, k, v), fast_mode=True
    )


def test_torchs_own_checks_of_an_operator() -> None:
    q, k, v = (x.requires_grad_() for x in inputs(replace(SMALL, dtype="float32"))[:3])
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.fabench.factorized_attention, (q, k, v, None, 1.0, True, "ieee"), test_utils=tests)


def test_a_compiled_graph_holds_one_operator() -> None:
    seen: list[str] = []

    def backend(graph: Any, example: Any) -> Any:
        seen.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph

    q, k, v, _ = inputs(replace(SMALL, dtype="float32"))
    compiled = torch.compile(factorized_attention, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(q, k, v), factorized_attention(q, k, v))
    assert sum("factorized_attention" in name for name in seen) == 1


def test_flops_are_those_of_the_products() -> None:
    q, k, v, grad = inputs(SMALL)
    products = 2 * 2 * (5 + 7) * 3 * 2
    assert flop.count(lambda: factorized_attention(q, k, v)) == products
    q.requires_grad_()
    assert flop.count(lambda: torch.autograd.grad(factorized_attention(q, k, v), q, grad)) == 3 * products


def test_the_harness_counts_its_operations_and_what_it_keeps() -> None:
    """So a record holds both: the operator hides neither from torch's hooks, though its first call compiles."""
    case = Case(n=24, m=40, batch=2, heads=3, d_k=8, d_v=16, mode="fwd_bwd")
    implementation = base.load("triton_factorized")
    assert implementation.facts.compiles and not implementation.facts.opaque
    measured = subject.build(case, implementation, "cpu", make_inputs(case, Measure(), torch.device("cpu")))
    counted = cost.of(case, 1, 1)
    assert flop.count(measured.call()) == counted.flop
    kept = 2 * 3 * (8 * 16 + 2 * 8) * 4  # C, m and 1/l of each head
    assert measure_memory(load("cpu"), measured, False).saved_bytes == measured.held_bytes + kept


def test_autocast_chooses_the_type() -> None:
    q, k, v, _ = inputs(replace(SMALL, dtype="float32"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = factorized_attention(q, k, v)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.double(), truth(SMALL, inputs(replace(SMALL, dtype="float32")))[0], rtol=0.03, atol=0.03)


@pytest.mark.parametrize(
    ("shape_q", "shape_k", "shape_v"),
    [
        ((0, 2, 5, 3), (0, 2, 7, 3), (0, 2, 7, 2)),
        ((1, 2, 0, 3), (1, 2, 7, 3), (1, 2, 7, 2)),
        ((1, 2, 5, 3), (1, 2, 0, 3), (1, 2, 0, 2)),
    ],
    ids=["no batch", "no queries", "no keys"],
)
def test_nothing_to_attend_to(shape_q: tuple[int, ...], shape_k: tuple[int, ...], shape_v: tuple[int, ...]) -> None:
    q, k, v = (torch.randn(shape, requires_grad=True) for shape in (shape_q, shape_k, shape_v))
    output = factorized_attention(q, k, v)
    assert output.shape == (*q.shape[:3], v.shape[3])
    assert bool((output == 0).all())
    for gradient, x in zip(torch.autograd.grad(output.sum(), (q, k, v)), (q, k, v), strict=True):
        assert gradient.shape == x.shape
        assert bool((gradient == 0).all())


def make(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((make(2, 3, 4), make(1, 2, 3, 4), make(1, 2, 3, 4)), {}, "not of 3, 4 and 4 axes"),
        ((make(1, 2, 5, 3), make(1, 2, 7, 4), make(1, 2, 7, 2)), {}, "don't fit"),
        ((make(1, 2, 5, 3), make(1, 2, 7, 3), make(1, 2, 8, 2)), {}, "don't fit"),
        ((make(1, 2, 5, 3), make(1, 2, 7, 3), make(1, 2, 7, 2, dtype=torch.float16)), {}, "differ in type"),
        ((make(1, 1, 5, 300), make(1, 1, 7, 300), make(1, 1, 7, 2)), {}, "300 channels per head are more than 256"),
        (tuple(make(1, 1, 5, 4, dtype=torch.int32) for _ in range(3)), {}, "no kernel for int32"),
        ((make(1, 1, 5, 4), make(1, 1, 5, 4), make(1, 1, 5, 4), make(1, 5)), {}, "padding must be boolean"),
        ((make(1, 1, 5, 4), make(1, 1, 5, 4), make(1, 1, 5, 4)), {"precision": "fast"}, "must be one of ieee, tf32"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments: tuple[torch.Tensor, ...], options: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        factorized_attention(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
