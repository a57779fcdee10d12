"""`fabench doctor`: what this machine can measure, how well, and what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Protocol

import typer

from fabench import noise
from fabench.catalogue import devices as kinds_of_device
from fabench.cli._console import data, notes, safe
from fabench.cli._session import measuring, say, stored_noise
from fabench.codec import encode
from fabench.environment import child_settings, collect, default_threads, utc_now
from fabench.errors import ExitCode, StoreError, WorkerError
from fabench.schema import Measure
from fabench.sweep.lock import exclusive
from fabench.units import format_bytes, format_duration, format_rate

__all__ = ["command"]


class Launches(Protocol):
    """Who starts processes that measure a launch of the noise sheet each."""

    def noise(self, device: str, work: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """One launch; `work` is what an earlier one answered."""
        ...


_WANTED = {
    "torch": "pip install torch",
    "pandas": "pip install pandas",
    "matplotlib": "pip install matplotlib",
    "triton": "comes with torch's CUDA build",
    "nvidia-ml-py": "pip install nvidia-ml-py",
}


def command(
    noise_s: Annotated[
        float, typer.Option("--noise-s", min=0, help="Seconds that a device's noise sheet may take; 0 shows the stored one.")
    ] = 20.0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads, as measure.threads of a suite.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON document.")] = False,
) -> int:
    """Say what this machine can measure, its noise floor and its peaks, and what is missing."""
    measure = Measure(threads=threads)
    findings: dict[str, Any] = {"advice": _advice()}
    try:
        with measuring(measure) as (server, built):
            known = server.describe(kinds_of_device())
            devices = {name: dict(facts) for name, facts in known.items() if not facts.get("scripted")}
            for name, facts in devices.items():
                if "missing" not in facts:
                    with exclusive({name: facts}, say, mend="run doctor again when it has ended"):
                        facts["noise"] = _noise(server, name, facts, built, measure, noise_s)
                        facts["selftests"] = _selftests(facts, built, measure)
                        facts["peaks"] = dict(server.rates(name))
            settings = {key: value for key, value in child_settings(measure).items() if not key.startswith("FABENCH_")}
            findings["environment"] = json.loads(encode(collect("", "", (), devices, built, settings)))
    except WorkerError as error:
        findings["error"] = str(error)
    if as_json:
        typer.echo(json.dumps(findings))
    else:
        for line in _lines(findings):
            data.print(safe(line))
    return ExitCode.NOT_MEASURED if "error" in findings else ExitCode.FINE


def _noise(
    server: Launches, name: str, facts: Mapping[str, Any], built: Mapping[str, Any], measure: Measure, seconds: float
) -> dict[str, Any] | None:
    """The device's noise sheet: measured now and kept for sweeps, or the one that was kept."""
    kept = stored_noise(facts, built, measure)
    if seconds == 0:
        return kept
    sheet = noise.measure(lambda work: server.noise(name, work), utc_now(), seconds)
    try:
        noise.SHELF.remember(noise.identity(facts, built, child_settings(measure)), sheet)
    except StoreError as error:
        notes.print(f"[yellow]warning:[/] {safe(error)}")
    return dict(json.loads(encode(sheet)))


def _selftests(facts: Mapping[str, Any], built: Mapping[str, Any], measure: Measure) -> list[dict[str, Any]]:
    """What gates on this device can promise, as `fabench selftest` kept it. A broken file is a warning."""
    from fabench.cli.selftest import kept_here

    try:
        kept = kept_here(noise.identity(facts, built, child_settings(measure)))
    except StoreError as error:
        notes.print(f"[yellow]warning:[/] {safe(error)}")
        return []
    return [
        {
            "suite": one.suite, "measured_at": one.measured_at, "pairs": one.pairs, "cells": len(one.promises), "looks": list(one.looks),
            "min_effect": one.min_effect, "promise": one.promise, "alarms": asdict(one.alarms), "not_taken": why or None,
        }
        for one, why in kept
    ]  # fmt: skip


def _selftest_lines(kept: Sequence[Mapping[str, Any]]) -> list[str]:
    if not kept:
        return ["  gates   what they can promise is not known; `fabench selftest` measures it"]
    lines = []
    for one in kept:
        alarms, promise = one["alarms"], one["promise"]
        least = "promise nothing" if promise is None else f"find {_share(promise)} or more in 95 of 100, in every cell"
        lines.append(
            f"  gates   of {one['suite'] or 'a suite not named'} ({one['cells']} cells): {least}; false alarms in {_share(alarms['value'])} "
            f"of gates [{_share(alarms['low'])}, {_share(alarms['high'])}]"
        )
        age = (
            "when is not known" if one["measured_at"] is None else f"{_age(one['measured_at'], utc_now())} ({one['measured_at']})"
        )
        lines.append(f"          from {one['pairs']} launch pairs, {age}" + (f"; {one['not_taken']}" if one["not_taken"] else ""))
    return lines


def _age(then: str, now: str) -> str:
    """`3 days ago`."""
    hours = (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds() / 3600
    if hours < 1:
        return "within the hour"
    return f"{hours:.0f} hours ago" if hours < 48 else f"{hours / 24:.0f} days ago"


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
    peaks = facts["peaks"]
    products = ", ".join(f"{dtype} {format_rate(rate, 'FLOP/s')}" for dtype, rate in peaks["flop_per_s"].items())
    return [
        f"{name:<9} {facts['name']}" + (f", {facts['threads']} thread(s)" if "threads" in facts else ""),
        f"  peaks   copy {format_rate(peaks['copy_bytes_per_s'], 'B/s')}; product {products}",
        *_noise_lines(facts["noise"]),
        *_selftest_lines(facts["selftests"]),
    ]


def _noise_lines(sheet: Mapping[str, Any] | None) -> list[str]:
    if sheet is None:
        return ["  noise   not known: no sheet is stored; `fabench doctor` measures it"]
    lines = [
        f"  clock   step {format_duration(sheet['clock_step_s'])}",
        f"  noise   the same work again, measured at {sheet['measured_at']} in {sheet['launches']} processes of {sheet['medians']} medians",
    ]
    for label, one in sheet["classes"].items():
        beside = [
            f"{one[key]:.3g} {word} a sample"
            for key, word in (("minor_faults", "page faults"), ("involuntary_switches", "involuntary switches"))
            if one[key] is not None
        ]
        lines += [
            f"  {format_duration(float(label)):>7} cells: differences below {_share(one['floor'])} can't be told from noise here; "
            f"of {_share(one['seen'])} or more, 95 in 100 are seen",
            f"          spread within a process {one['within']:.2%}, from process to process {one['between']:.2%}"
            + "".join(f", {text}" for text in beside),
        ]
    return lines


def _share(part: float) -> str:
    return f"{part:.1%}" if part < 0.1 else f"{part:.0%}"
