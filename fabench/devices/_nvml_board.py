"""One GPU as its driver tells it: facts, memory, energy, clocks, processes, ECC. `_nvml` finds it.

Each query may be unsupported, by the package, the driver or the board. Its value is then None, and `Board.failed` has the query's name and
the driver's reason; nothing here raises. Once the driver says that the GPU is lost it is not asked again: every further query may hang.

The instances of a card that is cut by MIG have memory and processes of their own; clocks, power, temperature and ECC are the card's,
and its energy can't be divided.

Process ids are the host's. In another PID namespace they can be compared only if the driver translates them, which shows in this
process's own id being listed; otherwise it is not known which entry is this process, and none is called foreign. A driver that
translates them lists no process of other namespaces: their bytes show in the device's memory only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fabench.measured import GpuLook

__all__ = ["REASONS", "Board", "decoded", "lost"]

# Why clocks are held down, by bit. The driver's older and newer names for a bit mean the same; 9 and 10 are of old drivers only.
REASONS = (
    "gpu_idle",
    "applications_clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
    "display_clock_setting",
    "board_limit",
    "reliability",
)
_UNKNOWN_REASON = "unknown"
_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # a constant of Linux (PROC_PID_INIT_INO)
_FUNCTION_NOT_FOUND = 13
_LOST = (15, 16)  # fallen off the bus; needs a reset
_MHZ = 1_000_000


def lost(error: BaseException) -> bool:
    """Whether the driver says by this error that the GPU fell off its bus or needs a reset: nothing will work on it any more."""
    return type(error).__module__ == "pynvml" and getattr(error, "value", None) in _LOST


class Board:
    """One GPU, or one MIG instance of it. `library` is pynvml, started; `failed`: queries that failed, each with the driver's reason."""

    def __init__(self, library: Any, uuid: str, card: Any, instance: Any = None) -> None:
        self.uuid = uuid
        self.is_lost = False
        self.failed: dict[str, str] = {}
        self._library, self._card, self._instance = library, card, instance
        self._handle = card if instance is None else instance

    def facts(self) -> dict[str, Any]:
        """What identifies the board and decides its speed, and its driver; None where the driver does not tell."""
        library, card = self._library, self._card
        cuda = self._ask("cuda_driver", ("nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"))
        bus = self._ask("pci_bus_id", ("nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo"), card)
        reserve = self._ask("driver_reserve", ("nvmlDeviceGetMemoryInfo",), self._handle, library.nvmlMemory_v2)
        return {
            "board_uuid": self.uuid,
            "driver": decoded(self._ask("driver", ("nvmlSystemGetDriverVersion",))),
            "cuda_driver": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            "vbios": decoded(self._ask("vbios", ("nvmlDeviceGetVbiosVersion",), card)),
            "pci_bus_id": None if bus is None else decoded(bus.busId),
            "ecc": _enabled(self._ask("ecc_mode", ("nvmlDeviceGetEccMode",), card)),
            "mig": _enabled(self._ask("mig_mode", ("nvmlDeviceGetMigMode",), card)),
            "persistence": _enabled(self._ask("persistence", ("nvmlDeviceGetPersistenceMode",), card)),
            "power_limit_w": _watts(self._ask("power_limit", ("nvmlDeviceGetEnforcedPowerLimit",), card)),
            "power_limit_default_w": _watts(
                self._ask("power_limit_default", ("nvmlDeviceGetPowerManagementDefaultLimit",), card)
            ),
            "max_sm_hz": _hz(self._ask("max_sm_clock", ("nvmlDeviceGetMaxClockInfo",), card, library.NVML_CLOCK_SM)),
            "max_memory_hz": _hz(self._ask("max_memory_clock", ("nvmlDeviceGetMaxClockInfo",), card, library.NVML_CLOCK_MEM)),
            "driver_reserved_bytes": None if reserve is None else int(reserve.reserved),
        }

    def memory(self) -> tuple[int | None, int | None]:
        """This process's bytes, and all used bytes of the device; the driver's own reserve counts as used."""
        information = self._ask("memory", ("nvmlDeviceGetMemoryInfo",), self._handle)
        return (self.processes() or {}).get(os.getpid()), None if information is None else int(information.used)

    def energy_j(self) -> float | None:
        """All energy since the driver was loaded. The counter steps by 10 ms or more. None on an instance: the card's is everybody's."""
        if self._instance is not None:
            return None
        millijoules = self._ask("energy", ("nvmlDeviceGetTotalEnergyConsumption",), self._card)
        return None if millijoules is None else millijoules / 1000

    def look(self, at_s: float) -> GpuLook:
        """Clocks, power, temperature and what holds the clocks down, now; `at_s` is what the caller's clock says."""
        library, card = self._library, self._card
        bits = self._ask(
            "clock_reasons", ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"), card
        )
        return GpuLook(
            at_s=at_s,
            sm_hz=_hz(self._ask("sm_clock", ("nvmlDeviceGetClockInfo",), card, library.NVML_CLOCK_SM)),
            memory_hz=_hz(self._ask("memory_clock", ("nvmlDeviceGetClockInfo",), card, library.NVML_CLOCK_MEM)),
            power_w=_watts(self._ask("power", ("nvmlDeviceGetPowerUsage",), card)),
            temperature_c=self._ask("temperature", ("nvmlDeviceGetTemperature",), card, library.NVML_TEMPERATURE_GPU),
            reasons=None if bits is None else _words(bits),
        )

    def processes(self) -> dict[int, int | None] | None:
        """Bytes per process id (None where the driver does not say how many); None where it lists no processes at all."""
        found: dict[int, int | None] = {}
        for what, kind in (("processes", "Compute"), ("graphics_processes", "Graphics")):
            if kind == "Graphics" and self._instance is not None:
                continue
            names = (f"nvmlDeviceGet{kind}RunningProcesses_v3", f"nvmlDeviceGet{kind}RunningProcesses_v2")
            listed = self._ask(what, names, self._handle)
            if listed is None and kind == "Compute":
                return None
            for process in listed or ():
                known, told = found.get(process.pid), process.usedGpuMemory
                found[process.pid] = known if told is None else max(int(told), known or 0)
        return found

    def foreign(self) -> dict[int, int | None] | None:
        """Those processes that are not this one; None where the driver's ids can't be told from this process's."""
        found = self.processes()
        if found is None:
            return None
        if os.getpid() not in found and not _has_the_drivers_ids():
            self.failed["process_ids"] = "they are of another namespace"
            return None
        return {process: size for process, size in found.items() if process != os.getpid()}

    def ecc_errors(self) -> int | None:
        """Uncorrected memory errors of the card since the driver was loaded; None where it does not count."""
        kinds = (self._library.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, self._library.NVML_VOLATILE_ECC)
        found: int | None = self._ask("ecc_errors", ("nvmlDeviceGetTotalEccErrors",), self._card, *kinds)
        return found

    def _ask(self, what: str, names: tuple[str, ...], *arguments: Any) -> Any:
        """Calls the first of `names` that package and driver both have. None, and `what` among the failed, where none answers."""
        if self.is_lost:
            return None
        why = "not in this pynvml"
        for name in names:
            function = getattr(self._library, name, None)
            if function is None:
                continue
            try:
                return function(*arguments)
            except UnicodeDecodeError:
                why = "no text"
                break
            except self._library.NVMLError as error:
                why = str(error)
                self.is_lost = lost(error)
                if error.value != _FUNCTION_NOT_FOUND:
                    break
        self.failed[what] = why
        return None


def decoded(text: bytes | str | None) -> str | None:
    """Text as some versions of the package give it, bytes as others do."""
    return text.decode(errors="replace") if isinstance(text, bytes) else text


def _words(bits: int) -> tuple[str, ...]:
    """The reasons' words in the order of their bits. Bits that no word is known for are one "unknown"."""
    named = tuple(word for bit, word in enumerate(REASONS) if bits >> bit & 1)
    return (*named, _UNKNOWN_REASON) if bits >> len(REASONS) else named


def _enabled(answer: Any) -> bool | None:
    """An on/off state; where the driver tells two, [current, pending], the current one."""
    return None if answer is None else bool(answer[0] if isinstance(answer, list) else answer)


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _hz(megahertz: int | None) -> int | None:
    return None if megahertz is None else megahertz * _MHZ


def _has_the_drivers_ids() -> bool:
    """Whether this process lives in the namespace whose ids the driver uses."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == _FIRST_PID_NAMESPACE
    except OSError:
        return False
