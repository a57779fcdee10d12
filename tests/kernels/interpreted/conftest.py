"""Every interpreted test runs with the mended interpreter, and with memory that is poisoned instead of empty."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.kernels.interpreted.mend import mended


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    with mended():
        yield


@pytest.fixture(autouse=True)
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is never written is NaN, and so is all that is made of it."""

    def poisoned(make: Any) -> Any:
        def filled(*arguments: Any, **options: Any) -> torch.Tensor:
            made: torch.Tensor = make(*arguments, **options)
            return made.fill_(torch.nan) if made.is_floating_point() and made.device.type == "cpu" else made

        return filled

    monkeypatch.setattr(torch, "empty_permuted", poisoned(torch.empty_permuted))
    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned(torch.Tensor.new_empty))


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 64 positions, so that small tensors have several."""
    monkeypatch.setattr("fabench.kernels.factorized.plan._PART", 64)
    monkeypatch.setattr("fabench.kernels.factorized.plan._TILE", 64)
