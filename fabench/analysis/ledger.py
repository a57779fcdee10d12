"""The memory ledger of a cell beside its arithmetic: predicted bytes, the difference, and what explains it.

Predictions are `fabench.cost`'s, which knows shapes and two declared powers of n, and nothing of code. What it leaves out is said by rules
(`_ledger_rules`): each is a reason with the least and the most bytes that it may add, from the case alone. A difference is explained as
far as the rules that apply reach together; what lies beyond is unexplained, and marked where it is more than `BOUND` of the
prediction and more than `SMALL_BYTES`.

    inputs     inputs, weights                     cost.input_bytes
    given      padding mask, upstream gradient     one byte per key, one output
    output     the result, and all gradients       one output, and with gradients the inputs once more
    saved      all that is kept for backward       cost.saved_bytes: v1's memory formula, kept inputs and weights among it
    working    output, new saved and workspace     cost.working_bytes: what an eager implementation holds beside its inputs
"""

from __future__ import annotations

from dataclasses import dataclass

from fabench import cost
from fabench.analysis import _ledger_rules as rules
from fabench.analysis._ledger_rules import Reason
from fabench.measured import Ledger
from fabench.schema import Record

__all__ = ["BOUND", "SMALL_BYTES", "Line", "Reason", "lines_of"]

BOUND = 0.01
SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """A line measured and predicted; `measured_bytes` None where it is not known. `reasons`: the rules that apply to the case."""

    name: str
    measured_bytes: int | None
    predicted_bytes: int
    reasons: tuple[Reason, ...] = ()

    @property
    def difference_bytes(self) -> int | None:
        """Measured less predicted."""
        return None if self.measured_bytes is None else self.measured_bytes - self.predicted_bytes

    @property
    def explaining(self) -> tuple[Reason, ...]:
        """The rules that reach in the direction of the difference; none without one."""
        difference = self.difference_bytes or 0
        if difference > 0:
            return tuple(one for one in self.reasons if one.high_bytes > 0)
        return tuple(one for one in self.reasons if difference < 0 and one.low_bytes < 0)

    @property
    def unexplained_bytes(self) -> int | None:
        """How far the difference lies beyond (positive) or short of (negative) what all rules together allow."""
        if self.difference_bytes is None:
            return None
        low, high = sum(one.low_bytes for one in self.reasons), sum(one.high_bytes for one in self.reasons)
        return self.difference_bytes - min(max(self.difference_bytes, low), high)

    @property
    def verdict(self) -> str:
        """One of "as predicted", "explained", "nearly" (within the bound), "unexplained"; "unknown" without a measured value."""
        beyond = self.unexplained_bytes
        if beyond is None:
            return "unknown"
        if beyond == 0:
            return "explained" if self.difference_bytes else "as predicted"
        return "nearly" if abs(beyond) <= max(SMALL_BYTES, BOUND * self.predicted_bytes) else "unexplained"


def lines_of(record: Record) -> tuple[Line, ...] | None:
    """The record's ledger line by line; None without a ledger, for a whole network, or where it is not said how memory grows."""
    memory, case = record.memory, record.cell.case
    if memory is None or memory.ledger is None or record.time_order is None or record.memory_order is None:
        return None
    if case.scope == "network":
        return None
    book, known = memory.ledger, cost.of(case, record.time_order, record.memory_order)
    sizes = rules.Sizes(case, record.time_order, record.memory_order)
    gradients = known.input_bytes if case.needs_gradients else 0
    found = [
        Line("inputs", book.input_bytes + book.parameter_bytes, known.input_bytes, rules.of_inputs(sizes)),
        Line("given", book.given_bytes, sizes.mask + (known.output_bytes if case.needs_gradients else 0)),
        Line("output", book.output_bytes, known.output_bytes + gradients, rules.of_output(sizes, known)),
    ]
    if known.saved_bytes is not None:
        found.append(Line("saved", memory.saved_bytes, known.saved_bytes, rules.of_saved(sizes)))
    found.append(Line("working", _working(book), known.working_bytes, rules.of_working(sizes, known)))
    return tuple(found)


def _working(book: Ledger) -> int:
    """What the call and its graph took. A negative residual is of lines that did not all exist at the peak (see `fabench.measured`)."""
    return book.output_bytes + (book.saved_bytes or 0) + book.workspace_bytes + min(0, book.residual_bytes)
