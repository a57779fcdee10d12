"""Gates and turns are measured as asked: what is done already is not done again, and turns follow their design. Nothing here is timed."""

import itertools
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fabench.paired import GateRun, Sources
from fabench.schema import Case, Cell, Job, Measure
from fabench.store import GateFolder
from tests import synthetic
from tests.perf import gates, turns
from tests.perf.launches import LOG
from tests.perf.turns import DESIGNS, VARIANTS, read, take

CELLS = [Cell("dot_product", "cpu", Case(n=n, m=n)) for n in (256, 512)]


@dataclass(frozen=True)
class Pong:
    seconds: float
    cpu_s: float


class Scripted:
    """A side whose call takes 1 ms; base's turns are written down as B, head's as H."""

    turns: list[str] = []  # noqa: RUF012 - shared by both sides, as time is
    started: list[tuple[str, Measure, tuple[str, ...]]] = []  # noqa: RUF012

    def __init__(self, name: str, tree: Path, measure: Measure, command: tuple[str, ...]) -> None:
        self.name = name
        self.started.append((name, measure, command))

    def spawn(self) -> None: ...
    def start(self) -> None: ...
    def begin(self, job: Job, timeout_s: float) -> None: ...
    def prepared(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...

    def ping(self, loops: int, discard: int) -> Pong:
        self.turns.append(self.name[0].upper() + f"{loops}{discard}")
        return Pong(1e-3 * loops, 0.7e-3 * loops)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Scripted]]:
    monkeypatch.setattr(turns, "Side", Scripted)
    monkeypatch.setattr("time.sleep", lambda seconds: Scripted.turns.append(f"sleep {seconds:g}"))
    Scripted.turns.clear()
    Scripted.started.clear()
    yield Scripted


def runs(found: list[str]) -> list[int]:
    """How many turns a side had in a row, again and again."""
    return [len(list(group)) for _, group in itertools.groupby(turn[0] for turn in found)]


def test_turns_follow_their_design(scripted: type[Scripted], tmp_path: Path) -> None:
    file = tmp_path / "turns.jsonl"
    for design in DESIGNS:
        scripted.turns.clear()
        found = turns._turns([Scripted("base", tmp_path, Measure(), ()), Scripted("head", tmp_path, Measure(), ())], "c", 0, "standard", design, 1e-3)  # type: ignore[list-item]  # fmt: skip
        assert len(found.base_s) == len(found.head_s) == len(found.base_cpu_s) == 20
        assert found.base_s == found.head_s == pytest.approx((1e-3,) * 20) and found.base_cpu_s == pytest.approx((0.7e-3,) * 20)
        assert found.disturbed == 20  # 70 % of the processor in every turn
        taken = [turn for turn in scripted.turns if not turn.startswith("sleep")]
        assert sorted(set(runs(taken))) in ([1, 2], [5, 10], [20])
        assert runs(taken)[0] == design.run
        calls = {"one call a turn": "10", "8 ms of calls a turn": "81"}.get(design.name, "21")
        assert {turn[1:] for turn in taken} == {calls}
        assert scripted.turns.count("sleep 0.02") == (40 if design.pause_s else 0)
    assert not file.exists()


def test_a_long_call_is_one_turn() -> None:
    sides = [Scripted("base", Path(), Measure(), ()), Scripted("head", Path(), Measure(), ())]
    assert turns._turns(sides, "c", 0, "standard", DESIGNS[0], 6e-3).loops == 1  # type: ignore[arg-type]


def test_every_variant_has_its_pairs_and_what_is_there_is_not_measured_again(scripted: type[Scripted], tmp_path: Path) -> None:
    file, told = tmp_path / "turns.jsonl", list[str]()
    take(CELLS, Measure(), tmp_path, 2, VARIANTS, file, 1, told.append)
    found = read(file)
    assert len(told) == 2 * len(VARIANTS) and len(found) == 2 * len(CELLS) * (len(DESIGNS) + len(VARIANTS) - 1)
    assert {one.design for one in found if one.variant != "standard"} == {"standard"}
    assert {one.design for one in found if one.variant == "standard"} == {design.name for design in DESIGNS}
    measures = [measure for _, measure, _ in scripted.started]
    assert {one.threads for one in measures} == {None, 2} and {one.allocator for one in measures} == {"retain", "system"}
    assert sum("FABENCH_PROCESSORS" in " ".join(command) for *_, command in scripted.started) == 4
    take(CELLS, Measure(), tmp_path, 3, VARIANTS[:1], file, 1, told.append)
    assert told[2 * len(VARIANTS) :] == ["pair 3 of 3: standard"] and read(file)[: len(found)] == found


@pytest.mark.parametrize("differs", [False, True])
def test_gates_are_measured_once_each_and_only_of_unchanged_code(
    differs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    sources = Sources("c" * 40, "HEAD", "harness", {})

    def gate(command: list[str], **rest: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        seed = int(command[command.index("--seed") + 1])
        run = GateRun(sources, sources, synthetic.environment(), seed, 0.05, 0.05, (5, 8, 12))
        GateFolder.create(Path(command[command.index("--results") + 1]), run, b"", "gate").close()
        sides = {
            "base": {"harness": "h", "implementations": {}},
            "head": {"harness": "other" if differs else "h", "implementations": {}},
        }
        return subprocess.CompletedProcess(command, 1, json.dumps({"run": sides, "headline": f"gate {seed}"}), "")

    out = tmp_path / "out"
    real = subprocess.run
    monkeypatch.setattr("subprocess.run", lambda command, **rest: (gate if "fabench" in command else real)(command, **rest))
    code = gates.main(["run", str(out), "--gates", "2", "--gate-options", "--looks 2,3"])
    if differs:
        assert code == 1 and "not A against A" in capsys.readouterr().err and not (out / LOG).exists()
        return
    assert code == 0 and gates.main(["run", str(out), "--gates", "3"]) == 0
    entries = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert [one["seed"] for one in entries] == [1, 2, 3] and len(asked) == 3
    assert [one["exit_code"] for one in entries] == [1] * 3 and entries[0]["disturbance"] == "none"
    assert {one["folder"] for one in entries} == {path.name for path in (out / "results").iterdir()}
    assert asked[0][-2:] == ["--looks", "2,3"] and asked[2][-1] == "3"


def test_a_gate_that_says_nothing_ends_the_run_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = subprocess.run
    failed = subprocess.CompletedProcess[str]([], 2, "", "first\nfabench: another fabench uses cpu\n")
    monkeypatch.setattr("subprocess.run", lambda command, **rest: failed if "fabench" in command else real(command, **rest))
    assert gates.main(["run", str(tmp_path / "out"), "--gates", "1"]) == 1
    assert capsys.readouterr().err == "fabench: another fabench uses cpu\n"
