"""What `gate` and `compare` do alike with verdicts: their options, tolerances, files and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from fabench.cli._console import notes
from fabench.errors import ExitCode, StoreError, UsageError
from fabench.lines import reason_of
from fabench.units import parse_bytes

if TYPE_CHECKING:
    from fabench.report.verdicts import Ending

__all__ = [
    "Advisory",
    "Annotations",
    "AsJson",
    "Exact",
    "Inconclusive",
    "JUnit",
    "Memory",
    "Outputs",
    "Summary",
    "outputs",
    "tolerance",
]

Memory: TypeAlias = Annotated[
    str | None, typer.Option("--memory", help="What a call's peak may take more without being worse; 1 MiB if not given.")
]
Exact: TypeAlias = Annotated[bool, typer.Option("--exact", help="Peaks may take 4 KiB more and no more.")]
Inconclusive: TypeAlias = Annotated[
    str, typer.Option("--inconclusive", help="pass or fail: what undecided cells mean for the exit code.")
]
Advisory: TypeAlias = Annotated[bool, typer.Option("--advisory", help="Exit with 0 whatever was found, and say so.")]
Summary: TypeAlias = Annotated[Path | None, typer.Option("--summary", help="Append a Markdown summary to this file.")]
JUnit: TypeAlias = Annotated[Path | None, typer.Option("--junit", help="Write the verdicts as JUnit XML to this file.")]
Annotations: TypeAlias = Annotated[
    bool, typer.Option("--annotations", help="GitHub annotations on standard output; not together with --json.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where verdicts go beside the terminal, and what they mean for the exit code."""

    fail_undecided: bool
    advisory: bool
    summary: Path | None
    junit: Path | None
    annotations: bool
    as_json: bool

    def ending(self, code: ExitCode) -> Ending:
        """How the command ends with this exit code."""
        from fabench.report.verdicts import Ending

        return Ending(int(code), self.fail_undecided, self.advisory)

    def print(self, document: Mapping[str, Any]) -> None:
        """What goes to standard output."""
        if self.as_json:
            typer.echo(json.dumps(document, allow_nan=False))
        if self.annotations:
            sys.stdout.write(_rendered(document, "annotations").decode("utf-8"))
            sys.stdout.flush()

    def write(self, document: Mapping[str, Any]) -> None:
        """What goes to files. Raises StoreError."""
        if self.summary is not None:
            try:
                with self.summary.open("ab") as file:
                    file.write(_rendered(document, "step_summary"))
            except OSError as error:
                raise StoreError(f"can't write {self.summary}: {reason_of(error)}") from None
        if self.junit is not None:
            from fabench.report.formats.base import save

            save(self.junit, _rendered(document, "junit"))

    def leave(self, code: ExitCode) -> int:
        """The exit code, which is 0 where the verdict is advice; that is said."""
        if self.advisory and code != ExitCode.FINE:
            notes.print(f"advisory: the exit code would be {int(code)}, it is 0")
            return ExitCode.FINE
        return code


def _rendered(document: Mapping[str, Any], form: str) -> bytes:
    from fabench.export.verdicts import load, read

    return load(form)(read(json.loads(json.dumps(document)), "the document"))


def outputs(
    inconclusive: str, advisory: bool, summary: Path | None, junit: Path | None, annotations: bool, as_json: bool
) -> Outputs:
    """What was asked for. Raises UsageError."""
    if inconclusive not in ("pass", "fail"):
        raise UsageError(f"--inconclusive {inconclusive[:20]!r} is not known; there are pass, fail")
    if annotations and as_json:
        raise UsageError(
            "--json and --annotations both want standard output; keep the document (--json > FILE), then: "
            "fabench export FILE -f annotations"
        )
    return Outputs(inconclusive == "fail", advisory, summary, junit, annotations, as_json)


def tolerance(memory: str | None, exact: bool) -> int:
    """What a call's peak may take more without being worse, in bytes. Raises UsageError."""
    from fabench.analysis.worse import EXACT_BYTES, TOLERANCE_BYTES

    if exact and memory is not None:
        raise UsageError("--exact and --memory both say what peaks may take more; give one of them")
    if exact:
        return EXACT_BYTES
    try:
        return TOLERANCE_BYTES if memory is None else int(parse_bytes(memory))
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
