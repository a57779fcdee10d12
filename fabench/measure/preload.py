"""Everything a cell imports, imported once in the fork server. Nothing here may compute: a thread pool does not survive a fork."""

from __future__ import annotations

import importlib
import platform
from pathlib import Path
from typing import Any

import torch

__all__ = ["facts"]

for _module in ("torch._dynamo", "torch.profiler", "torch.utils.flop_counter", "fabench.measure.cell", "fabench.devices.cpu"):
    importlib.import_module(_module)


def facts() -> dict[str, Any]:
    """What the parent wants to know of the measuring side's interpreter and torch."""
    settings = (line.strip("- ").strip() for line in torch.__config__.show().splitlines())
    return {
        "package": str(Path(__file__).resolve().parents[1]),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "git": torch.version.git_version,
        "blas": next((line[:60] for line in settings if "BLAS" in line or "MKL" in line), None),
    }
