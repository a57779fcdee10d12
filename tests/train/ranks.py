"""`python -m tests.train.ranks FOLDER RANK`: one of two processes that train together on the CPU, over gloo.

First one step of a network without batch normalisation, whose gradients and weights are saved; then the training of FOLDER/request.json.
"""

import json
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from fabench.train import start, trainer
from fabench.train.group import Group
from fabench.train.loop import step
from tests.train.conftest import Small
from tests.train.test_loop import LOSS, Matcher, batch, cut

SIZES = (1, 2, 3)  # process 0 has one part, process 1 has two; the first counts in none of its pixels


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    network = Matcher()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    own = cut(batch(6), *SIZES)[:1] if rank == 0 else cut(batch(6), *SIZES)[1:]
    outcome = step(DistributedDataParallel(network), own, LOSS, optimiser)
    gradients = [parameter.grad for parameter in network.parameters()]
    torch.save(
        {"loss": outcome.loss, "weight": outcome.weight, "gradients": gradients, "weights": network.state_dict()},
        folder / f"{rank}.pt",
    )
    setattr(start, "built", lambda task, build, device, *, seed, dtype: Small(seed))  # noqa: B010, as monkeypatch does
    request = json.loads((folder / "request.json").read_text())
    said: list[str] = []
    done = trainer.trained(
        request, torch.device("cpu"), Group(rank, 2, rank), lambda event, **more: said.append(event), lambda: False
    )
    (folder / f"{rank}.json").write_text(
        json.dumps({"said": said, "steps": done.steps, "loss": done.loss, "checkpoint": done.checkpoint})
    )
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
