"""Packages that only some data sets and networks need, imported when they are."""

from __future__ import annotations

import importlib
from typing import Any

from fabench.errors import DataError

__all__ = ["need"]


def need(module: str, why: str) -> Any:
    """The module. Raises DataError that says how to install it where it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise DataError(f"{why} needs {error.name}; install it with pip install 'fabench[models]'") from None
