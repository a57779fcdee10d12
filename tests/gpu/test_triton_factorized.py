"""The fused kernels on hardware: against float64, equal bits, and no race or stray access where compute-sanitizer is installed."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fabench.attention import reference
from fabench.measure import cell
from fabench.schema import Case, Cell, Job, Measure

pytest.importorskip("triton", reason="Triton is not installed")

from fabench.kernels.factorized import choice, factorized_attention

pytestmark = pytest.mark.gpu

CASE = Case(n=5000, m=7000, batch=2, heads=3, d_k=64, d_v=64, mode="fwd_bwd")
LIMITS = {"float32": 4e-6, "bfloat16": 1e-2, "float16": 2e-3}


def results(case: Case, precision: str = "ieee") -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """(O, dQ, dK, dV) of the kernels and of the reference."""
    generator = torch.Generator("cuda").manual_seed(0)
    heads, dtype = (case.batch, case.heads), getattr(torch, case.dtype)
    shapes = ((*heads, case.n, case.d_k), (*heads, case.m, case.d_k), (*heads, case.m, case.d_v), (*heads, case.n, case.d_v))
    q, k, v, grad = (torch.randn(shape, generator=generator, device="cuda").to(dtype) for shape in shapes)
    mask = torch.arange(case.m, device="cuda").expand(case.batch, -1) >= case.m - 100 if case.mask == "padding" else None
    leaves = [x.requires_grad_() for x in (q, k, v)]
    softmax = case.normalisation == "softmax"
    output = factorized_attention(q, k, v, mask, scale=None if softmax else case.scale_value, precision=precision)
    ours = (output.detach(), *torch.autograd.grad(output, leaves, grad))
    function = "factorized softmax attention" if softmax else "scaled product attention"
    q, k, v = (x.detach() for x in leaves)
    right = (reference.output(function, q, k, v, case, mask), *reference.gradients(function, q, k, v, grad, case, mask))
    return ours, right


def check(case: Case, limit: float, precision: str = "ieee") -> None:
    ours, right = results(case, precision)
    for name, got, wanted in zip(("output", "dq", "dk", "dv"), ours, right, strict=True):
        error = float((got.double() - wanted).norm() / wanted.norm())
        assert error <= limit, (name, error)


@pytest.mark.parametrize("mask", ["none", "padding"])
@pytest.mark.parametrize("normalisation", ["softmax", "scaling"])
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("width", [32, 64, 128, 256])
def test_numerics(dtype: str, normalisation: str, mask: str, width: int) -> None:
    check(replace(CASE, dtype=dtype, normalisation=normalisation, mask=mask, d_k=width, d_v=width), LIMITS[dtype])


@pytest.mark.parametrize("change", [{"n": 1, "m": 1}, {"d_k": 40, "d_v": 24}, {"d_k": 33, "d_v": 130}, {"m": 64}], ids=str)
def test_shapes(change: dict[str, int]) -> None:
    check(replace(CASE, **change), LIMITS["float32"])  # type: ignore[arg-type]


def test_tf32() -> None:
    check(CASE, 2e-3, "tf32")


def test_an_optimistic_softmax_that_was_wrong_starts_again() -> None:
    generator = torch.Generator("cuda").manual_seed(0)
    q, k, v = (torch.randn(1, 2, 5000, 64, generator=generator, device="cuda").bfloat16() for _ in range(3))
    k[:, :, 3000:, 5] += 200  # beyond float32's exponential, in the middle of a part
    k[:, :, :2000, 7] = -torch.inf
    right = reference.output("factorized softmax attention", q, k, v, CASE)
    got = factorized_attention(q, k, v)
    assert float((got.double() - right).norm() / right.norm()) <= LIMITS["bfloat16"]


def test_equal_calls_give_equal_bits() -> None:
    one, _ = results(replace(CASE, dtype="bfloat16"))
    other, _ = results(replace(CASE, dtype="bfloat16"))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool: str) -> None:
    if shutil.which("compute-sanitizer") is None:
        pytest.skip("compute-sanitizer is not installed; it comes with the CUDA toolkit")
    code = (
        "import torch; from fabench.kernels.factorized import factorized_attention as f;"
        "q, k, v = (torch.randn(1, 2, 3000, 64, device='cuda', requires_grad=True) for _ in range(3)); f(q, k, v).sum().backward();"
        "torch.cuda.synchronize()"
    )
    done = subprocess.run(
        ["compute-sanitizer", "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", code],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("mode", ["fwd", "fwd_bwd"])
def test_flash_linear_attention_is_right_where_it_is_installed(mode: str) -> None:
    pytest.importorskip("fla", reason="flash-linear-attention is not installed")
    case = Case(n=2048, m=2048, heads=4, dtype="bfloat16", normalisation="scaling", mode=mode)
    record = cell.run(Job(Cell("fla_chunk", "cuda", case), Measure(max_s=0.1)), lambda phase: None)
    assert record.status == "ok", record.reason


def test_tuning_keeps_a_choice_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tilings.json"
    done = subprocess.run(
        [sys.executable, "-m", "fabench", "tune", "--n", "4096", "--write", str(file)], capture_output=True, text=True, timeout=600, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv(choice.VARIABLE, str(file))
    choice.forget()
    try:
        check(replace(CASE, dtype="bfloat16", d_k=64, d_v=64), LIMITS["bfloat16"])
    finally:
        choice.forget()
