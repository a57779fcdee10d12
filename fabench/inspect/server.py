"""`python -m fabench.inspect.server`: reads one request from standard input, writes a sheet per line.

A request is {"implementation", "target", "cases": [Case, ...], "precision", "candidates": bool}. With candidates, what tuning may choose is
compiled instead of what is launched. Lines: {"event": "compiler", "triton": ..},
{"event": "sheet", "value": KernelSheet} for each kernel, {"event": "error", "text": ..} where nothing can be compiled.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from fabench.codec import decode, encode
from fabench.schema import Case
from fabench.sheet import KernelSheet

__all__ = ["main"]


def main() -> None:
    """One request, then the end."""
    request = json.loads(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache  # what is shown was compiled now, by this compiler
        try:
            _answer(request)
        except ValueError as error:
            _say(event="error", text=str(error))
        except ImportError as error:
            _say(event="error", text=f"{error}; install Triton, which torch's CUDA build brings along")


def _say(**line: Any) -> None:
    print(encode(line), flush=True)  # noqa: T201 - the pipe to the parent


def _answer(request: dict[str, Any]) -> None:
    import triton

    from fabench.attention.base import load

    implementation = load(request["implementation"])
    if not hasattr(implementation.module, "compile_for"):
        _say(event="error", text=f"{request['implementation']} has no kernels of its own to inspect; triton_factorized has")
        return
    _say(event="compiler", triton=triton.__version__)
    for raw in request["cases"]:
        _compile(implementation.module, request, decode(Case, raw))


def _compile(module: Any, request: dict[str, Any], case: Case) -> None:
    from fabench.inspect.driver import compiler_for, facts

    target, precision = request["target"], request["precision"]
    plan = module.plan_for(case, target, precision)
    planned = {launch.kernel: launch for launch in (*plan.forward, *(plan.backward if case.needs_gradients else ()))}

    def seen(kernel: str, programs: int, code: Any, options: dict[str, Any]) -> None:
        launch = planned[kernel]
        sheet: dict[str, Any] = {
            "implementation": request["implementation"], "kernel": kernel, "target": target, "dtype": case.dtype, "precision": precision,
            "d_k": case.d_k, "d_v": case.d_v, "n": case.n, "rows": case.batch * case.heads, "programs": programs,
            "read_bytes": launch.read_bytes, "written_bytes": launch.written_bytes, "flop": 2 * launch.mac,
            "shared_limit_bytes": plan.target.shared_bytes, "loop_positions": options.get("BLOCK_N"), "warps": options.get("num_warps"),
            "tiling": _label(options), "walked": launch.walked, "nested": launch.nested,
        }  # fmt: skip
        if isinstance(code, Exception):
            sheet["reason"] = " ".join(str(code).split())[:300] or type(code).__name__
        else:
            sheet |= facts(target, code, options["num_warps"])
        _say(event="sheet", value=KernelSheet(**sheet))

    compiler = compiler_for(target, seen)
    if not request.get("candidates"):
        module.compile_for(case, target, precision, compiler)
        return
    for name, tilings in module.candidates_for(case, target, precision):
        module.compile_for(case, target, precision, partial(_only, name, compiler), tilings)


def _label(options: dict[str, Any]) -> str | None:
    if "BLOCK_N" not in options:
        return None
    blocks = "x".join(str(options[name]) for name in ("BLOCK_N", "BLOCK_K", "BLOCK_V"))
    return f"{blocks}, {options['num_warps']} warps, {options['num_stages']} stages"


def _only(name: str, compile_one: Callable[..., None], kernel: Any, programs: int, *arguments: Any, **options: Any) -> None:
    """Compiles one kernel of all that a case launches."""
    if kernel.__name__ == name:
        compile_one(kernel, programs, *arguments, **options)


if __name__ == "__main__":
    main()
