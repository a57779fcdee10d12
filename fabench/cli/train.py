"""`fabench train`: a network on a data set on the user's disk, with checkpoints that an interrupted training goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fabench.accuracy import FORMATS
from fabench.cli._console import notes, safe
from fabench.cli._options import data_format, network_options
from fabench.codec import encode
from fabench.environment import available_bytes
from fabench.errors import ExitCode, UsageError
from fabench.recipe import PRESETS
from fabench.sweep.train import trained

__all__ = ["command"]

_SHARE = 0.8  # of the free memory that a training on a CPU may take
_RECIPE = "Recipe (each replaces the preset's value)"


def _value(text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_RECIPE)


def command(
    task: Annotated[str, typer.Argument(help=f"{' or '.join(FORMATS)}.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the data set.")],
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="sceneflow, kitti, middlebury; coco for detection.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Part of the set; without it its training part.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first so many.")] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of checkpoints and log.jsonl.")] = Path("training"),
    preset: Annotated[
        str | None, typer.Option("--preset", help="paper (without one); stereo has psmnet too, the schedule of its authors.")
    ] = None,
    epochs: Annotated[int | None, _value("Times through the set.", "--epochs")] = None,
    batch: Annotated[int | None, _value("Pairs or images of a step, over all processes.", "--batch")] = None,
    accumulate: Annotated[int | None, _value("Parts that each process takes its share of a batch in.", "--accumulate")] = None,
    optimiser: Annotated[str | None, _value("adam or sgd.", "--optimiser")] = None,
    rate: Annotated[float | None, _value("Learning rate.", "--lr")] = None,
    milestones: Annotated[
        str | None, _value("Epochs after which the rate is divided by 10, e.g. 18,21, or none.", "--milestones")
    ] = None,
    warm_up: Annotated[int | None, _value("Steps in which the rate rises from 0.", "--warm-up")] = None,
    momentum: Annotated[float | None, _value("SGD's momentum, or Adam's first beta.", "--momentum")] = None,
    weight_decay: Annotated[float | None, _value("L2 penalty.", "--weight-decay")] = None,
    clip_norm: Annotated[float | None, _value("The longest gradient.", "--clip-norm")] = None,
    precision: Annotated[str | None, _value("fp32, bf16, or fp16 (on a GPU).", "--precision")] = None,
    drop_last: Annotated[
        bool | None, _value("What becomes of an epoch's last, smaller batch.", "--drop-last/--keep-last")
    ] = None,
    crop: Annotated[str | None, _value("Height and width of stereo's crops, e.g. 256x512.", "--crop")] = None,
    flip: Annotated[float | None, _value("How often an image of detection is mirrored, 0 to 1.", "--flip")] = None,
    seed: Annotated[int | None, _value("All three seeds.", "--seed")] = None,
    order_seed: Annotated[int | None, _value("Of the data's order.", "--order-seed")] = None,
    augmentation_seed: Annotated[int | None, _value("Of crops and mirrors.", "--augmentation-seed")] = None,
    weights_seed: Annotated[int | None, _value("Of the initial weights.", "--weights-seed")] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Steps between checkpoints.")] = 1000,
    keep: Annotated[int, typer.Option("--keep", min=1, help="Checkpoints that stay.")] = 3,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="FILE|latest", help="Go on from a checkpoint, with its recipe and network.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="FILE", help="Start from weights; attention that they lack starts at random."),
    ] = None,
    board: Annotated[Path | None, typer.Option("--log", metavar="DIR", help="Curves for TensorBoard too.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1.")] = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that read data ahead of time.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE",
            help="How the network is built, e.g. where=fpn, attention.identity=true, norm=frozen, trainable_layers=3.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The end as one line of JSON on standard output.")] = False,
) -> int:  # fmt: skip
    """Train a network, with checkpoints to go on from.

    On several GPUs: torchrun --nproc-per-node=4 -m fabench train ... One step is the same whatever their number, but for batch norm.
    Ctrl-C or SIGTERM ends it after the step in hand, with a checkpoint. On a CPU the losses after --resume are those of a training
    that was never interrupted, bit for bit; on a GPU they are near.
    """
    name = data_format(task, format_name, "train")
    if resume is not None and (preset is not None or init is not None):
        raise UsageError("--resume goes on with the checkpoint's recipe and weights; leave --preset and --init out")
    if preset is not None and preset not in PRESETS[task]:
        raise UsageError(f"{task} has no preset {preset[:40]!r}; there are {', '.join(PRESETS[task])}")
    chosen = {
        "epochs": epochs, "batch": batch, "accumulate": accumulate, "optimiser": optimiser, "learning_rate": rate, "warm_up": warm_up,
        "milestones": None if milestones is None else _numbers(milestones, ",", "--milestones"), "momentum": momentum,
        "weight_decay": weight_decay, "clip_norm": clip_norm, "precision": precision, "drop_last": drop_last, "flip": flip,
        "crop": None if crop is None else _numbers(crop, "x", "--crop"), "order_seed": _first(order_seed, seed),
        "augmentation_seed": _first(augmentation_seed, seed), "weights_seed": _first(weights_seed, seed),
    }  # fmt: skip
    free = available_bytes()
    processes = int(text) if (text := os.environ.get("LOCAL_WORLD_SIZE", "1")).isdecimal() else 1
    request = {
        "task": task, "format": name, "data": str(data), "split": split, "limit": limit, "out": str(out), "every": every, "keep": keep,
        "resume": resume, "init": None if init is None else str(init), "preset": preset,
        "changes": {key: value for key, value in chosen.items() if value is not None}, "options": network_options(settings),
        "log": None if board is None else str(board), "device": device, "workers": workers,
        "memory_bytes": None if free is None else int(free * _SHARE / max(1, processes)),
    }  # fmt: skip
    found = trained(request, _tell)
    if os.environ.get("RANK", "0") == "0":
        typer.echo(encode(found) if as_json else safe(_end(found.steps, found.loss, found.checkpoint)))
    if not found.interrupted:
        return ExitCode.FINE
    notes.print("interrupted; go on with --resume latest")
    return ExitCode.INTERRUPTED


def _first(own: int | None, common: int | None) -> int | None:
    return common if own is None else own


def _numbers(text: str, separator: str, option: str) -> list[int]:
    if text == "none":
        return []
    parts = text.split(separator)
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"{option} is {text[:40]!r}, must be whole numbers with {separator!r} between them")
    return [int(part) for part in parts]


def _end(steps: int, loss: float | None, checkpoint: str | None) -> str:
    last = "" if loss is None else f", the last with the loss {loss:.4g}"
    return f"{steps} steps{last}; " + ("nothing was written" if checkpoint is None else f"checkpoint {checkpoint}")


def _tell(event: dict[str, Any]) -> None:
    """A line for what a reader may need later; the step in hand only where it can be overwritten."""
    kind = event["event"]
    if kind == "start":
        notes.print(safe(f"{event['steps_per_epoch']} steps per epoch, {event['recipe']['epochs']} epochs, on {event['device']}"))
        for note in event["notes"]:
            notes.print(safe(f"note: {note}"))
    elif kind == "saved":
        notes.print(safe(f"step {event['step']}: {event['path']}"))
    elif kind == "step" and notes.is_terminal:
        text = f"epoch {event['epoch']} step {event['step']} loss {event['loss']:.4g}"
        notes.print(text, end="\r", overflow="crop", no_wrap=True)
