"""Text from results in markup that others render: nothing in it can become markup, a command or an illegal character."""

from __future__ import annotations

import re

__all__ = ["clean", "command_data", "command_property", "markdown", "xml"]

_SPECIAL = re.compile(r"[\\`*{}\[\]#|!~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
_QUOTES = {'"': "&quot;", "'": "&apos;"}


def clean(text: object, longest: int = 500) -> str:
    """`text` on one line and bounded; line breaks, control and direction characters, lone surrogates are shown escaped."""
    whole = str(text)
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in whole[:longest])
    return shown if len(whole) <= longest else shown + "..."


def xml(text: object, longest: int = 2000) -> str:
    """`clean`, for the text of an element or a quoted attribute of XML 1.0."""
    shown = clean(text, longest)
    for plain, entity in {**{key: _ENTITIES[key] for key in "&<>"}, **_QUOTES}.items():
        shown = shown.replace(plain, entity)
    return shown


def markdown(text: object, longest: int = 300) -> str:
    """`clean`, for a cell of a Markdown table: no markup, links, mentions or borders come out of it."""
    shown = _SPECIAL.sub(lambda found: "\\" + found[0], clean(text, longest))
    for plain, entity in _ENTITIES.items():
        shown = shown.replace(plain, entity)
    return shown.replace("://", "&#58;//").replace("www.", "www&#46;")


def command_data(text: object) -> str:
    """`clean`, for the message of a workflow command (`::error::MESSAGE`)."""
    return clean(text).replace("%", "%25")


def command_property(text: object) -> str:
    """`clean`, for a property of a workflow command (`::error title=PROPERTY::`)."""
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
