"""A device whose clock is scripted: calls and samples take the time that the script says, and no other time passes."""

from collections.abc import Callable, Iterator
from typing import Any

from fabench.devices.base import Batch, Call, Device, Peak, Stopwatch, Unfit, Work
from fabench.measure import timing
from fabench.measured import Timing
from fabench.schema import Measure

__all__ = ["Scripted", "timed"]


class Scripted(Device):
    """`script`: seconds per call of one sample after the other. `batch`, `resolution_s`: the clock's. `unfit`: clocks that time nothing."""

    def __init__(
        self,
        script: Iterator[float],
        *,
        clocks: tuple[str, ...] = ("scripted",),
        batch: int = 1,
        resolution_s: float | None = None,
        unfit: tuple[str, ...] = (),
    ) -> None:
        super().__init__("cpu")
        self.clocks = clocks
        self.script, self.batch, self.resolution_s, self.unfit = script, batch, resolution_s, unfit
        self.now = 0.0
        self.asked: list[tuple[str, int, int, bool]] = []  # clock, loops, count, cold

    def now_s(self) -> float:
        return self.now

    def missing(self) -> str | None:
        return None

    def prepare(self, measure: Measure) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"threads": 1}

    def synchronise(self) -> None: ...

    def stopwatch(self, clock: str, work: Work, cold: bool, look: Callable[[], None]) -> Stopwatch:
        if clock in self.unfit:
            raise Unfit("it times nothing")
        return _Watch(self, clock, cold)

    def peak(self, call: Call) -> Peak:
        return Peak(0)

    def rates(self) -> dict[str, Any]:
        return {}

    def calls(self, seconds: Iterator[float]) -> Call:
        """A call that takes the next of `seconds` on the host, for the warm-up."""

        def call() -> None:
            self.now += next(seconds)

        return call


class _Watch(Stopwatch):
    def __init__(self, device: Scripted, clock: str, cold: bool) -> None:
        self.device, self.clock, self.cold = device, clock, cold
        self.batch, self.resolution_s = device.batch, device.resolution_s

    def take(self, loops: int, count: int) -> Batch:
        self.device.asked.append((self.clock, loops, count, self.cold))
        samples = [next(self.device.script) for _ in range(count)]
        self.device.now += loops * sum(samples)
        return Batch(tuple(samples))


def timed(device: Scripted, call: Call, **settings: Any) -> Timing:
    """What `time_call` finds; sees that the phases were announced in their order."""
    phases: list[str] = []
    result, _ = timing.time_call(device, Work(call), Measure(**settings), timing.FirstCall(0.5), phases.append)
    assert phases == ["warm-up", "timing"]
    return result
