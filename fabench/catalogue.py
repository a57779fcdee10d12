"""What implementations and devices there are, read from their files, without importing one of them.

The parent must know each implementation's cost family and what it computes (dry runs, skips, `fabench list`), but the files import
torch, which the parent never does. So every file in `attention/` states these facts as literals, and this module reads them with
`ast`. A file whose name starts with an underscore is a helper, not an implementation.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fabench.places import WITHOUT

__all__ = ["Facts", "devices", "facts_of", "implementations"]

_FOLDER = Path(__file__).parent / "attention"
_DEVICES = Path(__file__).parent / "devices"
_HELPERS = {"base", "reference"}


@dataclass(frozen=True, slots=True)
class Facts:
    """The declared head of an implementation's file.

    `title` is the first line of its docstring. `time_order` and `memory_order` are the powers of n that its core costs, None
    where there is no core.
    `computes` maps a normalisation to the function's name; implementations with equal names must give equal results.
    `compiles`: its first call builds code, which is timed apart. `opaque`: it hides its operators and what it keeps for backward from
    torch's hooks, so that neither can be counted. `synchronises`: its call waits for the device inside, so calls can't be queued.
    """

    name: str
    title: str
    time_order: int | None
    memory_order: int | None
    computes: dict[str, str]
    compiles: bool = False
    opaque: bool = False
    synchronises: bool = False

    @property
    def family(self) -> str | None:
        """By time: "quadratic" or "linear"; None without a core."""
        return None if self.time_order is None else "quadratic" if self.time_order == 2 else "linear"


def _read(path: Path) -> Facts:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    literals: dict[str, object] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            try:
                literals[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    time_order, memory_order, computes = literals.get("TIME_ORDER"), literals.get("MEMORY_ORDER"), literals.get("COMPUTES")
    if not (isinstance(time_order, int) and isinstance(memory_order, int) and isinstance(computes, dict)):
        raise TypeError(f"{path.name} must state TIME_ORDER, MEMORY_ORDER and COMPUTES as literals")
    title = (ast.get_docstring(tree) or path.stem).splitlines()[0]
    flags = (bool(literals.get(name, False)) for name in ("COMPILES", "OPAQUE", "SYNCHRONISES"))
    return Facts(path.stem, title, time_order, memory_order, computes, *flags)


@cache
def implementations() -> dict[str, Facts]:
    """All implementations by name, in the order of their names."""
    paths = sorted(path for path in _FOLDER.glob("*.py") if not path.name.startswith("_") and path.stem not in _HELPERS)
    return {path.stem: _read(path) for path in paths}


_NOTHING = Facts(WITHOUT, "no attention: a network as it is", None, None, {})


def facts_of(name: str) -> Facts:
    """The implementation `name`, or what stands in its place in a network without attention. Raises KeyError for neither."""
    return _NOTHING if name == WITHOUT else implementations()[name]


@cache
def devices() -> tuple[str, ...]:
    """The kinds of device that have a file, by name; whether one is here only the measuring side can say."""
    return tuple(sorted(path.stem for path in _DEVICES.glob("[a-z]*.py") if path.stem != "base"))
