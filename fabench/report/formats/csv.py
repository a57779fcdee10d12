"""CSV: one row per cell, base units, raw numbers; predicted costs of networks' positions, which no cell has, as files of their own.

No text can become a formula when a spreadsheet opens it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fabench.report import words
from fabench.report.blocks import Report, Table
from fabench.report.formats.base import Bundle, safe_name, save, with_ending

__all__ = ["guard", "write"]

# Samples are in the HTML and JSON reports: a list has no place in a cell.
_LEFT_OUT = ("samples_s",)
# Sections whose tables hold no cell.
_APART = ("network",)
_FORMULA = "=+-@\t\r＝＋－＠"


def guard(text: str) -> str:
    """`text`, with a ' before it where a spreadsheet would calculate."""
    cleaned = words.clean(text)
    return "'" + cleaned if text[:1] in ("\t", "\r") or cleaned.lstrip()[:1] in tuple(_FORMULA) else cleaned


def write(report: Report, bundle: Bundle, stem: Path) -> list[Path]:
    """`stem.csv`, and `stem-<table>.csv` for each table of predictions."""
    names = [name for name in bundle.frame.columns if name not in _LEFT_OUT]
    columns = [[_value(value) for value in bundle.frame[name].tolist()] for name in names]
    tables = [block for part in report.sections if part.id in _APART for block in part.blocks if isinstance(block, Table)]
    return [
        save(with_ending(stem, ".csv"), _text(names, _rows(columns))),
        *(save(with_ending(stem, f"-{safe_name(table.id)}.csv"), _of_table(table)) for table in tables),
    ]


def _of_table(table: Table) -> str:
    return _text([guard(column.title) for column in table.columns], [tuple(map(_value, row)) for row in table.rows])


def _text(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return file.getvalue()


def _rows(columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*columns, strict=True))


def _value(value: Any) -> Any:
    """Whole numbers without a point, unknown as nothing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return guard(value) if isinstance(value, str) else value
