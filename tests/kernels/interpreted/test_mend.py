"""The interpreter's bfloat16 needs its mend: unmended it is wrong, and says nothing."""

import numpy as np
import pytest
import torch

from tests.kernels.interpreted.mend import rounded, widened
from tests.kernels.interpreted.subjects import CASE, Tensors, errors, inputs, replace, run, truth

CASE16 = replace(CASE, dtype="bfloat16", batch=1, heads=1)


def worst(given: Tensors) -> float:
    return max(errors(run(CASE16, given), truth(CASE16, given), given[3]))


def test_mended_it_is_right() -> None:
    assert worst(inputs(CASE16)) < 8e-3


@pytest.fixture
def unmended(interpreter: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime import interpreter as triton_interpreter

    builder = triton_interpreter.InterpreterBuilder
    fresh = {
        "create_dot": lambda self, a, b, d, *rest: triton_interpreter.TensorHandle(
            np.matmul(a.data, b.data, dtype=d.data.dtype) + d.data, d.dtype.scalar
        )
    }
    for name, function in fresh.items():
        monkeypatch.setattr(builder, name, function)


def test_unmended_products_are_wrong(unmended: None) -> None:
    assert not worst(inputs(CASE16)) < 0.5


def test_rounding_is_torchs() -> None:
    x = torch.cat([torch.randn(5000), torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 1e-40, 3.0, 1.00390625, 1.01171875])])
    ours = torch.from_numpy(widened(rounded(x.numpy())))
    assert torch.equal(ours, x.bfloat16().float())
    assert bool(torch.from_numpy(widened(rounded(np.array([np.nan], dtype=np.float32)))).isnan().all())
