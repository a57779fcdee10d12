"""A training from its start, or from a checkpoint, to its end, a signal, or a loss that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fabench.errors import TrainingError, UsageError
from fabench.recipe import Recipe, Trained
from fabench.train import order, state
from fabench.train.group import Group
from fabench.train.journal import Journal
from fabench.train.loop import Outcome, step
from fabench.train.samples import loaded, moved
from fabench.train.start import Start, started
from fabench.train.state import Place

__all__ = ["trained"]

Say = Callable[..., None]


def trained(request: Mapping[str, Any], device: torch.device, group: Group, say: Say, stopped: Callable[[], bool]) -> Trained:
    """Trains as the request says. `say` gets events (see `fabench.train.server`), `stopped` whether to end after the step in hand.

    Raises FabenchError for whatever the user can mend; every checkpoint written before stands.
    """
    out = Path(request["out"])
    if request["resume"] is None and state.found_in(out):
        raise UsageError(
            f"{out} holds the checkpoints of a training; go on with it by --resume latest, or name another folder with --out"
        )
    start = started(request, device)
    each = order.steps_per_epoch(len(start.samples), start.recipe.batch, start.recipe.drop_last, group.size)
    journal = None
    if group.writes:
        state.clear(out)
        journal = Journal(out, None if request["log"] is None else Path(request["log"]), start.place.step)
    try:
        facts = {
            "recipe": asdict(start.recipe), "build": start.build, "data": start.data, "notes": start.notes, "processes": group.size,
            "device": str(device), "torch": torch.__version__, "steps_per_epoch": each, "place": asdict(start.place),
        }  # fmt: skip
        _tell(journal, say, "start", start.place.step, **facts)
        return _Training(start, request, device, group, journal, say).run(stopped)
    finally:
        if journal is not None:
            journal.close()


def _tell(journal: Journal | None, say: Say, event: str, step_number: int, **values: Any) -> None:
    if journal is not None:
        journal.write(event, step_number, **values)
        say(event=event, step=step_number, **values)


class _Training:
    """The steps of one process. Only the group's first one writes."""

    def __init__(
        self, start: Start, request: Mapping[str, Any], device: torch.device, group: Group, journal: Journal | None, say: Say
    ) -> None:
        self.start, self.device, self.group, self.journal, self.say = start, device, group, journal, say
        self.out, self.every, self.keep, self.workers = (
            Path(request["out"]),
            request["every"],
            request["keep"],
            request["workers"],
        )
        self.place = start.place
        self.saved: Path | None = start.checkpoint
        self.loss: float | None = None
        self.network: nn.Module = start.network
        if group.size > 1:
            places = [device] if device.type == "cuda" else None
            self.network = DistributedDataParallel(start.network, device_ids=places)

    def run(self, stopped: Callable[[], bool]) -> Trained:
        recipe = self.start.recipe
        self.network.train()
        interrupted = self.group.any(stopped(), self.device)
        while self.place.epoch < recipe.epochs and not interrupted:
            interrupted = self._epoch(recipe, stopped)
            if not interrupted:
                self.place = Place(self.place.epoch + 1, 0, self.place.step)
        done = self.place.step > self.start.place.step
        if done and (self.saved is None or self.saved.name != state.name_of(self.place)):
            self._save()
        finished = Trained(
            self.start.task,
            self.place.step,
            self.place.epoch,
            self.loss,
            None if self.saved is None else str(self.saved),
            interrupted,
        )
        _tell(self.journal, self.say, "end", self.place.step, **asdict(finished))
        return finished

    def _epoch(self, recipe: Recipe, stopped: Callable[[], bool]) -> bool:
        """The steps that are left of an epoch. Whether a signal ended them."""
        left = order.batches(
            len(self.start.samples), recipe.batch, recipe.order_seed, self.place.epoch, seen=self.place.seen,
            drop_last=recipe.drop_last, processes=self.group.size,
        )  # fmt: skip
        shares = [order.parts(batch, self.group.rank, self.group.size, recipe.accumulate) for batch in left]
        for batch, parts in zip(left, loaded(self.start.samples, self.place.epoch, shares, self.workers), strict=True):
            self._step(recipe, moved(parts, self.device))
            self.place = Place(self.place.epoch, self.place.seen + len(batch), self.place.step + 1)
            if self.group.any(stopped(), self.device):
                return True
            if self.place.step % self.every == 0:
                self._save()
        return False

    def _step(self, recipe: Recipe, parts: list[Any]) -> None:
        place, start = self.place, self.start
        rate = recipe.rate(place.epoch, place.step)
        for group in start.optimiser.param_groups:
            group["lr"] = rate
        state.seed_step(recipe.weights_seed, place.step, self.group.rank)
        try:
            outcome: Outcome = step(
                self.network, parts, start.objective, start.optimiser,
                precision=recipe.precision, scaler=start.scaler, clip_norm=recipe.clip_norm,
            )  # fmt: skip
        except TrainingError as error:
            kept = f"the last good checkpoint is {self.saved}" if self.saved is not None else "there was no checkpoint yet"
            text = f"{error} at step {place.step + 1} (epoch {place.epoch + 1}): stopped before the weights changed; {kept}"
            _tell(self.journal, self.say, "stopped", place.step, text=text)
            raise TrainingError(text) from None
        self.loss = outcome.loss
        _tell(self.journal, self.say, "step", place.step + 1, epoch=place.epoch + 1, rate=rate, **asdict(outcome))

    def _save(self) -> None:
        start = self.start
        if not self.group.writes:
            self.saved = self.out / state.name_of(self.place)  # by the first process
        else:
            self.saved = state.store(
                self.out, self.keep, start.task, start.build, start.network, start.optimiser, start.scaler, start.recipe, start.data,
                self.place,
            )  # fmt: skip
            _tell(self.journal, self.say, "saved", self.place.step, path=str(self.saved))
