"""The evidence grade of a cell's time, A to D, and the warnings behind it: one pure function of the record and its device's facts.

The grade is the worst that any warning leaves. A: every rule passed, and everything that could hide a fault is known. B: good, with a
reservation that is said. C: the size is right, the digits are not. D: not a measurement of this work. Cells without a time have no grade.

| warning         | rule                                                       | why that bound                                            | grade |
|-----------------|------------------------------------------------------------|-----------------------------------------------------------|-------|
| scripted        | the device's clock is a script                             | nothing was measured                                      | D     |
| impossible      | a sample of 0 s or less; above 1.05 of a peak (`physics`)  | peaks are the best of several tries, which differ by less | D     |
| ecc_errors      | any uncorrected memory error meanwhile                     | the card's contents can't be trusted                      | D     |
| clocks_disagree | paired: > 1 % and > 1 us a window; > 5 %                   | reading two clocks costs a fraction of a microsecond      | C; D  |
|                 | apart: beyond both intervals and > 5 %; > 20 %             | samples of another minute differ by a few percent;        | C; D  |
|                 |   (not where launches explain the slower one)              |   a wrong stream or a lost kernel by factors              |       |
| noisy           | half of the median's 95 % interval > 2 %; 5 %; 25 %        | 2 % is the default target; 5 % what gates ask for         | B C D |
| few_samples     | fewer than 6 samples                                       | with 5 no two samples enclose the median with 95 %        | C     |
|                 | fewer than 12; worth fewer than 6 (autocorrelation)        | the range of 6 that repeat by 0.7 covers it in 77 %       | B     |
| stopped_by_time | the interval did not reach the suite's target              | what was asked for was not reached                        | B     |
| noise_floor     | A against A differs by > 10 % at this duration             | the interval knows one process, the floor several         | B     |
| drift           | a trend of > 2 % (`shape`); > 10 %                         | 2 % is seen and matters; beyond 10 % no median stands     | B; C  |
| two_modes       | two levels >= 5 % apart (`shape`); each >= 25 % of samples | a median flips between levels of nearly equal share       | B; C  |
| warm_up         | samples still got faster at the warm-up's bound            | the ramp's rest is in the samples (drift sees > 2 %)      | B     |
|                 |   (not known with fewer than 4 samples)                    |                                                           |       |
| resolution      | window < 10 steps of the clock (events 0.5 us, host 0.1 us)| one step is 10 % of the window                            | C     |
| launch_bound    | launch > 80 % of the time, by a clock the host feeds       | the host was busy submitting: the device waited           | C     |
| queue_open      | queue incomplete when the device began; launch > 50 %      | gaps are in the samples; small where launches are short   | B; C  |
| one_clock       | no second clock                                            | an event on a wrong stream looks fine by itself           | B     |
| warm_rotation   | cold by rotation through no more than the cache holds      | 36 % off where it was noticed (flashinfer#4468)           | C     |
| hot_cache       | hot; what the cache spared would take > 25 % longer cold   | a factor of 1.6 was seen (TileGym#82); a quarter misleads | B     |
| throttled       | a power cap, SM clock fell > 3 %; thermal, > 10 %          | clocks step by 1 % or less; capped cards lose 15 %        | B; C  |
|                 | a CPU's frequency fell > 10 %                              | its reading jitters by several percent                    | B     |
| driver_silent   | GPU without clocks, reasons or process list                | throttling and neighbours leave no other sure trace       | B     |
| foreign_gpu     | another process there; > 512 MiB or unknown                | a desktop holds less and mostly sleeps                    | B; C  |
| foreign_load    | others took > 5 % of these processors; > 20 %              | below, others are the kernel's own; 20 ms is two ticks    | B; C  |
|                 |   (unknown: this process waited as long for a processor;   |                                                           |       |
|                 |   unknown too: as many runnable tasks as processors)       |                                                           |       |
| steal           | the hypervisor took > 1 %; > 5 %                           | at 5 % every twentieth window is hit                      | B; C  |
| quota           | a container's quota stopped it for > 1 %; > 5 %            | as steal: it is stopped in the middle of windows          | B; C  |
| preempted       | CPU time < 90 % of wall time; < 70 %                       | a call that runs takes a processor all the time           | B; C  |
|                 | switched away in half of the samples, > 10 times a second  | the median has interruptions in it                        | B     |
| host_unknown    | neither CPU time nor others' load; or no page faults       | a busy host slows a CPU cell without another trace        | B     |
| page_faults     | at 0.5 us each > 2 % of the time; > 10 %                   | what a fault with zeroing costs; malloc's flip doubles it | B; C  |
| peaks_unknown   | no bandwidth, product peak or cost                         | nothing says whether the time is too good                 | B     |
| check_margin    | error > 70 % of its tolerance                              | that near, the seed decides whether it passes             | B     |
| unchecked       | no result was compared                                     | wrong work may be fast                                    | B     |
| ledger_open     | bytes that no line explains; > 5 % of the peak             | the ledger closes to the byte where it can be watched     | B; C  |
| memory_near     | > 90 % of the limit; device > 95 % full                    | near it allocators search, free and retry                 | B     |
| cached_compile  | a compiler's cache on disk was used                        | touches the compile column, not the time                  | A     |

Not known, and yet A: a CPU's frequency (its changes show as drift or levels of the samples; CPU time, steal and a second clock tell of
everything else that could slow a call), the noise floor (it speaks of differences between cells, not of this one), ECC counters (many cards have none), energy, the ledger.
What the host does counts where calls run on it or it feeds the clock; a queue that stood complete, or a graph, does not see it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fabench.analysis import _rules_of_place as place
from fabench.analysis import _rules_of_time as time
from fabench.analysis.doubts import Code, Doubt
from fabench.analysis.physics import Facts, excess, missing, share, spared_share
from fabench.measured import Check, Memory, Timing
from fabench.median import median
from fabench.schema import Record, Status, to_json
from fabench.units import format_duration

__all__ = ["GRADES", "Evidence", "as_line", "assess", "common", "timed"]

GRADES = ("A", "B", "C", "D")
_LONGEST_S = 1e9  # more than thirty years: no clock ran that long


@dataclass(frozen=True, slots=True)
class Evidence:
    """The grade, None for a cell without a time, and the warnings behind it, the gravest first."""

    grade: str | None
    warnings: tuple[Doubt, ...] = ()

    @property
    def impossible(self) -> str | None:
        """Why no call can have taken the time that was read, or None."""
        return next((doubt.text for doubt in self.warnings if doubt.code == Code.IMPOSSIBLE), None)

    @property
    def codes(self) -> tuple[str, ...]:
        """The warnings' names."""
        return tuple(doubt.code.value for doubt in self.warnings)


def timed(record: Record) -> Timing | None:
    """The timing of a cell that gave a time."""
    return record.timing if record.status == Status.OK and record.timing is not None and record.timing.samples_s else None


def assess(record: Record, facts: Facts) -> Evidence:
    """The evidence for the record's time. Depends on nothing else, takes any record, raises nothing."""
    timing = timed(record)
    if timing is None:
        return Evidence(None)
    order = list(Code)
    doubts = sorted(_doubts(record, timing, facts), key=lambda doubt: (-GRADES.index(doubt.grade), order.index(doubt.code)))
    return Evidence(max((doubt.grade for doubt in doubts), default="A"), tuple(doubts))


def _doubts(record: Record, timing: Timing, facts: Facts) -> Iterator[Doubt]:
    if facts.scripted:
        yield Doubt(Code.SCRIPTED, "times from a scripted clock: no measurement", "D")
    if all(0 < sample < _LONGEST_S for sample in timing.samples_s):
        yield from _physics(record, timing, facts)
        yield from time.sampling(timing, facts)
        yield from time.clocks(timing, facts)
        yield from place.host(timing, record.telemetry, facts)
    else:
        yield Doubt(Code.IMPOSSIBLE, "the clock read 0 s or less, or no number", "D")
    yield from place.gpu(record.telemetry, facts)
    yield from _checked(record.check)
    yield from _memory(record.memory, record.memory_limit_bytes, facts)
    if timing.compile_s is not None and timing.compile_cached:
        yield Doubt(Code.CACHED_COMPILE, "the compiler found its work done on disk", "A")


def _physics(record: Record, timing: Timing, facts: Facts) -> Iterator[Doubt]:
    case, time_s = record.cell.case, median(timing.samples_s)
    if record.time_order is None or record.memory_order is None:
        yield Doubt(Code.PEAKS_UNKNOWN, "what the case must cost is not known", "B")
        return
    orders, hot = (record.time_order, record.memory_order), timing.cache == "hot"
    if claimed := excess(case, orders, record.flop, time_s, hot, facts):
        yield Doubt(Code.IMPOSSIBLE, f"{format_duration(time_s)} would be {claimed}", "D")
    if unknown := missing(case, facts):
        yield Doubt(Code.PEAKS_UNKNOWN, f"no peak of {unknown} is known", "B")
    spared = spared_share(case, orders, time_s, facts) if hot else None
    if spared is not None and spared > 0.25:
        yield Doubt(Code.HOT_CACHE, f"from memory its tensors would take up to {spared:.0%} longer", "B")


def _checked(check: Check | None) -> Iterator[Doubt]:
    if check is None or not check.tensors:
        yield Doubt(Code.UNCHECKED, "no result was compared", "B")
        return
    used = [(math.inf if one.error is None else share(one.error, one.tolerance), one.name) for one in check.tensors]
    worst, name = max(((math.inf if part is None else part, name) for part, name in used), key=lambda item: item[0])
    if worst > 0.7:
        yield Doubt(Code.CHECK_MARGIN, f"{name} used up {worst:.0%} of its tolerance", "B")


def _memory(memory: Memory | None, limit_bytes: int | None, facts: Facts) -> Iterator[Doubt]:
    if memory is None:
        return
    residual = memory.ledger.residual_bytes if memory.ledger is not None else 0
    if residual:
        large = 20 * abs(residual) > memory.delta_bytes
        yield Doubt(Code.LEDGER_OPEN, f"{residual:,} bytes belong to no line", "C" if large else "B")
    used, full = share(memory.peak_bytes, limit_bytes), share(memory.device_bytes, facts.memory_bytes)
    if used is not None and used > 0.9:
        yield Doubt(Code.MEMORY_NEAR, f"{used:.0%} of the cell's memory limit was held", "B")
    elif full is not None and full > 0.95:
        yield Doubt(Code.MEMORY_NEAR, f"the device's memory was {full:.0%} full", "B")


def as_line(record: Record, evidence: Evidence) -> str:
    """The record as one line of JSON, with `"evidence": {"grade", "warnings": [{"code", "text", "advice"}]}` as its last field."""
    said: dict[str, Any] = {
        "grade": evidence.grade,
        "warnings": [{"code": one.code.value, "text": one.text, "advice": one.code.advice} for one in evidence.warnings],
    }
    return f'{to_json(record)[:-1]},"evidence":{json.dumps(said, ensure_ascii=False, separators=(",", ":"))}}}'


def common(found: Sequence[Evidence]) -> list[tuple[Code, int]]:
    """The warnings that lower a grade and how many cells have each, the most frequent first."""
    lowering = Counter(one.code for evidence in found for one in evidence.warnings if one.grade != GRADES[0])
    return sorted(lowering.items(), key=lambda item: (-item[1], list(Code).index(item[0])))
