"""What this user's machine showed, kept between commands in the user's cache folder: one JSON file per kind, an entry per identity.

An identity is a dictionary of all that a value holds for; another machine, thread count or torch has an entry of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fabench.codec import DecodeError, decode, encode
from fabench.errors import StoreError

__all__ = ["Shelf", "cache_folder"]

T = TypeVar("T")


def cache_folder() -> Path:
    """This user's folder for what can be made or measured again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fabench"


@dataclass(frozen=True)
class Shelf(Generic[T]):
    """A file of values of one `kind`. `what` they are, in words, and the `command` that writes them."""

    name: str
    kind: type[T]
    what: str
    command: str

    @property
    def path(self) -> Path:
        """The file."""
        return cache_folder() / self.name

    def recall(self, of: Mapping[str, Any]) -> T | None:
        """The value that is kept of this identity, or None. Raises StoreError for a file that is broken."""
        return next((value for known, value in self.entries() if known == of), None)

    def remember(self, of: Mapping[str, Any], value: T) -> Path:
        """Keeps the value in place of an earlier one; a broken file is written anew. Raises StoreError where it can't be written."""
        file = self.path
        try:
            held = self.entries()
        except StoreError:
            held = []
        kept = [entry for entry in held if entry[0] != of]
        lines = ",\n".join(encode({"of": known, "value": one}) for known, one in [*kept, (dict(of), value)])
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(f'{{"entries": [\n{lines}\n]}}\n', encoding="utf-8")
            part.replace(file)
        except OSError as error:
            raise StoreError(
                f"can't write {file}: {error.strerror}; set XDG_CACHE_HOME to a folder that can be written"
            ) from None
        return file

    def entries(self) -> list[tuple[dict[str, Any], T]]:
        """All that is kept, with what it holds for, the earliest first. Raises StoreError for a file that is broken."""
        if not self.path.exists():
            return []
        try:
            held = json.loads(self.path.read_bytes())
            return [(dict(entry["of"]), decode(self.kind, entry["value"])) for entry in held["entries"]]
        except OSError as error:
            raise StoreError(
                f"can't read {self.path}: {error.strerror}; measure {self.what} anew with `{self.command}`"
            ) from None
        except (DecodeError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise StoreError(f"{self.path} is no file of {self.what}; write it anew with `{self.command}`") from None
