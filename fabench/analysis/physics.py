"""What a device can do at most, and whether a time claims more than that.

Peaks are those that the run measured (copy bandwidth, matrix product per dtype); where it measured none, the data sheet's of the same
product (`sheets`), which are higher and so refuse less. A time claims too much where, for bytes and FLOPs that can't be left out,

    (compulsory bytes - what a hot cache can hold) / time > 1.05 bandwidth,    or    FLOP / time > 1.05 product peak

Compulsory bytes: each input read once, each output written once (`cost`). 1.05: a peak is the best of several tries, and tries differ by
a few percent. Three things a plain comparison would get wrong:

- a hot cache spares at most its own size of that traffic; the rest has to come from memory also when the cache is warm;
- a host's copy reads the lines it is about to write, which its rate does not count: of 3 bytes moved 2 are counted. Work that writes
  less than half of its bytes may so exceed the copy rate, by up to 3/2 where it only reads (McCalpin's STREAM says the same of its copy);
- convolutions of a module may run float32 products on a GPU's tensor cores (TF32), at most half as fast as 16-bit ones;
- a network's 3x3 convolutions may need a quarter of the products that are counted (Winograd's algorithm, Lavin and Gray 2016), and their
  library may be faster than that of the matrix product (111 % of its rate were seen on a CPU).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fabench import cost
from fabench.analysis.sheets import GPUS
from fabench.schema import Case, Environment

__all__ = ["NO_FACTS", "TOLERANCE", "Facts", "Rate", "excess", "facts_of", "missing", "share", "spared_share"]

TOLERANCE = 1.05
# Where the environment does not say how large the last-level cache is.
_CACHE_BYTES = 64 * 2**20
_WRITE_ALLOCATE = 1.5
_WINOGRAD = 4.0
# The device without hardware, whatever its environment says.
_SCRIPTED = "null"
_HALVES = ("bfloat16", "float16")

_cost = cache(cost.of)


@dataclass(frozen=True, slots=True)
class Rate:
    """A peak per second, and whose: "the measured" or "the data sheet's"."""

    per_s: float
    source: str = "the measured"


@dataclass(frozen=True, slots=True)
class Facts:
    """What an environment says of one device; None or empty where it says nothing.

    `kind`: "cpu", "cuda", ... `scripted`: its times are written, not measured. `products` per dtype, in FLOP/s; `copy` in B/s.
    `noise`: the device's sheet as stored (`fabench.noise`).
    """

    kind: str = ""
    scripted: bool = False
    copy: Rate | None = None
    products: Mapping[str, Rate] = field(default_factory=dict)
    cache_bytes: int | None = None
    memory_bytes: int | None = None
    noise: Any = None

    @property
    def spared_bytes(self) -> int:
        """How much a hot cache can hold."""
        return self.cache_bytes or _CACHE_BYTES

    def product(self, dtype: str, scope: str) -> Rate | None:
        """The fastest that products of a case can be."""
        own = self.products.get(dtype)
        if own is None or self.kind == "cpu" or scope == "core" or dtype != "float32":
            return own
        tensor = [Rate(known.per_s / 2, known.source) for name, known in self.products.items() if name in _HALVES]
        return max([own, *tensor], key=lambda known: known.per_s)


NO_FACTS = Facts()


def share(part: float | None, whole: float | None) -> float | None:
    """part / whole; None where one is not known or the whole is nothing."""
    try:
        result = float(part) / float(whole)  # type: ignore[arg-type]
    except (TypeError, ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def facts_of(environments: Sequence[Environment], device: str) -> Facts:
    """What the first environment that knows the device says; "cuda:1" falls back on "cuda"."""
    kind = device.partition(":")[0]
    for environment in environments:
        for name in (device, kind):
            known = environment.devices.get(name)
            if isinstance(known, Mapping) and known:
                return _facts(kind, known)
    return Facts(kind, scripted=kind == _SCRIPTED)


def _facts(kind: str, known: Mapping[str, Any]) -> Facts:
    """Numbers out of an environment, which may hold anything."""
    peaks = known.get("peaks") if isinstance(known.get("peaks"), Mapping) else {}
    assert peaks is not None
    measured = peaks.get("flop_per_s") if isinstance(peaks.get("flop_per_s"), Mapping) else {}
    copy, products = _sheet(str(known.get("name")))
    products |= {str(dtype): Rate(rate) for dtype, value in (measured or {}).items() if (rate := _positive(value))}
    rate = _positive(peaks.get("copy_bytes_per_s"))
    cache_bytes, memory_bytes = (_positive(known.get(name)) for name in ("last_level_cache_bytes", "memory_bytes"))
    return Facts(
        kind,
        scripted=known.get("scripted") is True or kind == _SCRIPTED,
        copy=Rate(rate) if rate else copy,
        products=products,
        cache_bytes=None if cache_bytes is None else int(cache_bytes),
        memory_bytes=None if memory_bytes is None else int(memory_bytes),
        noise=known.get("noise"),
    )


def _positive(value: Any) -> float | None:
    number = share(value, 1.0) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    return number if number is not None and number > 0 else None


def _sheet(name: str) -> tuple[Rate | None, dict[str, Rate]]:
    """Peaks of the data sheet's product that `name` speaks of. Consumer cards clock beyond their sheet: of them only the bandwidth."""
    for gpu in GPUS:
        model = re.match(r"(RTX )?\w+", gpu.name)
        if model is None or not re.search(rf"\b{model[0]}\b", name) or re.search(r"\bNVL\b", name):
            continue
        source = "the data sheet's"
        rates = {"float32": gpu.tf32_flop_per_s, **dict.fromkeys(_HALVES, gpu.half_flop_per_s)}
        products = {} if gpu.name.startswith("RTX") else {dtype: Rate(rate, source) for dtype, rate in rates.items()}
        return Rate(gpu.bytes_per_s, source), products
    return None, {}


def excess(case: Case, orders: tuple[int, int], flop: int | None, time_s: float, cached: bool, facts: Facts) -> str:
    """Of which peak `time_s` claims how much, where that is impossible; else "". `orders`: powers of n in time and memory.

    `cached`: the cache was hot. `flop` counted by torch, None or 0 where it counted none: then the predicted ones. Of a whole network
    nothing is predicted: only its counted products can be too fast, by more than an algorithm spares.
    """
    known = None if case.scope == "network" else _cost(case, *orders)
    product = facts.product(case.dtype, case.scope)
    reached = share(flop or (None if known is None else known.flop), time_s)
    spared = _WINOGRAD if case.scope == "network" else 1.0
    if product is not None and reached is not None and reached > TOLERANCE * spared * product.per_s:
        return f"{reached / product.per_s:.0%} of {product.source} matrix-product peak"
    if known is None:
        return ""
    moved = known.compulsory_bytes - (facts.spared_bytes if cached else 0)
    reached = share(moved, time_s)
    if facts.copy is not None and reached is not None and reached > TOLERANCE * _reads(case, known, facts) * facts.copy.per_s:
        claimed = known.compulsory_bytes / time_s / facts.copy.per_s
        return f"{claimed:.0%} of {facts.copy.source} copy bandwidth"
    return ""


def _reads(case: Case, known: cost.Cost, facts: Facts) -> float:
    """By how much traffic of this case may exceed a copy's, because it writes less of its bytes."""
    if facts.kind != "cpu" or facts.copy is None or known.compulsory_bytes <= 0:
        return 1.0
    outputs = known.output_bytes
    inputs = {"fwd": 1, "bwd": 2, "fwd_bwd": 3}[case.mode]
    gradients = 0 if case.mode == "fwd" else (known.compulsory_bytes - outputs * (2 if case.mode == "fwd_bwd" else 1)) / inputs
    written = (gradients + (0 if case.mode == "bwd" else outputs)) / known.compulsory_bytes
    return max(1.0, _WRITE_ALLOCATE / (1 + written))


def missing(case: Case, facts: Facts) -> str:
    """Which peaks are not known that a time of this case would have to stay below; "" if all are."""
    unknown = [] if facts.copy is not None else ["bandwidth"]
    unknown += [] if facts.product(case.dtype, case.scope) is not None else [f"{case.dtype} products"]
    return " and ".join(unknown)


def spared_share(case: Case, orders: tuple[int, int], time_s: float, facts: Facts) -> float | None:
    """How long it takes to read from memory what a hot cache spared, as a share of `time_s`; None where the bandwidth is not known, or the traffic."""
    if case.scope == "network":
        return None
    spared = min(_cost(case, *orders).compulsory_bytes, facts.spared_bytes)
    return None if facts.copy is None else share(spared, facts.copy.per_s * time_s)
