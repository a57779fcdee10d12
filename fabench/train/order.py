"""Which samples a step sees: an order per epoch from its seed, cut into batches, and each process's share of a batch in parts.

Nothing here has a state. An epoch's order follows from the seed and the epoch's number, and the place in it is how many of its samples are
done. So a training that goes on sees what an uninterrupted one would have seen, even with another number of processes. No sample is given
twice to make shares even, as torch's DistributedSampler does: shares differ by one sample at most, and the loss counts what is in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from fabench.errors import UsageError

__all__ = ["batches", "parts", "steps_per_epoch"]


def steps_per_epoch(length: int, batch: int, drop_last: bool, processes: int = 1) -> int:
    """How many batches a whole epoch has. Raises UsageError where there is none, or a process would have nothing to do."""
    if batch < processes:
        raise UsageError(f"a batch of {batch} leaves some of {processes} processes without a sample; take a larger --batch")
    whole, rest = divmod(length, batch)
    count = whole + (not drop_last and rest >= processes)
    if count == 0:
        raise UsageError(f"the set has {length} samples and a batch takes {batch}; take a smaller --batch")
    return count


def batches(
    length: int, batch: int, seed: int, epoch: int, *, seen: int = 0, drop_last: bool = True, processes: int = 1
) -> list[list[int]]:
    """The batches of an epoch that are left after its first `seen` samples.

    The last, smaller one is left out with `drop_last`, and where it has fewer samples than there are processes.
    """
    order = np.random.default_rng([seed, epoch]).permutation(length).tolist()[seen:]
    cut = [order[start : start + batch] for start in range(0, len(order), batch)]
    least = batch if drop_last else processes
    return [one for one in cut if len(one) >= least]


def parts(samples: Sequence[int], rank: int, processes: int, accumulate: int) -> list[list[int]]:
    """The share of process `rank`, in at most `accumulate` parts that are as even as can be and none of which is empty."""
    share = _even(samples, processes)[rank]
    return [part for part in _even(share, accumulate) if part]


def _even(samples: Sequence[int], count: int) -> list[list[int]]:
    ends = [len(samples) * number // count for number in range(count + 1)]
    return [list(samples[start:end]) for start, end in itertools.pairwise(ends)]
