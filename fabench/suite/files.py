"""Where suites lie: ./suites first, then the package's own; a path that ends in .toml is read as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fabench.errors import SuiteError, UsageError
from fabench.suite.document import MOST_BYTES, parse
from fabench.suite.model import Suite
from fabench.suite.words import clean, known, quote

__all__ = ["available", "load"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PACKAGE = Path(__file__).parent.parent


def _own_folder() -> Path:
    """In an installed wheel the suites lie in the package, in a checkout beside it."""
    inside = _PACKAGE / "suites"
    return inside if inside.is_dir() else _PACKAGE.parent / "suites"


def available() -> dict[str, Path]:
    """Every suite by name, in the order of their names. One in ./suites hides the package's own of the same name."""
    found: dict[str, Path] = {}
    for folder in (_own_folder(), Path("suites")):
        found.update({path.stem: path for path in folder.glob("*.toml") if _NAME.fullmatch(path.stem) and path.is_file()})
    return dict(sorted(found.items()))


def load(source: str, overrides: Mapping[str, str] | None = None, where: str | None = None) -> Suite:
    """The suite with this name, or in this file. Raises SuiteError (or UsageError, for the filter)."""
    if source.endswith(".toml"):
        path = Path(source)
        return parse(_read(path), re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-.")[:64] or "suite", overrides, where)
    suites = available()
    if source not in suites:
        raise UsageError(
            f"no suite {quote(source)}; {known(source, suites)}"
            if suites
            else f"no suite {quote(source)}; give a path to a .toml file"
        )
    return parse(_read(suites[source]), source, overrides, where)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise SuiteError(clean(str(path)), "", "is no file", "give the path of a TOML file or the name of a suite")
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SuiteError(
            clean(str(path)), "", f"can't be read ({error.strerror})", "check the path and its permissions"
        ) from None
