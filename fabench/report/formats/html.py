"""One HTML file that opens offline, says the important things without its script, and can be read back."""

from __future__ import annotations

from pathlib import Path

from fabench.errors import StoreError
from fabench.report.blocks import Report
from fabench.report.formats.base import Bundle, save, with_ending
from fabench.report.page.data import LIMIT_BYTES, embed, extract
from fabench.report.page.document import document
from fabench.schema import Environment, Record

__all__ = ["read", "write"]


def write(report: Report, bundle: Bundle, stem: Path) -> list[Path]:
    """`stem.html`."""
    page = document(report, embed(bundle.records, bundle.environments), readable=bool(bundle.records))
    return [save(with_ending(stem, ".html"), page)]


def read(path: Path, limit_bytes: int = LIMIT_BYTES) -> tuple[list[Record], list[Environment]]:
    """Records and environments of a page that `write` wrote. Raises StoreError, one line."""
    try:
        page = path.read_bytes()
    except OSError as error:
        raise StoreError(f"can't read {path}: {error.strerror or type(error).__name__}") from None
    try:
        return extract(page, limit_bytes)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
