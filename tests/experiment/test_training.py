"""The schedule, and that training is the loop of `fabench train`."""

import math

import pytest
import torch
from torch import nn

from fabench.experiment.digits import Classification, ImageBatch
from fabench.experiment.training import rate_at, trained


@pytest.mark.parametrize("total", [1, 2, 7, 200])
def test_the_rate_rises_over_a_tenth_and_falls_towards_zero(total: int) -> None:
    rates = [rate_at(step, total) for step in range(total)]
    top = rates.index(1.0)
    assert top <= max(1, total / 10)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)


def test_half_way_down_the_rate_is_a_half() -> None:
    assert rate_at(20, 200) == 1
    assert math.isclose(rate_at(110, 200), 0.5)
    assert rate_at(199, 200) < 1e-3


def test_every_batch_is_a_step_of_adam_at_its_rate() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()

    generator = torch.Generator().manual_seed(1)
    batches = [
        ImageBatch(
            torch.randn(5, 1, 2, 2, generator=generator, dtype=torch.float64), torch.randint(0, 3, (5,), generator=generator)
        )
        for _ in range(12)
    ]
    ours = network()
    losses = list(trained(ours, batches, 12, Classification(), 0.1))
    other = network()
    optimiser = torch.optim.Adam(other.parameters(), lr=0.1)
    for step, batch in enumerate(batches):
        optimiser.param_groups[0]["lr"] = 0.1 * rate_at(step, 12)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(other(batch.images), batch.labels)
        loss.backward()
        optimiser.step()
        assert losses[step] == pytest.approx(loss.item(), rel=1e-6)
    for one, two in zip(ours.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)
