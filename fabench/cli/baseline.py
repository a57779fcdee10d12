"""`fabench baseline`: the text file for git that holds what does not depend on a clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fabench.baseline import DECIMALS, Baseline, Coded, Counted, changes, depends_on, parse, render
from fabench.cli._console import notes, safe
from fabench.cli._stored import Stored, of_one_code, read, read_sheets
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.lines import reason_of
from fabench.schema import Record, Status
from fabench.units import format_bytes, format_count

__all__ = ["command"]

_USES = {"save": "RUN FILE", "list": "[FOLDER]", "show": "FILE", "promote": "RUN FILE"}
_ENDING = "*.toml"


def command(
    what: Annotated[str, typer.Argument(metavar="ACTION", help="save, list, show or promote.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN] [FILE]", help="save and promote: RUN FILE; show: FILE.")
    ] = None,
    kernels: Annotated[
        Path | None, typer.Option("--kernels", help="Kernel sheets to keep too; else kernels.json in RUN.")
    ] = None,
) -> int:
    """Save what is counted in a run (bytes, FLOPs) as a text file for git; list, show or replace such files."""
    words = names or []
    if what not in _USES:
        raise UsageError(f"nothing called {what[:40]!r} to do; there are {', '.join(_USES)}")
    if len(words) not in {"list": (0, 1), "show": (1,)}.get(what, (2,)):
        raise UsageError(f"write: fabench baseline {what} {_USES[what]}")
    if kernels is not None and what in ("list", "show"):
        raise UsageError(f"--kernels is for save and promote; {what} only reads")
    if what == "list":
        return _list(Path(words[0]) if words else Path("baselines"))
    if what == "show":
        return _show(Path(words[0]))
    return (_save if what == "save" else _promote)(words[0], Path(words[1]), kernels)


def _save(run: str, file: Path, kernels: Path | None) -> int:
    if file.exists():
        raise UsageError(f"{file} exists; to replace it after a look at what changes: fabench baseline promote {run} {file}")
    found = _of(read(run), run, kernels)
    _write(file, found)
    return ExitCode.FINE


def _promote(run: str, file: Path, kernels: Path | None) -> int:
    """The changes are shown first; git keeps what was."""
    new, old = _of(read(run), run, kernels), _read(file)
    said = changes(old, new)
    for line in said:
        typer.echo(safe(line))
    if said:
        _write(file, new)
    else:
        notes.print(f"{safe(file)} says the same already")
    return ExitCode.FINE


def _write(file: Path, found: Baseline) -> None:
    from fabench.report.formats.base import save

    save(file, render(found))
    kernels = f" and {len(found.kernels)} kernels" if found.kernels else ""
    notes.print(f"{len(found.cells)} cells, {len(found.exponents)} exponents{kernels} in {safe(file)}: commit it")


def _of(runs: Sequence[Stored], name: str, kernels: Path | None) -> Baseline:
    """What the runs count; cells that are not ok have no place, and where launches differ the most stands."""
    from fabench.analysis.launches import Launch
    from fabench.analysis.powers import memory_exponents
    from fabench.analysis.worse import counted

    of_one_code(name, runs)
    cells: dict[str, Counted] = {}
    missing: set[str] = set()
    for run in runs:
        for cell, record in run.records.items():
            if record.status == Status.OK:
                cells[cell] = _most(cell, cells.get(cell), counted(record))
            elif _counts(record):
                missing.add(cell)
    missing -= cells.keys()
    known = {cell: found for cell, found in cells.items() if found != Counted()}
    if not known:
        raise StoreError(f"{name}: no cell is ok and has its bytes or FLOPs counted, so there is nothing to keep")
    if missing:
        notes.print(f"{len(missing)} cells that are not ok are left out: {safe(', '.join(sorted(missing)[:5]))}")
    last = runs[-1]
    powers = memory_exponents(Launch(last.name, last.environment, last.records))
    exponents = {
        f"{implementation} · {setting}": round(found.value, DECIMALS) for (implementation, setting), found in powers.items()
    }
    environment, coded = depends_on(last.environment), {}
    if (file := kernels or last.kernels) is not None:
        sheets = read_sheets(file)
        environment["kernels.triton"] = sheets.triton
        coded = {one.key: Coded(one.spills, one.stack_bytes, one.shared_bytes) for one in sheets.sheets}
    return Baseline(last.environment.suite, environment, known, exponents, coded)


def _counts(record: Record) -> bool:
    """Whether its absence says something: what a suite skips or an implementation does not do is never there."""
    return record.status not in (Status.SKIPPED, Status.UNSUPPORTED)


def _most(cell: str, old: Counted | None, new: Counted) -> Counted:
    if old is None or old == new:
        return new
    notes.print(f"[yellow]warning:[/] {safe(cell)} counts otherwise from launch to launch: {safe(old)} and {safe(new)}")
    pairs = ((old.peak_bytes, new.peak_bytes), (old.saved_bytes, new.saved_bytes), (old.flop, new.flop))
    return Counted(*(max((one for one in pair if one is not None), default=None) for pair in pairs))


def _read(file: Path) -> Baseline:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise StoreError(f"can't read {file}: {reason_of(error)}; write one with `fabench baseline save RUN {file}`") from None
    return parse(data, str(file))


def _list(folder: Path) -> int:
    files = sorted(folder.glob(_ENDING)) if folder.is_dir() else []
    if not files:
        raise StoreError(f"no baseline in {folder}; write one with `fabench baseline save RUN {folder}/NAME.toml`")
    for file in files:
        try:
            found = _read(file)
        except StoreError as error:
            notes.print(f"[yellow]warning:[/] {safe(error)}")
            continue
        torch = found.environment.get("packages.torch", "not known")
        typer.echo(safe(f"{file}  suite {found.suite}, {len(found.cells)} cells, torch {torch}"))
    return ExitCode.FINE


def _show(file: Path) -> int:
    from rich.console import Console
    from rich.table import Table

    found = _read(file)
    for name, value in found.environment.items():
        notes.print(safe(f"{name}: {value}"))
    table = Table("cell", "peak memory", "saved", "FLOPs", box=None, pad_edge=False)
    for cell, one in found.cells.items():
        table.add_row(*map(safe, (cell, format_bytes(one.peak_bytes), format_bytes(one.saved_bytes), format_count(one.flop))))
    for series, power in found.exponents.items():
        table.add_row(safe(series), f"n^{power:.2f}", "", "")
    for kernel, code in found.kernels.items():
        table.add_row(safe(kernel), f"{code.spills} spills", "", "")
    Console(width=None if Console().is_terminal else 240, highlight=False).print(table)
    return ExitCode.FINE
