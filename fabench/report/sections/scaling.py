"""How time and memory grow: exponents with intervals, and the time split into overhead, linear and quadratic part."""

from __future__ import annotations

from collections.abc import Sequence

from fabench.analysis.scaling import Decomposition, Exponent
from fabench.report import words
from fabench.report.blocks import Block, Column, Section, Value
from fabench.report.readings import Readings
from fabench.report.sections.order import main_first, tabulate

__all__ = ["section"]

_EXPONENTS = (
    Column("implementation"), Column("quantity"), Column("exponent of n (95 %)", "exponent"), Column("expected", "integer"),
    Column("fit from n", "count"), Column("to n", "count"), Column("points", "integer"), Column("left out, and why"),
    Column("local slopes"), Column("setting"),
)  # fmt: skip
_SHARES = (
    Column("implementation"), Column("overhead a", "duration"), Column("linear share", "percent"), Column("quadratic share", "percent"),
    Column("at n", "count"), Column("worst residual", "percent"), Column("note"), Column("setting"),
)  # fmt: skip


def section(readings: Readings) -> Section | None:
    """Two tables."""
    if not readings.exponents:
        return None
    blocks: list[Block] = []
    swept = [one for one in readings.exponents if _sizes(one) > 1]
    rows = [_exponent(one, readings) for one in main_first(readings, swept)]
    title = "Exponents: time and memory grow as n to this power"
    blocks.append(tabulate("exponents", title, _EXPONENTS, rows, _note(len(readings.exponents) - len(swept)), place=2))
    parts = [_share(one) for one in main_first(readings, readings.decompositions) if one.shares is not None]
    if parts:
        blocks.append(tabulate("decomposition", "Time as a + b n + c n², all parts at least 0", _SHARES, parts))
    lead = "The slope of the log-log curve where n is large. Quadratic attention should come near 2, linear near 1."
    return Section("scaling", "Scaling exponents", lead, tuple(blocks))


def _sizes(found: Exponent) -> int:
    """How many n were asked for: with a single one there is nothing to grow."""
    return len({n for n, _ in found.points} | {n for n, _ in found.left_out})


def _note(single: int) -> str:
    note = "Fitted over the upper half of the swept range on the log scale, at least four points where there are four. Expected: the declared power."
    return note + (f" {single} series of a single n are not listed." if single else "")


def _exponent(found: Exponent, readings: Readings) -> tuple[Value, ...]:
    orders = readings.orders.get(found.implementation, (None, None))
    expected = orders[0 if found.quantity == "time" else 1]
    ends = (found.used[0], found.used[-1]) if found.used else (None, None)
    left = "; ".join(_grouped(found.left_out)) or ("" if found.estimate else found.note)
    slopes = ", ".join(words.exponent(slope) for _, _, slope in found.local)
    return (
        found.implementation,
        found.quantity,
        found.estimate,
        expected,
        *ends,
        len(found.used),
        left or "none",
        slopes,
        found.setting,
    )


def _grouped(left_out: Sequence[tuple[int, str]]) -> list[str]:
    """`256, 512: below the range`; equal reasons once."""
    reasons: dict[str, list[int]] = {}
    for n, why in left_out:
        reasons.setdefault(why, []).append(n)
    return [f"{', '.join(f'{n:,}' for n in sizes)}: {_spelled(why)}" for why, sizes in reasons.items()]


def _spelled(why: str) -> str:
    """The status in words, the reason as it is."""
    status, colon, reason = why.partition(":")
    return words.status_words(status) + colon + reason


def _share(found: Decomposition) -> tuple[Value, ...]:
    assert found.shares is not None
    _, linear, quadratic = found.shares
    return (found.implementation, found.a_s, linear, quadratic, found.largest_n, found.worst, found.note, found.setting)
