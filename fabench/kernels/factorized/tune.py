"""Times the candidates of each kernel on a device, and keeps what is faster: `python -m fabench.kernels.factorized.tune`, for `fabench tune`.

Reads one request, {"d", "dtype", "precision", "n", "heads", "batch", "softmax", "file"} (no file: the user's own), and writes a line for each candidate and each
choice. A candidate takes the place of the fixed configuration only where it is at least 3 % faster: less is noise, and other bits.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch

from fabench.kernels.factorized import choice, host
from fabench.kernels.factorized.plan import Plan
from fabench.kernels.factorized.tilings import Shape, Tiling, candidates

__all__ = ["best", "main", "timed"]

_WORTH = 0.97
Seconds = Callable[[Callable[[], None]], float]


def timed(shape: Shape, device: torch.device, seconds: Seconds) -> Iterator[tuple[str, Tiling, float, str | None]]:
    """Each kernel, candidate, its time by `seconds`, and why there is none (then it is infinite). Inputs are N(0, 1)."""
    dtype: torch.dtype = getattr(torch, shape.dtype)
    heads = (shape.batch, shape.heads)
    sizes = (
        (*heads, shape.n, shape.d_k),
        (*heads, shape.m, shape.d_k),
        (*heads, shape.m, shape.d_v),
        (*heads, shape.n, shape.d_v),
    )
    q, k, v, grad = (torch.randn(size, device=device, dtype=torch.float32).to(dtype) for size in sizes)
    plan = Plan(shape, host.target_of(device))
    for launch in (*plan.forward, *plan.backward):
        if launch.tiling is None:
            continue
        for one in candidates(launch.kernel, shape, plan.target):
            found: list[float] = []

            def time_it(
                kernel: Any, programs: int, *arguments: Any, _name: str = launch.kernel, _to: list[float] = found, **options: Any
            ) -> None:
                kernel[(programs,)](*arguments, **options)
                if kernel.__name__ == _name:
                    _to.append(seconds(lambda: kernel[(programs,)](*arguments, **options)))

            reason = None
            try:
                with host.launching(time_it), host.with_tilings({launch.kernel: one}):
                    _, kept = host.forward(q, k, v, None, 1.0, shape.softmax, shape.precision)
                    if not found:
                        host.backward(grad, q, k, v, None, kept, 1.0, shape.softmax, shape.precision)
            except Exception as error:  # whatever a candidate dies of, it is not taken
                reason = " ".join(str(error).split())[:200] or type(error).__name__
            yield launch.kernel, one, found[0] if found and reason is None else math.inf, reason


def best(times: dict[Tiling, float]) -> Tiling:
    """The fixed configuration, which comes first, or a candidate that is clearly faster."""
    fixed = next(iter(times))
    fastest = min(times, key=times.__getitem__)
    return fastest if times[fastest] < _WORTH * times[fixed] else fixed


def _on_gpu(call: Callable[[], None]) -> float:
    from triton.testing import do_bench

    return float(do_bench(call, warmup=10, rep=50, return_mode="median")) / 1e3


def _say(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """One request, then the end."""
    request = json.loads(sys.stdin.read())
    if not torch.cuda.is_available():
        _say(
            event="error",
            text="tuning needs a GPU, and torch sees none here; without tuning kernels take their fixed configurations",
        )
        return
    n, d = request["n"], request["d"]
    shape = Shape(
        request["batch"], request["heads"], n, n, d, d, request["dtype"], request["softmax"], False, request["precision"]
    )
    device = torch.device("cuda")
    times: dict[str, dict[Tiling, float]] = {}
    for kernel, one, seconds, reason in timed(shape, device, _on_gpu):
        times.setdefault(kernel, {})[one] = seconds
        _say(
            event="timed",
            kernel=kernel,
            tiling=list(astuple(one)),
            seconds=None if math.isinf(seconds) else seconds,
            reason=reason,
        )
    found = {kernel: best(known) for kernel, known in times.items()}
    try:
        file = Path(request["file"]) if request["file"] else choice.path() or choice.users_path()
        choice.remember(file, shape, host.target_of(device), found)
    except (OSError, ValueError) as error:
        _say(event="error", text=str(error))
        return
    for kernel, one in found.items():
        _say(event="chosen", kernel=kernel, tiling=list(astuple(one)), fixed=one == next(iter(times[kernel])))
    _say(event="written", file=str(file))


if __name__ == "__main__":
    main()
