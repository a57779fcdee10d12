"""How a user's own words appear in messages: bounded, on one line, with nothing in them that a terminal would obey."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["clean", "known", "quote"]

_SHORT = 40
_LONG = 160


def quote(value: object) -> str:
    """`value` for a message: text and numbers as written, anything larger by its kind."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHORT else repr(value[: _SHORT - 3]) + "..."
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return "a table" if isinstance(value, dict) else f"a {type(value).__name__}"


def clean(text: str, longest: int = _LONG) -> str:
    """`text` on one line, bounded, with unprintable characters escaped."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[:longest])
    return shown if len(text) <= longest else shown + "..."


def known(word: str, words: Iterable[str]) -> str:
    """What could have been meant by `word`: the nearest of `words`, or all of them."""
    import difflib  # only needed once something is wrong

    listed = list(words)
    near = difflib.get_close_matches(word[:_SHORT], listed, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(listed)}"
