"""Where a run is measured: what of host, packages, settings and code decides a number, and whether two runs can be compared.

Read without torch; what only the measuring side knows (devices, torch's build) is handed in.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fabench import __version__
from fabench.host import available_bytes, facts
from fabench.schema import Environment, Measure
from fabench.sources import measurement_hash

__all__ = [
    "available_bytes",
    "child_settings",
    "collect",
    "default_threads",
    "differences",
    "differing",
    "processors",
    "utc_now",
]

_PACKAGES = ("torch", "triton", "numpy", "pandas", "scipy", "matplotlib", "nvidia-ml-py")
_HERE = Path(__file__).parent
# glibc gives every large block back to the kernel by default, and takes page faults for it again at each call: explicit attention then
# flips between two speeds from process to process. These keep freed memory.
_RETAIN = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(64 * 2**20)}
_RECORDED = (
    "MALLOC_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "GOMP_",
    "KMP_",
    "GLIBC_TUNABLES",
    "THP_MEM_ALLOC_ENABLE",
    "LD_PRELOAD",
    "PYTORCH_",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
)


def utc_now() -> str:
    """`2026-01-31T12:00:00Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def processors() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def default_threads() -> int:
    """One less than the processors: a thread on every core is at the mercy of any other process (0.8 ms became 32 ms)."""
    return max(1, len(processors()) - 1)


def child_settings(measure: Measure) -> dict[str, str]:
    """Environment variables of the measuring side: threads, where they run, how they wait, what malloc does."""
    threads = measure.threads or default_threads()
    chosen = processors()[-threads:]  # the first processor serves most interrupts
    settings = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_PROC_BIND": "TRUE",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "FABENCH_PROCESSORS": ",".join(map(str, chosen)),
    }
    return settings | (_RETAIN if measure.allocator == "retain" else {})


def _packages() -> dict[str, Any]:
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _commit() -> str | None:
    """The checkout's commit, with "+" where its files differ; None outside a checkout."""
    if not (_HERE.parent / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(_HERE.parent)]
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run(
            [*git, "status", "--porcelain", "fabench"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def collect(
    suite: str,
    suite_hash: str,
    overrides: tuple[str, ...],
    devices: Mapping[str, Any],
    built: Mapping[str, Any],
    settings: Mapping[str, str],
) -> Environment:
    """The environment of a run that starts now. `built`: facts of torch's build; `settings`: what the measuring side runs under."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(_RECORDED)}
    return Environment(
        fabench=__version__,
        started_at=utc_now(),
        host=facts(processors()),
        packages=_packages() | {f"torch.{key}": value for key, value in built.items() if key in ("cuda", "hip", "git", "blas")},
        devices=dict(devices),
        settings=dict(sorted((inherited | dict(settings)).items())),
        code_hash=measurement_hash(_HERE),
        commit=_commit(),
        suite=suite,
        suite_hash=suite_hash,
        overrides=overrides,
    )


def differing(old: Environment, new: Environment) -> list[tuple[str, Any, Any]]:
    """The fields that differ of all that decides a number, with both values: `("packages.torch", "2.13.0", "2.14.1")`."""
    found = [
        (name, getattr(old, name), getattr(new, name))
        for name in ("fabench", "suite", "suite_hash", "code_hash")
        if getattr(old, name) != getattr(new, name)
    ]
    for part in ("host", "packages", "settings", "devices"):
        before, after = _flat(getattr(old, part)), _flat(getattr(new, part))
        found += [
            (f"{part}.{key}", before.get(key), after.get(key))
            for key in sorted(before.keys() | after.keys())
            # peaks are measured anew each time, noise now and then
            if before.get(key) != after.get(key) and not {"peaks", "noise"} & set(key.split("."))
        ]
    return found


def differences(old: Environment, new: Environment) -> list[str]:
    """The same, one line each: `packages.torch: 2.13.0 -> 2.14.1`. Empty: comparable."""
    return [f"{name}: {before} -> {after}" for name, before, after in differing(old, new)]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
