"""In which order rows come, and how a table is made of them; the same in all sections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from fabench.report.blocks import Column, Table, Value
from fabench.report.readings import Readings

__all__ = ["main_first", "tabulate"]


class _InSetting(Protocol):
    @property
    def setting(self) -> str: ...


T = TypeVar("T", bound=_InSetting)


def main_first(readings: Readings, found: Iterable[T]) -> list[T]:
    """Readings of the main setting first, all others in their order."""
    return sorted(found, key=lambda one: one.setting != readings.main)


def tabulate(
    key: str, title: str, columns: Sequence[Column], rows: Sequence[tuple[Value, ...]], note: str = "", place: int = 1
) -> Table:
    """A filterable table whose last column, the setting, moves to `place`; where it says the same in all rows, it is said in the note."""
    last = {row[-1] for row in rows}
    if len(rows) > 1 and len(last) == 1:
        note = " ".join(part for part in (note, f"All rows: {last.pop()}.") if part)
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    else:
        columns = [*columns[:place], columns[-1], *columns[place:-1]]
        rows = [(*row[:place], row[-1], *row[place:-1]) for row in rows]
    return Table(key, title, tuple(columns), rows, note, filterable=True)
