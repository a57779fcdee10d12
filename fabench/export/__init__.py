"""Stored results in the forms that other tools read: one file per foreign format, found by its file name. See `base`."""

from fabench.export.base import Bundle, Format, formats, load

__all__ = ["Bundle", "Format", "formats", "load"]
