"""The verdicts of `fabench gate` and `fabench compare` in the forms that CI servers show: one file per form. See `base`."""

from fabench.export.verdicts.base import Told, is_verdicts, load, read, renderers

__all__ = ["Told", "is_verdicts", "load", "read", "renderers"]
