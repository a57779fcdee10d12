"""The baseline file for git: what does not depend on a clock, as a small text whose differences can be read and merged.

A stored baseline serves for what is deterministic alone: bytes, FLOPs, exponents of memory, spills of kernels. For wall time it was measured to be worthless.

The file is TOML, one value a line, tables and keys sorted. A cell's heading never changes, and stands between the values of its neighbours:
so git shows which number of which cell changed, and changes to different cells merge by themselves. What it was measured on, as far as
bytes and FLOPs depend on it, stands in the head. A date and a commit do not: they would change without anything having changed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fabench.errors import StoreError
from fabench.schema import Environment

__all__ = ["DECIMALS", "VERSION", "Baseline", "Coded", "Counted", "changes", "depends_on", "parse", "render"]

VERSION = 1
_HEAD = """\
# What does not depend on a clock: bytes and FLOPs of cells, exponents of memory over n, spills. One value a line, sorted.
# Written by `fabench baseline save` and `promote`, read by `fabench compare --baseline FILE RUN`.
"""
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)")
# A CPU's product name is left out: its instruction set and threads decide which buffers there are.
_OF_DEVICE = ("capability", "threads")
_OF_PACKAGES = ("torch", "triton", "torch.cuda", "torch.hip", "torch.blas")
DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Counted:
    """A cell's figures that no clock is needed for; None where they are not known.

    `peak_bytes`: what a call takes at its peak over what was there before it. `saved_bytes`: what it keeps for backward.
    """

    peak_bytes: int | None = None
    saved_bytes: int | None = None
    flop: int | None = None


@dataclass(frozen=True, slots=True)
class Coded:
    """A kernel's machine code: instructions that keep registers in memory, and its bytes of stack and shared memory."""

    spills: int | None = None
    stack_bytes: int | None = None
    shared_bytes: int | None = None


@dataclass(frozen=True)
class Baseline:
    """Cells by id, kernels by key (`fabench.sheet`).

    `exponents`: the power of n that a series' memory grows with, by "implementation · setting", to three decimals.
    """

    suite: str
    environment: Mapping[str, str]
    cells: Mapping[str, Counted]
    exponents: Mapping[str, float] = field(default_factory=dict)
    kernels: Mapping[str, Coded] = field(default_factory=dict)


def depends_on(environment: Environment) -> dict[str, str]:
    """The fields that bytes and FLOPs depend on, as text; those that are not known are left out."""
    found: dict[str, Any] = {f"packages.{name}": environment.packages.get(name) for name in _OF_PACKAGES}
    for device, facts in environment.devices.items():
        if isinstance(facts, Mapping):
            names = _OF_DEVICE if device == "cpu" else ("name", *_OF_DEVICE)
            found |= {f"devices.{device}.{name}": facts.get(name) for name in names}
    found |= {f"settings.{name}": value for name, value in environment.settings.items() if name.startswith("PYTORCH_")}
    return {name: str(value) for name, value in sorted(found.items()) if value is not None}


def render(found: Baseline) -> str:
    """The file's text. Raises StoreError for names that no text file can hold."""
    lines = [f"version = {VERSION}", f"suite = {_quoted(found.suite)}"]
    lines += ["", "[environment]", *(f"{_quoted(name)} = {_quoted(value)}" for name, value in sorted(found.environment.items()))]
    lines += _tables("cells", found.cells)
    for series, power in sorted(found.exponents.items()):
        lines += ["", f"[exponents.{_quoted(series)}]", f"memory = {power:.{DECIMALS}f}"]
    lines += _tables("kernels", found.kernels)
    text = _HEAD + "\n".join([*lines, ""])
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StoreError("a cell's name has half a character in it, so it can't be written to a text file") from None
    return text


def _tables(part: str, tables: Mapping[str, Counted | Coded]) -> Iterator[str]:
    for key, figures in sorted(tables.items()):
        yield ""
        yield f"[{part}.{_quoted(key)}]"
        yield from (f"{name} = {value}" for name, value in _figures(figures).items() if value is not None)


def _figures(found: Counted | Coded | None) -> dict[str, int | None]:
    """By name, in the order of names."""
    return {} if found is None else {name: getattr(found, name) for name in sorted(one.name for one in fields(found))}


def _quoted(text: str) -> str:
    """A TOML string on one line, in which everything can be seen."""
    return "".join(_shown(char) for char in json.dumps(text, ensure_ascii=False))


def _shown(char: str) -> str:
    if char.isprintable() or 0xD800 <= ord(char) < 0xE000:
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def parse(data: bytes, name: str) -> Baseline:
    """What `render` wrote; `name` is what messages call it. Raises StoreError, one line, for anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise StoreError(f"{name} is no baseline: not UTF-8") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if _CONFLICT.match(line):
            raise StoreError(
                f"{name}, line {number}: a merge conflict is left; resolve it, or run `fabench baseline promote RUN {name}`"
            )
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StoreError(f"{name} is no baseline: {' '.join(str(error).split())[:160]}") from None
    try:
        return _decoded(found)
    except ValueError as error:
        raise StoreError(f"{name}: {error}") from None


def _decoded(found: dict[str, Any]) -> Baseline:
    version = found.pop("version", None)
    if type(version) is not int or version != VERSION:
        raise ValueError(f"version {str(version)[:20]} is not known here, only {VERSION}: use a fabench that is as new")
    suite, environment = found.pop("suite", None), found.pop("environment", None)
    cells, exponents, kernels = (found.pop(part, {}) for part in ("cells", "exponents", "kernels"))
    if found:
        raise ValueError(f"{next(iter(found))[:40]!r} has no place in a baseline")
    if not isinstance(suite, str):
        raise ValueError("suite must be a text")
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise ValueError("environment must be a table of texts")
    for part, tables in (("cells", cells), ("exponents", exponents), ("kernels", kernels)):
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise ValueError(f"{part} must hold tables only")
    return Baseline(
        suite,
        environment,
        {cell: Counted(**_whole(cell, table, Counted)) for cell, table in cells.items()},
        {series: _power(series, table) for series, table in exponents.items()},
        {kernel: Coded(**_whole(kernel, table, Coded)) for kernel, table in kernels.items()},
    )


def _whole(key: str, table: dict[str, Any], cls: type[Counted] | type[Coded]) -> dict[str, int]:
    known = [one.name for one in fields(cls)]
    for name, value in table.items():
        if name not in known:
            raise ValueError(f"{key[:120]}: {name[:40]!r} is not known; there are {', '.join(sorted(known))}")
        if type(value) is not int or value < 0:
            raise ValueError(f"{key[:120]}: {name} must be a whole number, 0 or more")
    return table


def _power(series: str, table: dict[str, Any]) -> float:
    if set(table) != {"memory"} or type(table["memory"]) is not float or not abs(table["memory"]) < 1e6:
        raise ValueError(f"{series[:120]}: must be memory = 1.000 and nothing else")
    return round(table["memory"], DECIMALS)


def changes(old: Baseline, new: Baseline) -> list[str]:
    """What `new` says otherwise, one line each, in words; empty where both say the same."""
    found = [f"suite: {old.suite} -> {new.suite}"] if old.suite != new.suite else []
    found += _between("", old.environment, new.environment)
    found += _tables_between(old.cells, new.cells)
    found += _between("exponent of memory, ", old.exponents, new.exponents)
    return found + _tables_between(old.kernels, new.kernels)


def _tables_between(
    old: Mapping[str, Counted] | Mapping[str, Coded], new: Mapping[str, Counted] | Mapping[str, Coded]
) -> list[str]:
    found = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before is None or after is None:
            found.append(f"{key}: {'new' if before is None else 'gone'}")
        else:
            found += _between(f"{key}: ", _figures(before), _figures(after))
    return found


def _between(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}{name}: {_text(old.get(name))} -> {_text(new.get(name))}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _text(value: Any) -> str:
    return "not known" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
