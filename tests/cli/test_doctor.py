"""`fabench doctor`, and where a sweep picks the noise sheet up."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fabench import noise
from fabench.analysis.gate import Rule
from fabench.analysis.selftest import self_test
from fabench.cli import doctor
from fabench.cli._session import open_session, stored_noise
from fabench.cli.doctor import _age, _noise_lines
from fabench.cli.selftest import shelf
from fabench.codec import encode
from fabench.environment import child_settings
from fabench.schema import Measure
from fabench.suite import load
from fabench.sweep.launch import ForkServer


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


CPU = {"name": "Example CPU", "threads": 1, "memory_bytes": 2**34}


class Scripted:
    """A measuring side that answers at once: a CPU whose processes differ by 2 %, and no GPU."""

    def __init__(self) -> None:
        self.launches = 0

    def describe(self, devices: Sequence[str]) -> dict[str, Any]:
        return {name: dict(CPU) if name == "cpu" else {"missing": "a build without it"} for name in devices}

    def rates(self, device: str) -> dict[str, Any]:
        return {"copy_bytes_per_s": 1e10, "flop_per_s": {"float32": 5e10}}

    def noise(self, device: str, work: Mapping[str, Any] | None = None) -> dict[str, Any]:
        assert device == "cpu"
        assert work == (None if self.launches == 0 else {"0.002": [512, 3]})
        self.launches += 1
        factor = 1.02 if self.launches % 2 else 1.0
        medians = [
            {"median_s": 2e-3 * factor * own, "minor_faults": 0.5, "involuntary_switches": 0.0} for own in (1.0, 1.001, 1.002)
        ]
        return {"work": {"0.002": [512, 3]}, "classes": {"0.002": medians}, "clock_step_s": 5e-8}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    side = Scripted()

    @contextmanager
    def measuring(measure: Measure) -> Iterator[tuple[Scripted, dict[str, str]]]:
        yield side, {"torch": "2.14.1"}

    monkeypatch.setattr("fabench.cli.doctor.measuring", measuring)
    monkeypatch.setattr("fabench.cli._session.measuring", measuring)
    return side


def test_a_sweep_knows_the_floor_that_doctor_measured(
    scripted: Scripted, cache: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor.command(noise_s=20.0, threads=None, as_json=True) == 0
    cpu = json.loads(capsys.readouterr().out)["environment"]["devices"]["cpu"]
    sheet = cpu["noise"]
    assert cpu["peaks"]["copy_bytes_per_s"] == 1e10
    assert (sheet["launches"], sheet["medians"], scripted.launches) == (12, 3, 12)
    assert sheet["classes"]["0.002"]["between"] == pytest.approx(0.0103, rel=0.02)  # six at 0, six at ln 1.02
    with open_session(load(str(tiny))) as session:
        assert session.devices["cpu"]["noise"] == sheet
    with open_session(load(str(tiny), {"measure.threads": "7"})) as session:
        assert "noise" not in session.devices["cpu"]


def test_the_stored_sheet_is_shown_without_measuring(scripted: Scripted, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.command(noise_s=0.0, threads=None, as_json=False) == 0
    assert "noise   not known" in capsys.readouterr().out
    assert not cache.exists()
    doctor.command(noise_s=20.0, threads=None, as_json=False)
    launches = scripted.launches
    measured = capsys.readouterr().out
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    assert capsys.readouterr().out == measured
    assert scripted.launches == launches
    assert "2.00 ms cells: differences below" in measured
    assert "cuda      not here: a build without it" in measured


def test_a_launch_for_real() -> None:
    """A process of the fork server; how fast it is, is not looked at."""
    server = ForkServer(Measure())
    try:
        server.start()
        answer = server.noise("cpu", {"0.0002": [64, 4]})
    finally:
        server.close()
    assert answer["work"] == {"0.0002": [64, 4]}
    assert [entry["median_s"] > 0 for entry in answer["classes"]["0.0002"]] == [True] * 3
    assert answer["clock_step_s"] > 0


def test_the_sheet_in_words() -> None:
    classes = {
        "0.002": noise.Floor(0.0132, 0.0245, 0.003, 0.001, 2.1e-3, 0.25, 1.0),
        "0.02": noise.Floor(1.5, 4.4, 0.3, 0.2, 2e-2),
    }
    sheet = json.loads(encode(noise.Sheet("2030-01-01T00:00:00Z", 12, 3, 5e-8, classes)))
    assert _noise_lines(sheet) == [
        "  clock   step 50.0 ns",
        "  noise   the same work again, measured at 2030-01-01T00:00:00Z in 12 processes of 3 medians",
        "  2.00 ms cells: differences below 1.3% can't be told from noise here; of 2.5% or more, 95 in 100 are seen",
        "          spread within a process 0.30%, from process to process 0.10%, 0.25 page faults a sample, 1 involuntary switches a sample",
        "  20.0 ms cells: differences below 150% can't be told from noise here; of 440% or more, 95 in 100 are seen",
        "          spread within a process 30.00%, from process to process 20.00%",
    ]
    assert _noise_lines(None) == ["  noise   not known: no sheet is stored; `fabench doctor` measures it"]


def test_a_broken_file_is_one_warning_and_unknown(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts, built = {"name": "Example CPU", "threads": 1}, {"torch": "2.14.1"}
    assert stored_noise(facts, built, Measure()) is None
    assert capsys.readouterr().err == ""
    file = cache / "fabench" / "noise.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    assert stored_noise(facts, built, Measure()) is None
    warning = capsys.readouterr().err
    assert warning == f"warning: {file} is no file of noise floors; write it anew with `fabench doctor`\n"


def kept(folder: Path, suite: str = "ci", torch: str = "2.14.1", **changes: Any) -> None:
    """A self-test of this machine's CPU, as `fabench selftest` keeps it."""
    rule = Rule()
    jitter = [0.01 * (index % 5 - 2) for index in range(20)]
    found = self_test({"a": jitter, "b": jitter[::-1]}, {}, rule, 1, gates=50)
    asked = load(suite)
    of = noise.identity(CPU, {"torch": torch}, child_settings(asked.measure)) | {"suite": asked.sha, "where": None}
    when = (datetime.now(UTC) - timedelta(days=3, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shelf().remember(of, replace(found, suite=suite, measured_at=when, **changes))


def test_what_gates_can_promise_is_shown_or_how_to_measure_it(
    scripted: Scripted, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    assert "gates   what they can promise is not known; `fabench selftest` measures it" in capsys.readouterr().out
    kept(cache)
    doctor.command(noise_s=0.0, threads=None, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["environment"]["devices"]["cpu"]["selftests"]
    assert (found["suite"], found["pairs"], found["cells"], found["not_taken"]) == ("ci", 20, 2, None)
    assert found["promise"] > 0.05 and found["alarms"]["low"] <= found["alarms"]["value"] <= found["alarms"]["high"]
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    shown = capsys.readouterr().out
    assert (
        f"gates   of ci (2 cells): find {100 * found['promise']:.1f}% or more in 95 of 100, in every cell; false alarms in "
        in shown
    )
    assert "          from 20 launch pairs, 3 days ago (20" in shown
    assert "not known; `fabench selftest`" not in shown


def test_a_self_test_that_gates_do_not_take_says_why(scripted: Scripted, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept(cache, torch="2.13.0")
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    assert "launch pairs, 3 days ago" in (shown := capsys.readouterr().out)
    assert "; measured with torch 2.13.0, this is 2.14.1" in shown
    shelf().path.write_text(shelf().path.read_text().replace(load("ci").sha, "0123456789abcdef").replace("2.13.0", "2.14.1"))
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    assert "; of another text, other settings or a filter: gates of the plain suite do not take it" in capsys.readouterr().out
    shelf().path.write_text("{")
    doctor.command(noise_s=0.0, threads=None, as_json=False)
    told = capsys.readouterr()
    assert "is no file of self-tests; write it anew with `fabench selftest`" in told.err
    assert "what they can promise is not known" in told.out


def test_ages_in_words() -> None:
    day = "2030-01-02T00:00:00Z"
    assert [_age(then, day) for then in ("2030-01-01T23:30:00Z", "2030-01-01T04:00:00Z", "2029-12-23T00:00:00Z")] == [
        "within the hour",
        "20 hours ago",
        "10 days ago",
    ]
