"""The gate's evidence: what is read of stored gates, how comparisons are drawn from them, and that tables hold what was computed."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from scipy import stats

from fabench.analysis.estimate import Estimate
from fabench.analysis.gate import Rule, verdicts
from fabench.paired import GateRun, Paired, Sources
from fabench.schema import Case, Cell, Job, Measure
from fabench.store import GateFolder, read_gate
from fabench.sweep import gate as sweep_gate
from fabench.sweep.duet import Side
from tests import synthetic
from tests.perf import telling
from tests.perf.gates import main
from tests.perf.launches import LOG, Costs, Launches, Planted, complete, costs, gates_in, planted_in, wall_s
from tests.perf.machines import MACHINES, Machine, log_ratios
from tests.perf.readings import alarms, power, power_planted, units
from tests.perf.replay import replay, replays
from tests.perf.rules import RULES
from tests.perf.shares import bounded, clustered, exact
from tests.perf.spread import STANDARD, Numbers, by_disturbance, of_estimators, of_rounds, of_turns, spreads
from tests.perf.turns import Taken

CELLS = [Cell("dot_product", "cpu", Case(n=n, m=n)) for n in (256, 512, 1024)]
SOURCES = Sources("c" * 40, "HEAD", "harness", {"dot_product": "1"})


def pair(cell: Cell, number: int, rng: np.random.Generator, slower: float = 0.0) -> Paired:
    base, head = np.exp(0.01 * rng.standard_normal((2, 20))) * 1e-3
    record = replace(synthetic.measured(cell, base.tolist()), phases_s={"inputs": 0.1, "timing": 0.4})
    longer = replace(record, phases_s={"inputs": 0.1, "timing": 0.5})
    return Paired(
        cell, number, "base", 1, tuple(base), tuple(head * (1 + slower)), disturbed=number % 2, base=record, head=longer
    )


def store(
    results: Path, counts: Sequence[Mapping[int, int]], kind: str = "gate", slow_down: float = 0.0, slowed: str | None = None
) -> list[Path]:
    """Gates whose cells have so many pairs each, one a second."""
    rng = np.random.default_rng(len(counts))
    paths = []
    for number, wanted in enumerate(counts):
        environment = replace(synthetic.environment(), started_at=f"2025-01-01T00:00:{number:02d}Z", suite="ci")
        run = GateRun(SOURCES, SOURCES, environment, number, 0.05, 0.05, (5, 8, 12), slow_down, slowed)
        folder = GateFolder.create(results, run, b"", kind)
        for launch in range(max(wanted.values())):
            for at, count in wanted.items():
                if launch < count:
                    folder.append(pair(CELLS[at], launch, rng, slow_down))
        folder.close()
        paths.append(folder.path)
    return paths


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stored") / "results"
    folders = store(path, [{0: 5, 1: 5, 2: 8}] * 6)
    entries = [{"folder": one.name, "wall_s": 30.0, "disturbance": "memory", "disturbance_cpu_s": 9.0} for one in folders]
    (path.parent / LOG).write_text("".join(json.dumps(one) + "\n" for one in entries))
    store(path, [{0: 5, 1: 5, 2: 6}])  # was killed, so it is not in the log
    return path


def launches(seed: int, gates: int = 4, cells: int = 3, spread: float = 0.01) -> Launches:
    base, head = np.exp(spread * np.random.default_rng(seed).standard_normal((2, gates * 5, cells, 20)))
    names = tuple(str(cell) for cell in range(cells))
    return Launches(names, base, head, np.repeat(np.arange(gates), 5), np.zeros((gates * 5, cells)))


def test_only_pairs_with_every_cell_are_taken(results: Path) -> None:
    gates = gates_in(results)
    found = complete(gates)
    assert found.base.shape == (30, 3, 20) and found.gate.tolist() == [gate for gate in range(6) for _ in range(5)]
    stored = {(one.cell.id, one.pair): one for one in gates[2].pairs}
    for cell, name in enumerate(found.cells):
        for launch in range(5):
            assert found.ratios[cell, 10 + launch] == pytest.approx(stored[name, launch].log_ratio)
            assert found.disturbed[10 + launch, cell] == launch % 2


def test_a_gate_that_runs_or_broke_off_is_left_out(tmp_path: Path) -> None:
    store(tmp_path, [{0: 5, 1: 5, 2: 5}, {0: 3, 1: 3, 2: 2}, {0: 5, 1: 5, 2: 8}, {0: 6, 1: 6, 2: 5}])
    assert [gate.run.seed for gate in gates_in(tmp_path)] == [0, 2]


def test_costs_are_what_each_cell_took_and_what_is_left(results: Path) -> None:
    found = costs(gates_in(results))
    assert found.cells_s == pytest.approx(dict.fromkeys(found.cells_s, 0.6))  # the longer side's phases
    assert found.start_s == pytest.approx((30.0 - 18 * 0.6) / 8)


def test_without_a_log_a_gate_lasts_from_its_first_file_to_its_last_line(tmp_path: Path) -> None:
    (folder,) = store(tmp_path, [{0: 5}])
    end = 1735689600 + 12.0  # its environment says 2025-01-01T00:00:00Z
    os.utime(folder / "pairs.jsonl", (end, end))
    assert wall_s(read_gate(folder)) == pytest.approx(12.0)


def test_planted_pairs_are_found_by_cell_and_effect(tmp_path: Path) -> None:
    store(tmp_path, [{0: 10}, {0: 5}], "selftest", 0.1, CELLS[0].id)
    store(tmp_path, [{1: 10}], "selftest", 0.05, CELLS[1].id)
    store(tmp_path, [{0: 5, 1: 5, 2: 5}], "selftest")
    found = {(one.cell, one.asked): one for one in planted_in(tmp_path)}
    assert {key: len(one.base) for key, one in found.items()} == {(CELLS[0].id, 0.1): 15, (CELLS[1].id, 0.05): 10}
    assert found[CELLS[0].id, 0.1].measured == pytest.approx(0.1, abs=0.01)
    assert gates_in(tmp_path) == []


def test_comparisons_use_each_side_of_a_launch_once_and_stored_ones_are_of_the_next_gate() -> None:
    data = launches(1)
    for count, interleaved, stored in ((1, 20, 15), (2, 8, 6), (5, 4, 3), (10, 2, 1), (20, 1, 0)):
        turns, apart = units(data, count, "interleaved"), units(data, count, "as stored")
        assert (len(turns), len(apart)) == (interleaved, stored)
        assert all((one.base == one.head).all() for one in turns)
        assert all(set(data.gate[one.base]).isdisjoint(data.gate[one.head]) for one in apart)
        for side in ([one.base for one in turns], [one.head for one in apart]):
            used = [launch for rows in side for launch in rows.tolist()]
            assert len(used) == len(set(used))


def test_alarms_and_power_are_counted_as_planted() -> None:
    rule = RULES[0]  # means that differ by 5 %
    still = launches(2, spread=0.001)
    for reading in ("interleaved", "as stored"):
        quiet, seen, missed = alarms(still, rule, reading), power(still, rule, reading, 0.10), power(still, rule, reading, 0.03)
        assert quiet is not None and seen is not None and missed is not None
        assert (quiet.value, seen.value, missed.value) == (0.0, 1.0, 0.0)
        assert quiet.high == pytest.approx(
            stats.binomtest(0, 4 if reading == "interleaved" else 3).proportion_ci(0.95, "exact").high
        )
        slowed = Planted("1", 0.1, still.base[:10, 1], still.head[:10, 1] * 1.1)
        unslowed = replace(slowed, head=slowed.base)
        half = power_planted(still, [slowed, unslowed], rule, reading)
        assert half is not None and half.value == 0.5
    assert power_planted(still, [slowed], next(rule for rule in RULES if rule.launches == 10), "as stored") is not None
    assert alarms(launches(3, gates=1), rule, "as stored") is None


def test_a_joint_rule_is_asked_cell_by_cell() -> None:
    joint = next(rule for rule in RULES if rule.joint)
    found = power(launches(4, spread=0.001), joint, "interleaved", 0.2)
    assert found is not None and found.value == 1.0


def test_shares_are_exact_where_independent_and_as_wide_as_their_clusters_are_few() -> None:
    assert exact(3, 10) == clustered(np.array([1.0] * 3 + [0.0] * 7), np.arange(10))
    values = np.repeat([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 50)
    apart, together = clustered(values, np.arange(400)), clustered(values, np.repeat(np.arange(8), 50))
    assert apart.value == together.value == 3 / 8
    assert together.high - together.low > 4 * (apart.high - apart.low)
    assert clustered(np.zeros(400), np.repeat(np.arange(8), 50)) == exact(0, 8)
    even = clustered(np.repeat([0.2, 0.4], 15), np.repeat([0, 0, 1, 1, 2], 6))
    assert even.low < 0.01 and even.high > 0.8  # three gates that agree are three gates
    for hits, trials in ((2, 4), (0, 3), (3, 3)):
        share, wanted = hits / trials, exact(hits, trials)
        wide = bounded(Estimate(share, share, share), trials)
        assert (wide.low, wide.high) == pytest.approx((wanted.low, wanted.high))
    assert bounded(Estimate(0.5, 0.0, 1.0), 4) == Estimate(0.5, 0.0, 1.0)
    alone = clustered(np.array([0.5, 0.2]), np.array([7, 7]))
    assert (alone.low, alone.high) == (0.0, 1.0)


class Nobody:
    def spawn(self) -> None: ...
    def start(self) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize("seed", range(20))
def test_a_gate_drawn_anew_is_what_the_loop_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real loop, whose launch pairs answer with numbers from a table in place of measuring."""
    rule, rng = Rule(), np.random.default_rng(seed)
    ratios = 0.04 * rng.standard_normal((3, 12)) + rng.choice([0.0, 0.05, 0.2], 3)[:, None]
    numbers = {cell.id: iter(row.tolist()) for cell, row in zip(CELLS, ratios, strict=True)}
    kept: dict[str, list[float]] = {cell.id: [] for cell in CELLS}

    def taken(base: object, head: object, job: Job, number: int, *rest: object) -> Paired:
        value = next(numbers[job.cell.id])
        kept[job.cell.id].append(value)
        return Paired(job.cell, number, "base", 1, (1.0,), (math.exp(value),))

    def decide(found: Mapping[str, Sequence[float]]) -> set[str]:
        return {one.cell for one in verdicts(found, rule) if one.verdict == "undecided"}

    monkeypatch.setattr(sweep_gate, "duet", taken)
    sides = (cast(Side, Nobody()), cast(Side, Nobody()))
    sweep_gate.gate(CELLS, lambda: sides, Measure(), rule.looks, decide, lambda one: None, lambda text: None, seed=0, cell_s=1.0)
    found = replay(ratios, rule)
    assert found.pairs == tuple(len(values) for values in kept.values())
    assert found.verdicts == tuple(one.verdict for one in verdicts(kept, rule))


def test_gates_drawn_anew_find_what_was_put_in_and_cost_what_their_pairs_do() -> None:
    data = launches(5, gates=6, spread=0.005)
    price = Costs(2.0, dict.fromkeys(data.cells, 0.5))
    still, slower = replays(data, Rule(), price, 40), replays(data, Rule(), price, 40, effect=0.1)
    assert still.alarms.value == 0 and still.alarms.high == pytest.approx(exact(0, 30 // 12).high) and still.seen is None
    assert slower.seen is not None and slower.seen.value == 1 and slower.alarms.value == 0
    assert (still.launches, still.most_launches, still.undecided) == (5.0, 5, 0.0)
    assert still.wall_s == pytest.approx(5 * 2.0 + 3 * 5 * 0.5)
    planted = Planted("2", 0.1, data.base[:, 2], data.head[:, 2] * 1.1)
    found = replays(data, Rule(), price, 40, planted=[planted])
    assert found.seen is not None and found.seen.value == 1
    assert replays(replace(data, head=data.head * 1.2), Rule(), price, 40).alarms.value == 1
    assert replays(replace(data, head=data.head * 1.2), Rule(), price, 40, swapped=True).alarms.value < 0.5


def test_the_spread_of_known_noise_is_found() -> None:
    rng = np.random.default_rng(6)
    quiet, noisy = (Numbers(spread * rng.standard_normal((10, 600)), np.repeat(np.arange(60), 10)) for spread in (0.02, 0.06))
    one, other = spreads({"quiet": quiet, "noisy": noisy}, "quiet")
    assert one.pooled.value == pytest.approx(0.02, rel=0.04) and one.pooled.low < 0.02 < one.pooled.high and one.times is None
    assert other.times is not None and other.times.low < 3.0 < other.times.high and other.times.high - other.times.low < 0.4


def test_more_rounds_help_as_their_root_and_estimators_agree_on_a_factor() -> None:
    data = launches(7, gates=100, spread=0.01)
    found = {one.name: one.pooled.value for one in spreads(of_rounds(data), "20 rounds")}
    assert found["1 rounds"] == pytest.approx(0.01 * math.sqrt(2), rel=0.05)
    # The median of 20 normal numbers has 1.21 times the error of their mean (asymptotically sqrt(pi / 2)).
    assert found["20 rounds"] == pytest.approx(0.01 * math.sqrt(2 / 20) * 1.22, rel=0.05)
    slowed = replace(data, head=data.base * 1.2)
    assert all(
        np.allclose(one.ratios, math.log(1.2))
        for name, one in of_estimators(slowed).items()
        if not name.startswith("not in turns")
    )
    assert STANDARD in of_estimators(data)


def test_disturbed_pairs_are_told_apart() -> None:
    data = launches(8, spread=0.001)
    disturbed = np.zeros((20, 3))
    disturbed[:6, 0], disturbed[6:8, 1] = 15, 3
    none, few, most = by_disturbance(replace(data, disturbed=disturbed))
    assert (none[1], few[1], most[1]) == (52, 2, 6)
    assert none[2] == pytest.approx(0.001 * math.sqrt(2 / 20) * 1.22, rel=0.35)


def test_turns_are_read_by_design_and_by_variant() -> None:
    def taken(number: int, variant: str, design: str, ratio: float, disturbed: int = 0) -> Taken:
        ones, other = (1.0,) * 20, (math.exp(ratio),) * 20
        return Taken("cell", number, variant, design, 1, ones, other, ones, (math.exp(2 * ratio),) * 20, disturbed)

    rows = [
        taken(0, "standard", "standard", 0.1, 15), taken(0, "standard", "standard again", 0.2), taken(0, "two threads", "standard", 0.7),
        taken(1, "standard", "standard", 0.3), taken(1, "standard", "standard again", 0.4),
    ]  # fmt: skip
    designs, variants = of_turns(rows)
    assert designs["standard"].ratios.tolist() == [pytest.approx([0.1, 0.3])]
    assert designs["disturbed takes repeated"].ratios.tolist() == [pytest.approx([0.2, 0.3])]
    assert designs["processor time in place of wall time"].ratios.tolist() == [pytest.approx([0.2, 0.6])]
    assert designs["40 rounds"].ratios.tolist() == [pytest.approx([0.15, 0.35])]
    assert variants["two threads"].ratios.tolist() == [pytest.approx([0.7])] and variants["two threads"].clusters.tolist() == [0]


def test_simulated_machines_have_the_noise_that_is_written_down() -> None:
    rng = np.random.default_rng(9)
    silent = Machine(launch=0.0, turn=0.0)
    assert not log_ratios(silent, rng, 2, 3, 4).any()
    assert log_ratios(replace(silent, launch=0.02), rng, 50, 10, 12).std() == pytest.approx(0.02 * math.sqrt(2), rel=0.05)
    assert np.abs(log_ratios(replace(silent, second=0.02), rng, 5, 3, 4)).max() < 1e-12  # each side is second as often
    flipped = log_ratios(replace(silent, flips=0.15), rng, 100, 10, 12)
    assert np.mean(flipped > 0.4) == pytest.approx(0.15 * 0.85, rel=0.1) == np.mean(flipped < -0.4)
    # Between neighbouring turns a drift moves by a 39th of itself, and order alternates.
    assert log_ratios(replace(silent, drift=0.2), rng, 20, 10, 12).std() < 0.2 / 39 * 1.1


def test_no_machine_makes_the_gate_cry_wolf() -> None:
    """A few gates of each, turn by turn; `python -m tests.perf.gates simulate` does two thousand.

    One gate in a hundred, but where every cell is noisier than any that was measured: there the level that the rule is built for.
    """
    rule = Rule()
    for name, machine in MACHINES.items():
        rng = np.random.default_rng([1, *name.encode()])
        hits = sum("slower" in replay(ratios, rule).verdicts for ratios in log_ratios(machine, rng, 60, 10, rule.looks[-1]))
        level = rule.alpha if name.startswith("wide") else 0.01
        assert stats.binom.sf(hits - 1, 60, level) > 1e-3, (name, hits)


def test_a_simulated_table_says_that_it_is() -> None:
    text = telling.simulated(4, cells=3)
    assert text.startswith("Simulated, nothing was measured: 4 gates of 3 cells") and "alpha 0.05, looks 5,8,12" in text
    assert len(text.splitlines()) == 4 + len(MACHINES)


def test_the_tables_hold_every_rule_and_no_path(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "BUDGETS", telling.BUDGETS[:2])
    monkeypatch.setattr("tests.perf.replay._OUTER", 4)
    planted = tmp_path / "planted"
    for effect in (0.05, 0.1):
        store(planted, [{1: 10}], "selftest", effect, CELLS[1].id)
    document = tmp_path / "GATES.md"
    document.write_text(
        "".join(f"# {name}\n\n<!-- {name} -->\n<!-- end of {name} -->\n\nafter\n" for name in ("table", "power", "noise"))
    )
    shared = [f"quiet={results}", "--gates", "3", "--markdown", str(document), "--planted", f"quiet={planted}"]
    for name in ("table", "power", "noise", "noise"):
        assert main([name, *shared]) == 0
        printed = capsys.readouterr().out
        assert printed.strip() in document.read_text()
        assert "nan" not in printed and str(tmp_path) not in printed and str(results) not in printed
    text = document.read_text()
    assert all(text.count(f"| {rule.name} |") == 2 for rule in RULES)
    assert "Beside them on purpose: memory, 9 s of processor time a gate." in text
    assert text.count("after") == 3 and text.count("### quiet") == 3
    assert "10% planted (measured +" in text


def test_what_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no gate"):
        main(["table", f"none={tmp_path}"])
    with pytest.raises(SystemExit, match="LABEL=FOLDER"):
        main(["table", str(tmp_path)])
    plain = tmp_path / "plain.md"
    plain.write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no marks"):
        main(["simulate", "--gates", "1", "--markdown", str(plain)])
    assert read_gate(store(tmp_path / "one", [{0: 5}])[0]).run.seed == 0
