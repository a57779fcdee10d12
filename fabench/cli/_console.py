"""Where output goes: data on standard output, everything else on standard error."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

__all__ = ["ascii_only", "data", "error", "notes", "safe"]

data = Console(highlight=False, soft_wrap=True)
notes = Console(stderr=True, highlight=False, soft_wrap=True)


def ascii_only() -> bool:
    """Whether the terminal's encoding can't show more than ASCII."""
    return "utf" not in (getattr(sys.stderr, "encoding", None) or "ascii").lower()


def safe(text: object) -> str:
    """Text from suites, records or errors, for a terminal: no markup, no control characters, and ASCII where the terminal is."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))
    if ascii_only():
        shown = shown.replace("µ", "u").replace("–", "-").replace("×", "x").replace("±", "+-").replace("·", "/")
        shown = shown.encode("ascii", "replace").decode()
    return escape(shown)


def error(text: object) -> None:
    """One line for the user."""
    notes.print(f"[bold red]fabench:[/] {safe(text)}")
