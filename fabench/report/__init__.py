"""Reports: `build` says what there is to say about records, `write_report` writes it in any format, `read_report` reads it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fabench.report.blocks import Report
from fabench.report.content import build, compose
from fabench.report.formats import html, json
from fabench.report.formats.base import Bundle, load, safe_name
from fabench.report.formats.base import formats as format_names
from fabench.report.readings import read
from fabench.report.words import reproduce_with
from fabench.schema import Environment, Record

__all__ = ["Report", "build", "format_names", "read_html", "read_report", "write_report"]

read_html = html.read


def read_report(path: Path) -> tuple[list[Record], list[Environment]]:
    """Records and environments of an HTML or JSON report. Raises StoreError."""
    return json.read(path) if path.suffix.lower() == ".json" else html.read(path)


def write_report(
    records: Sequence[Record],
    environments: Sequence[Environment],
    folder: Path,
    name: str,
    formats: Sequence[str] | None = None,
    *,
    title: str = "",
    reproduce: Callable[[Record], str] | None = None,
    warnings: Sequence[str] = (),
) -> list[Path]:
    """Writes `folder/name.*` in these formats (None: all) and returns the files. Raises UsageError or StoreError.

    `reproduce` gives the command that measures a cell again; without it, the run's suite narrowed to the cell.
    """
    chosen = [load(one) for one in dict.fromkeys(format_names() if formats is None else formats)]
    suite = environments[0].suite if environments else ""
    readings = read(records, environments, reproduce or reproduce_with(suite))
    report = compose(readings, title or name, warnings)
    bundle = Bundle(records, environments, readings.evidence, readings.frame)
    stem = folder / safe_name(name)
    return [path for write in chosen for path in write(report, bundle, stem)]
