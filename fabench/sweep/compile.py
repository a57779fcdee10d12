"""The parent's side of `fabench inspect`: one compiling process per target, its lines read back as sheets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from fabench.codec import DecodeError, decode, encode
from fabench.errors import WorkerError
from fabench.schema import Case
from fabench.sheet import KernelSheet

__all__ = ["compiled"]

_TIMEOUT_S = 900.0


def compiled(
    implementation: str, target: str, precision: str, cases: Sequence[Case], candidates: bool = False
) -> Iterator[str | KernelSheet]:
    """The compiler's version, then a sheet per kernel and case, or per candidate of each. Raises WorkerError where nothing compiles."""
    request = encode(
        {
            "implementation": implementation,
            "target": target,
            "precision": precision,
            "cases": list(cases),
            "candidates": candidates,
        }
    )
    command = [sys.executable, "-m", "fabench.inspect.server"]
    try:
        done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise WorkerError(f"compiling for {target} took longer than {_TIMEOUT_S:.0f} s; ask for fewer widths or types") from None
    for line in done.stdout.splitlines():
        yield from _read(line, target)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise WorkerError(f"the compiler for {target} ended early: {last[:300]}")


def _read(line: str, target: str) -> Iterator[str | KernelSheet]:
    try:
        message = json.loads(line)
        if message["event"] == "compiler":
            yield str(message["triton"])
        elif message["event"] == "sheet":
            yield decode(KernelSheet, message["value"])
        else:
            raise WorkerError(str(message["text"])[:300])
    except (ValueError, KeyError, TypeError, DecodeError) as error:
        raise WorkerError(f"the compiler for {target} said something else than a sheet: {error}") from None
