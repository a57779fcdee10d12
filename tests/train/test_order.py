"""The order of samples: a permutation per epoch, cut without losing or doubling any, whatever the number of processes and parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench.errors import UsageError
from fabench.train.order import batches, parts, steps_per_epoch

numbers = st.integers(1, 40)


@given(length=numbers, batch=numbers, epoch=st.integers(0, 3), drop_last=st.booleans())
def test_an_epoch_has_every_sample_once(length: int, batch: int, epoch: int, drop_last: bool) -> None:
    found = batches(length, batch, 7, epoch, drop_last=drop_last)
    flat = [number for one in found for number in one]
    assert len(flat) == len(set(flat)) == (length // batch * batch if drop_last else length)
    assert set(flat) <= set(range(length))
    assert found == batches(length, batch, 7, epoch, drop_last=drop_last)
    if flat:
        assert len(found) == steps_per_epoch(length, batch, drop_last)


@given(length=numbers, batch=numbers, done=st.integers(0, 5), drop_last=st.booleans())
def test_going_on_gives_what_was_left(length: int, batch: int, done: int, drop_last: bool) -> None:
    whole = batches(length, batch, 3, 1, drop_last=drop_last)
    seen = sum(map(len, whole[:done]))
    assert batches(length, batch, 3, 1, seen=seen, drop_last=drop_last) == whole[done:]


def test_going_on_with_another_batch_leaves_nothing_out_and_repeats_nothing() -> None:
    before, after = batches(20, 4, 0, 0)[:2], batches(20, 3, 0, 0, seen=8)
    flat = [number for one in before + after for number in one]
    assert len(flat) == len(set(flat)) == 20


def test_epochs_and_seeds_differ() -> None:
    orders = {tuple(batches(12, 12, seed, epoch)[0]) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4


@given(count=numbers, processes=st.integers(1, 5), accumulate=st.integers(1, 5))
def test_shares_and_parts_are_even_and_have_every_sample_once(count: int, processes: int, accumulate: int) -> None:
    samples = list(range(100, 100 + count))
    shares = [parts(samples, rank, processes, accumulate) for rank in range(processes)]
    assert [number for share in shares for part in share for number in part] == samples
    assert all(part for share in shares for part in share)
    assert all(len(share) <= accumulate for share in shares)
    sizes = [sum(map(len, share)) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    for share in shares:
        if share:
            assert max(map(len, share)) - min(map(len, share)) <= 1


def test_a_last_batch_with_fewer_samples_than_processes_is_left_out() -> None:
    assert [len(one) for one in batches(9, 4, 0, 0, drop_last=False, processes=1)] == [4, 4, 1]
    assert [len(one) for one in batches(9, 4, 0, 0, drop_last=False, processes=2)] == [4, 4]
    assert steps_per_epoch(9, 4, False, 2) == 2
    assert steps_per_epoch(10, 4, False, 2) == 3


def test_a_batch_that_can_not_be_filled() -> None:
    with pytest.raises(UsageError, match="the set has 3 samples and a batch takes 4; take a smaller --batch"):
        steps_per_epoch(3, 4, True)
    with pytest.raises(UsageError, match="a batch of 1 leaves some of 2 processes without a sample"):
        steps_per_epoch(3, 1, True, 2)
