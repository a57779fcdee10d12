"""The null device's rungs, with the structure of a GPU's ladder: events in a queue, a replayed graph, the host's clock.

An event pair in a complete queue reads the device's time alone; so does a graph. The host's clock reads the slower of the device and
the launches, and the way back. Each sample makes the call once for real and passes the scripted time of all its calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fabench.devices.base import Batch, Stopwatch, Unfit, Work

if TYPE_CHECKING:
    from fabench.devices.null import Device

__all__ = ["EventWatch", "GraphWatch", "HostWatch"]

_MOST_COPIES = 64


class _Watch(Stopwatch):
    """What all have in common: the work, whether caches are flushed, and the way to look at the driver."""

    def __init__(self, device: Device, work: Work, cold: bool, look: Callable[[], None]) -> None:
        self._device, self._work, self._look = device, work, look
        self._slower = device.script.speed.cold if cold else 1.0
        if self.clock in device.script.clocks.unfit:
            raise Unfit(device.script.clocks.unfit[self.clock])


class EventWatch(_Watch):
    """Events around each sample; the samples of a batch stand in the queue together."""

    clock = "null_event"
    batch = 16

    def __init__(self, device: Device, work: Work, cold: bool, look: Callable[[], None]) -> None:
        super().__init__(device, work, cold, look)
        if work.synchronises:
            self.batch = 1

    def take(self, loops: int, count: int) -> Batch:
        """Fewer where the queue does not hold so many. A queue that deadlocks costs a time-out, and the batch is halved."""
        device, clocks = self._device, self._device.script.clocks
        spent = device.spent(self._work.call)
        count = min(count, self.batch)
        if not self._work.synchronises:
            while clocks.synchronises or count * loops * spent.launches > clocks.queue:
                device.pass_time(clocks.timeout_s)
                if count == 1:
                    raise Unfit(
                        f"the queue deadlocked with one sample of {loops} calls: they wait inside or are too many launches"
                    )
                count = self.batch = max(1, count // 2)
        samples = []
        for _ in range(count):
            window = device.window(spent.busy_s * self._slower * loops, spent.launches * loops)
            taken_s = window.host_s if self._work.synchronises else window.device_s
            samples.append((taken_s * (1 + clocks.skew) + self._step(window.begun_s, window.host_s)) / loops)
        self._look()
        launch_s = spent.launches * device.script.speed.launch_s
        return Batch(tuple(samples), launch_s=launch_s, blocked=not self._work.synchronises)

    def _step(self, begun_s: float, taken_s: float) -> float:
        """By how much the clock jumps within a window."""
        clocks = self._device.script.clocks
        within = clocks.step_at_s is not None and begun_s <= clocks.step_at_s < begun_s + taken_s
        return clocks.step_s if within else 0.0


class GraphWatch(_Watch):
    """One launch for all calls of a sample. Cold: it goes through as many copies of the tensors as overflow the cache."""

    clock = "null_graph"

    def __init__(self, device: Device, work: Work, cold: bool, look: Callable[[], None]) -> None:
        super().__init__(device, work, cold, look)
        if work.synchronises or device.script.clocks.synchronises:
            raise Unfit("a call that waits for the device can't be captured")
        self.touched_bytes = work.touched_bytes
        if cold:
            if work.another is None or not work.touched_bytes:
                raise Unfit("there are no copies of the tensors to go through")
            copies = -(-2 * device.cache_bytes // work.touched_bytes)
            if copies > _MOST_COPIES:
                raise Unfit(f"it would take {copies} copies of the tensors to overflow the cache")
            self.touched_bytes = copies * work.touched_bytes

    def take(self, loops: int, count: int) -> Batch:
        """One by one."""
        spent = self._device.spent(self._work.call)
        samples = [self._device.window(spent.busy_s * self._slower * loops, 1).device_s / loops for _ in range(count)]
        self._look()
        return Batch(tuple(samples))


class HostWatch(_Watch):
    """The host's clock from an idle device until it is idle again."""

    clock = "null_host"

    def take(self, loops: int, count: int) -> Batch:
        """One by one."""
        spent = self._device.spent(self._work.call)
        samples = []
        for _ in range(count):
            samples.append(self._device.window(spent.busy_s * self._slower * loops, spent.launches * loops).host_s / loops)
            self._look()
        return Batch(tuple(samples))
