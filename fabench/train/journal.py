"""The log of a training: one line of JSON per event, always, and TensorBoard's curves where they are asked for.

{"event": "start", "step", "recipe", "build", "data", ..}, {"event": "step", "step", "epoch", "loss", "gradient", "rate", "weight"},
{"event": "saved", "step", "path"}, {"event": "end", "step", ..} or {"event": "stopped", "step", "text"}. The file is appended to. After a kill the training goes on from a checkpoint,
and the lines from its "start" on replace those of the same steps before.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from fabench.data.files import reason
from fabench.errors import DataError, UsageError

__all__ = ["LOG", "Journal"]

LOG = "log.jsonl"
_CURVES = ("loss", "gradient", "rate")


class Journal:
    """Open while a training runs. `board`: the folder of TensorBoard's files; None writes none."""

    def __init__(self, folder: Path, board: Path | None, step: int) -> None:
        """Raises DataError where the log can't be written, and UsageError where TensorBoard is missing."""
        self._path = folder / LOG
        self._board = None if board is None else _writer(board, step)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)  # a full disk shows at once, and not when the file is closed
        except OSError as error:
            raise DataError(f"can't write {self._path}: {reason(error)}") from None

    def write(self, event: str, step: int, **values: Any) -> None:
        """One line, at once in the file. Raises DataError."""
        line = json.dumps({"event": event, "step": step, **values}, allow_nan=False)
        try:
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise DataError(f"can't write {self._path}: {reason(error)}") from None
        if self._board is not None and event == "step":
            for name in _CURVES:
                if values[name] is not None:
                    self._board.add_scalar(name, values[name], step)

    def close(self) -> None:
        """After the last line."""
        if self._board is not None:
            self._board.close()
        self._file.close()


def _writer(folder: Path, step: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensorboard's own imports
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(f"--log writes for TensorBoard, which is missing ({error}): pip install 'fabench[models]'") from None
    try:
        # What an earlier, killed run wrote beyond this step is hidden.
        return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
    except OSError as error:
        raise DataError(f"can't write {folder}: {reason(error)}") from None
