"""What a suite is once it is read: the cells it asks for, how to measure them, what to skip and what to expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fabench.errors import SuiteError
from fabench.schema import Cell, Measure
from fabench.suite.expression import Expression

__all__ = ["Budget", "Expected", "Planned", "Skipped", "Suite"]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a cell and the whole run may take; None is unbounded. `memory_bytes` bounds a CPU cell's address space."""

    memory_bytes: int | None = None
    cell_s: float = 60.0
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A cell of the plan; `skip` says why it is not to be run."""

    cell: Cell
    skip: str | None = None


class Skipped(NamedTuple):
    """A [[skip]]: cells that are recorded, with this reason, but not run."""

    when: Expression
    reason: str


class Expected(NamedTuple):
    """An [[expect]]: a status that is no failure of the sweep. No `when` means every cell."""

    status: str
    when: Expression | None
    reason: str


@dataclass(frozen=True)
class Suite:
    """A question in full. `cells` are as asked, "auto" devices included; `plan` says what will run."""

    name: str
    title: str
    description: str
    text: bytes
    sha: str
    overrides: Mapping[str, str]
    where: str | None
    measure: Measure
    budget: Budget
    cells: tuple[Cell, ...]
    skips: tuple[Skipped, ...] = ()
    expectations: tuple[Expected, ...] = ()
    _filter: Expression | None = field(default=None, repr=False)

    @property
    def devices(self) -> set[str]:
        """The names of the devices asked for, "auto" included."""
        return {cell.device for cell in self.cells}

    @property
    def asked(self) -> tuple[str, ...]:
        """What was asked for beside the text, as it is stored: overrides and filter, `key=value`; `document.asked_again` reads it back."""
        return (
            *(f"{key}={value}" for key, value in self.overrides.items()),
            *([f"where={self.where}"] if self.where is not None else []),
        )

    def plan(self, auto_device: str) -> list[Planned]:
        """The cells in the order in which they run, with `auto_device` for "auto". Raises SuiteError where the filter keeps none."""
        asked = (replace(cell, device=auto_device) if cell.device == "auto" else cell for cell in self.cells)
        kept = [cell for cell in dict.fromkeys(asked) if self._filter is None or self._filter.matches(cell)]
        if not kept:
            raise SuiteError(f"{self.name}.toml", "", f"the filter keeps none of its {len(self.cells)} cells", "loosen it")
        return [Planned(cell, self._skip(cell)) for cell in kept]

    def _skip(self, cell: Cell) -> str | None:
        return next((rule.reason for rule in self.skips if rule.when.matches(cell)), None)

    def expects(self, record_status: str, cell: Cell) -> str | None:
        """Why a record of this status is no failure of the sweep, or None if it is one."""
        for rule in self.expectations:
            if rule.status == record_status and (rule.when is None or rule.when.matches(cell)):
                return rule.reason
        return None
