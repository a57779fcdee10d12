"""What a comparison of stored results says: sentences, a table, and the one JSON document that summary, JUnit and annotations are rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fabench.analysis.compare import CellChange, Comparison, KernelChange
from fabench.analysis.launches import TimeChange
from fabench.analysis.powers import PowerChange
from fabench.report import words
from fabench.report.verdicts import Ending, Finding, frame, names, percent, together
from fabench.units import format_bytes

__all__ = ["COLUMNS", "WARNING", "document", "headline", "remarks", "rows", "sentences"]

WARNING = (
    "stored times of two sides hold what the machine did in between, and catch little; for time use `fabench gate --base REV`"
)
COLUMNS = ("cell", "time", "head / base", "95 %", "launches", "peak memory", "worse")
_VERDICTS = ("slower", "faster", "equivalent", "undecided", "not measured", "not timed")
_MOST_NAMES = 10


def sentences(found: Comparison) -> list[str]:
    """One for each cell that is worse or not as before, then for exponents, kernels, and cells on one side only."""
    called, few = names(found.cells), together([cell.reason for cell in found.having("undecided")])
    told = [cell for cell in found.cells if cell.worse or cell.notes or cell.verdict not in ("equivalent", "not timed")]
    alike = {cell.cell for cell in told if cell.reason in few and cell.verdict == "undecided" and not (cell.worse or cell.notes)}
    said = [f"{called[cell.cell]}: {_sentence(cell)}" for cell in told if cell.cell not in alike]
    said += [f"{count} cells undecided: {reason}" for reason, count in few.items()]
    said += [_power(one) for one in found.worse_powers]
    said += [_kernel(one) for one in found.kernels]
    said += [_one_sided(side, cells) for side, cells in (("base", found.only_base), ("head", found.only_head)) if cells]
    return [words.plain(one) for one in said]


def _sentence(cell: CellChange) -> str:
    parts = [] if cell.verdict == "not timed" else [_time(cell)]
    parts += [f"WORSE: {one.text}" for one in cell.worse]
    return "; ".join([*parts, *cell.notes])


def _time(cell: CellChange) -> str:
    time = cell.time
    if time is None:
        return f"{cell.verdict} ({cell.reason})"
    count = f"{time.base_launches} and {time.head_launches} launches"
    if time.tripwire:
        return f"{time.ratio:.2f} times as long: slower by the tripwire alone, {count}"
    low, high = (None if end is None else 100 * (end - 1) for end in (time.low, time.high))
    if low is None or high is None:
        return f"{cell.verdict}: {time.ratio - 1:+.1%} ({cell.reason})"
    if cell.verdict == "slower":
        return f"{percent(time.ratio - 1)} slower [{low:.1f}, {high:.1f}], {count}"
    if cell.verdict == "faster":
        return f"{percent(time.ratio - 1)} faster [{-high:.1f}, {-low:.1f}], {count}"
    bounds = f"[{low:+.1f} %, {high:+.1f} %]"
    return f"{cell.verdict}: {time.ratio - 1:+.1%} {bounds}" + (f" ({cell.reason})" if cell.reason else f", {count}")


def _power(one: PowerChange) -> str:
    before = "" if one.base is None else f"; it was {words.exponent(one.base.value)}"
    return (
        f"{'WORSE: ' if one.worse else ''}{one.implementation}, {one.setting}: {one.quantity} grows as n^{words.show_estimate(one.head, 'exponent')}, "
        f"declared n^{one.declared}{before}"
    )


def _kernel(one: KernelChange) -> str:
    return f"WORSE: kernel {one.key}: {'; '.join(one.changes)}"


def _one_sided(side: str, cells: Sequence[str]) -> str:
    rest = f" and {len(cells) - _MOST_NAMES} more" if len(cells) > _MOST_NAMES else ""
    return f"only in {side}, not compared: {', '.join(cells[:_MOST_NAMES])}{rest}"


def headline(found: Comparison, base: str, head: str) -> str:
    """One sentence for all. `base` and `head` say what was compared."""
    counts = [f"{len(cells)} {verdict}" for verdict in _VERDICTS if (cells := found.having(verdict))]
    counted = sum(bool(cell.worse) for cell in found.cells)
    parts = [
        f"{counted} worse in what is counted" if counted else "",
        f"{len(found.worse_powers)} of {len(found.powers)} exponents worse" if found.worse_powers else "",
        f"{len(found.kernels)} of {found.kernels_compared} kernels worse" if found.kernels else "",
    ]
    count = f"{len(found.cells)} cell{'' if len(found.cells) == 1 else 's'}"
    return words.plain(f"{count}, {head} against {base}: {', '.join([*counts, *(part for part in parts if part)])}.")


def rows(found: Comparison) -> list[tuple[str, ...]]:
    """The table, a row per cell; see `COLUMNS`."""
    called = names(found.cells)
    return [
        (
            called[cell.cell], cell.verdict, *_figures(cell.time), _peaks(cell),
            words.plain("; ".join(one.text for one in cell.worse)) or words.DASH,
        )
        for cell in found.cells
    ]  # fmt: skip


def _figures(time: TimeChange | None) -> tuple[str, str, str]:
    if time is None:
        return (words.DASH,) * 3
    interval = words.DASH if time.low is None or time.high is None else f"{time.low:.3f}{words.DASH}{time.high:.3f}"
    return f"{time.ratio:.3f}", interval, f"{time.base_launches}/{time.head_launches}"


def _peaks(cell: CellChange) -> str:
    old, new = format_bytes(cell.base.peak_bytes), format_bytes(cell.head.peak_bytes)
    return old if cell.base.peak_bytes == cell.head.peak_bytes else f"{old} -> {new}"


def remarks(found: Comparison) -> list[str]:
    """What holds for all of it: what was left out, and how little stored times say."""
    timed = any(cell.time is not None for cell in found.cells)
    left_out = [f"not compared: {', '.join(found.left_out)}"] if found.left_out else []
    return [words.plain(line) for line in (*left_out, *found.notes, *([WARNING] if timed else []))]


def document(found: Comparison, base: str, head: str, ending: Ending) -> dict[str, Any]:
    """Everything, as plain JSON values. `base` and `head` say what was compared."""
    told = frame(
        "fabench-compare", "compare", headline(found, base, head), ending, _findings(found), remarks(found), COLUMNS, rows(found)
    )
    return told | {"base": base, "head": head, "sentences": sentences(found), **asdict(found)}


def _findings(found: Comparison) -> list[Finding]:
    called = names(found.cells)
    said = [
        Finding(one.cell, _outcome(one), f"{called[one.cell]}: {_sentence(one) or 'nothing counted is worse'}")
        for one in found.cells
    ]
    for power in found.powers:
        name = f"exponent of {power.quantity}: {power.implementation}, {power.setting}"
        said.append(Finding(name, "worse" if power.worse else "fine", _power(power)))
    said += [Finding(f"kernel {one.key}", "worse", _kernel(one)) for one in found.kernels]
    said += [
        Finding(cell, "not compared", f"only in {side}, not compared")
        for side, cells in (("base", found.only_base), ("head", found.only_head))
        for cell in cells
    ]
    return said


def _outcome(cell: CellChange) -> str:
    if cell.verdict == "slower" or cell.worse:
        return "worse"
    return cell.verdict if cell.verdict in ("not measured", "undecided") else "fine"
