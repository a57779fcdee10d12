"""`fabench doctor`: what this machine can measure, how well, and what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from fabench.cli._console import safe
from fabench.cli._session import measuring
from fabench.codec import encode
from fabench.environment import child_settings, collect, default_threads
from fabench.errors import ExitCode, WorkerError
from fabench.median import median
from fabench.schema import Measure
from fabench.units import format_bytes, format_duration, format_rate

__all__ = ["command"]

_WANTED = {
    "torch": "pip install torch",
    "pandas": "pip install pandas",
    "matplotlib": "pip install matplotlib",
    "triton": "comes with torch's CUDA build",
    "nvidia-ml-py": "pip install nvidia-ml-py",
}


def command(as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON document.")] = False) -> int:
    """Say what this machine can measure, its noise floor and its peaks, and what is missing."""
    measure = Measure()
    findings: dict[str, Any] = {"advice": _advice()}
    try:
        with measuring(measure) as (server, built):
            devices = {name: dict(facts) for name, facts in server.describe(["cpu", "cuda"]).items()}
            for name, facts in devices.items():
                if "missing" not in facts:
                    facts["peaks"] = dict(server.rates(name))
                    facts["noise"] = _noise(server.noise(name))
            settings = {key: value for key, value in child_settings(measure).items() if not key.startswith("FABENCH_")}
            findings["environment"] = json.loads(encode(collect("", "", (), devices, built, settings)))
    except WorkerError as error:
        findings["error"] = str(error)
    if as_json:
        typer.echo(json.dumps(findings))
    else:
        for line in _lines(findings):
            typer.echo(safe(line))
    return ExitCode.NOT_MEASURED if "error" in findings else ExitCode.FINE


def _noise(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Per duration class: spread of single samples and of medians of ten, relative; and the clock's step."""
    floor: dict[str, Any] = {"clock_step_s": answer["clock_step_s"]}
    for name, samples in answer["classes"].items():
        ordered = sorted(samples)
        middle = median(ordered)
        tens = [median(samples[start : start + 10]) for start in range(0, len(samples), 10)]
        floor[name] = {
            "iqr": (ordered[3 * len(ordered) // 4] - ordered[len(ordered) // 4]) / middle,
            "medians_of_ten": (max(tens) - min(tens)) / middle,
        }
    return floor


def _advice() -> list[str]:
    advice = []
    for package, how in _WANTED.items():
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            advice.append(f"{package} is missing: {how}")
    if not any(shutil.which(compiler) for compiler in ("cc", "gcc", "clang")):
        advice.append("no C compiler: factorized_compiled can't run; install gcc")
    if default_threads() == 1:
        advice.append("one thread is measured by default (a core is left to everything else); --set measure.threads=2 takes more")
    return advice


def _lines(findings: Mapping[str, Any]) -> Sequence[str]:
    lines: list[str] = []
    environment = findings.get("environment")
    if environment is not None:
        host, packages = environment["host"], environment["packages"]
        lines += [
            f"host      {host['cpu']}, {host['cores']} cores, {format_bytes(host['memory_bytes'])}, {host['system']}",
            f"governor  {host['governor'] or 'not readable'}; huge pages {host['huge_pages'] or 'not readable'}",
            "packages  " + ", ".join(f"{name} {version or 'missing'}" for name, version in packages.items() if "." not in name),
        ]
        for name, facts in environment["devices"].items():
            lines += _device_lines(name, facts)
    if "error" in findings:
        lines.append(f"error     {findings['error']}")
    lines += [f"advice    {text}" for text in findings["advice"]]
    return lines


def _device_lines(name: str, facts: Mapping[str, Any]) -> list[str]:
    if "missing" in facts:
        return [f"{name:<9} not here: {facts['missing']}"]
    peaks, noise = facts["peaks"], facts["noise"]
    products = ", ".join(f"{dtype} {format_rate(rate, 'FLOP/s')}" for dtype, rate in peaks["flop_per_s"].items())
    lines = [
        f"{name:<9} {facts['name']}" + (f", {facts['threads']} thread(s)" if "threads" in facts else ""),
        f"  peaks   copy {format_rate(peaks['copy_bytes_per_s'], 'B/s')}; product {products}",
        f"  clock   step {format_duration(noise['clock_step_s'])}",
    ]
    for label, spread in noise.items():
        if isinstance(spread, Mapping):
            lines.append(
                f"  noise   at {format_duration(float(label))}: interquartile range {spread['iqr']:.1%}, "
                f"medians of ten differ by up to {spread['medians_of_ten']:.1%}"
            )
    return lines
