"""`fabench doctor`, and where a sweep picks the noise sheet up."""

import json
from pathlib import Path

import pytest

from fabench import noise
from fabench.cli._session import stored_noise
from fabench.cli.doctor import _noise_lines
from fabench.codec import encode
from fabench.schema import Measure
from fabench.store import read_run
from tests.cli.conftest import Fabench


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def test_doctor_says_what_can_be_measured_and_a_sweep_knows_the_floor(
    fabench: Fabench, tiny: Path, tmp_path: Path, cache: Path
) -> None:
    findings = json.loads(fabench("doctor", "--json", "--noise-s", "0.1").stdout)
    cpu = findings["environment"]["devices"]["cpu"]
    assert cpu["peaks"]["copy_bytes_per_s"] > 1e8
    assert cpu["peaks"]["flop_per_s"]["float32"] > 1e8
    assert cpu["noise"]["launches"] == 4
    assert cpu["noise"]["clock_step_s"] > 0
    assert set(cpu["noise"]["classes"]) == {"2e-05", "0.0002", "0.002", "0.02"}
    assert all(one["seen"] > one["floor"] > 0 for one in cpu["noise"]["classes"].values())
    fabench("sweep", str(tiny), "--n", "64", "--quiet", "--no-report")
    (run,) = (tmp_path / "results").iterdir()
    found = read_run(run).environment.devices["cpu"]["noise"]
    assert found == cpu["noise"]
    assert noise.visible(found, 0.002) == found["classes"]["0.002"]["floor"]


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
