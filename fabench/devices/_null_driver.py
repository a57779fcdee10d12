"""What the null device's driver tells beside a timing: scripted clocks, power, reasons, other processes, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabench.devices.base import Observer
from fabench.measured import GpuLook, Telemetry

if TYPE_CHECKING:
    from fabench.devices.null import Device

__all__ = ["ScriptedObserver"]

_APART_S = 0.02


class ScriptedObserver(Observer):
    """Looks `_APART_S` of the device's own time apart at least."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._start = device.now_s()
        self._looks = [self._read()]

    def look(self) -> None:
        """Reads once, unless it was read a moment ago."""
        if self._device.now_s() - self._start - self._looks[-1].at_s >= _APART_S:
            self._looks.append(self._read())

    def finish(self) -> Telemetry:
        """The last look, and everything together."""
        driver = self._device.script.driver
        self._looks.append(self._read())
        refused = driver.unsupported
        return Telemetry(
            looks=tuple(self._looks),
            foreign_processes=None if "processes" in refused else driver.foreign_processes,
            foreign_bytes=None if "processes" in refused else driver.foreign_bytes,
            ecc_errors=None if "ecc_errors" in refused else driver.ecc_errors,
            reads_failed=tuple(f"{query}: not supported [scripted]" for query in refused),
        )

    def _read(self) -> GpuLook:
        driver, now_s = self._device.script.driver, self._device.now_s()
        slower, reasons = self._device.held_down(now_s)
        refused = driver.unsupported
        return GpuLook(
            at_s=now_s - self._start,
            sm_hz=None if "sm_clock" in refused else round(driver.sm_hz / slower),
            memory_hz=None if "memory_clock" in refused else driver.memory_hz,
            power_w=None if "power" in refused else driver.power_w / slower,
            temperature_c=None if "temperature" in refused else driver.temperature_c,
            reasons=None if "clock_reasons" in refused else reasons,
        )
