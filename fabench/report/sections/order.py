"""In which order rows come, the same in all tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from fabench.report.readings import Readings

__all__ = ["main_first"]


class _InSetting(Protocol):
    @property
    def setting(self) -> str: ...


T = TypeVar("T", bound=_InSetting)


def main_first(readings: Readings, found: Iterable[T]) -> list[T]:
    """Readings of the main setting first, all others in their order."""
    return sorted(found, key=lambda one: one.setting != readings.main)
