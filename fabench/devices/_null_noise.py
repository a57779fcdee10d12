"""How much longer than its truth each window of scripted time takes: seeded, so that the same cell always meets the same noise.

The factor's median is 1 where only jitter is scripted, so that the truth of a call is what its cost says.
"""

from __future__ import annotations

import math
import random
import zlib

from fabench.devices._null_script import Noise

__all__ = ["Disturbance"]


class Disturbance:
    """The scripted noise of one cell, window after window."""

    def __init__(self, noise: Noise, seed: int, cell: str) -> None:
        self._noise = noise
        self._random = random.Random(zlib.crc32(f"{seed}/{cell}".encode()))
        self._log = self._random.gauss(0.0, 1.0)  # as if it had gone on for ever
        self._slow = False

    def factor(self, at_s: float) -> float:
        """By how much a window that begins at `at_s` seconds from the device's start takes longer."""
        noise = self._noise
        kept = noise.correlation
        self._log = kept * self._log + math.sqrt(1 - kept * kept) * self._random.gauss(0.0, 1.0)
        factor = math.exp(noise.jitter * self._log) * (1 + noise.drift_per_s * at_s) * self.throttled(at_s)
        if noise.ramp is not None:
            factor *= 1 + (noise.ramp.times - 1) * math.exp(-at_s / noise.ramp.within_s)
        if noise.levels is not None:
            self._slow ^= self._random.random() >= noise.levels.stay
            factor *= noise.levels.times if self._slow else 1.0
        return factor

    def throttled(self, at_s: float) -> float:
        """By how much the clock is held down."""
        throttle = self._noise.throttle
        return throttle.times if throttle is not None and at_s >= throttle.after_s else 1.0

    def reasons(self, at_s: float) -> tuple[str, ...]:
        """Why the clock is held down, in NVML's words."""
        throttle = self._noise.throttle
        return throttle.reasons if throttle is not None and at_s >= throttle.after_s else ()
