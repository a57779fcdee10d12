"""Reports: `build` says what there is to say about records, `write_report` writes it in any format, `read_html` reads it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fabench.report import words
from fabench.report.blocks import Report
from fabench.report.content import build, compose
from fabench.report.formats.base import Bundle, formats, load, safe_name
from fabench.report.formats.html import read as read_html
from fabench.report.readings import read
from fabench.schema import Environment, Record

__all__ = ["DEFAULT_FORMATS", "Report", "build", "formats", "read_html", "write_report"]

DEFAULT_FORMATS = ("html", "markdown", "csv", "json")


def write_report(
    records: Sequence[Record],
    environments: Sequence[Environment],
    folder: Path,
    name: str,
    formats: Sequence[str] | None = None,
    *,
    title: str = "",
    reproduce: Callable[[Record], str] = words.reproduce,
    warnings: Sequence[str] = (),
) -> list[Path]:
    """Writes `folder/name.*` in these formats (all but figures if None) and returns the files. Raises UsageError or StoreError."""
    chosen = [load(one) for one in dict.fromkeys(DEFAULT_FORMATS if formats is None else formats)]
    readings = read(records, environments, reproduce)
    report = compose(readings, title or name, warnings)
    bundle = Bundle(records, environments, readings.frame)
    stem = folder / safe_name(name)
    return [path for write in chosen for path in write(report, bundle, stem)]
