"""The evidence for the regression gate: real gates of unchanged code, other tools' rules on the same launches, and what each measure against noise does.

    python -m tests.perf.gates run OUT [--gates 60] [--suite ci] [--disturb none|process|bursts|memory]    measures (resumes where it stopped)
    python -m tests.perf.gates vary OUT [--pairs 12] [--cells 6] [--disturb ...]                           measures
    python -m tests.perf.gates table  LABEL=RESULTS... [--planted LABEL=RESULTS...]                        reads
    python -m tests.perf.gates power  LABEL=RESULTS... [--planted LABEL=RESULTS...]                        reads
    python -m tests.perf.gates noise  LABEL=RESULTS... [--turns LABEL=OUT...]                              reads
    python -m tests.perf.gates simulate [--gates 2000]                                                     measures nothing

RESULTS are folders in which `fabench gate` (or `run`) left its gates, or `fabench selftest` its pairs. With `--markdown FILE` the tables also go into
that document, between its marks `<!-- table -->` and `<!-- end of table -->` (or power, noise, simulate). `fabench/analysis/GATES.md` is such a document.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fabench.analysis.gate import Rule
from fabench.suite import load
from fabench.sweep.worktree import top_of
from tests.perf import telling
from tests.perf.disturb import KINDS, disturbed
from tests.perf.launches import LOG, complete, costs, gates_in, planted_in
from tests.perf.turns import VARIANTS, read, take

__all__ = ["main"]


def _run(given: argparse.Namespace) -> int:
    """Gates one after the other, each with a seed of its own; a gate that did not end is measured again."""
    tree, out = top_of(Path.cwd()), given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    log = out / LOG
    done = {json.loads(line)["seed"] for line in log.read_text(encoding="utf-8").splitlines()} if log.exists() else set()
    for seed in range(given.first_seed, given.first_seed + given.gates):
        if seed in done:
            continue
        options = ["--base", "HEAD", "--suite", given.suite, "--results", str(out / "results"), "--json", "--seed", str(seed)]
        command = [sys.executable, "-m", "fabench", "gate", *options, *given.gate_options]
        loads, start = [os.getloadavg()[0]], time.monotonic()
        with disturbed(given.disturb, seed) as beside:
            ended = subprocess.run(
                command, cwd=tree, env=os.environ | {"PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False
            )
        wall_s = time.monotonic() - start
        loads.append(os.getloadavg()[0])
        if not ended.stdout.strip():
            print((ended.stderr.strip().splitlines() or ["the gate said nothing"])[-1], file=sys.stderr)
            return 1
        document = json.loads(ended.stdout)
        base, head = document["run"]["base"], document["run"]["head"]
        if (base["harness"], base["implementations"]) != (head["harness"], head["implementations"]):
            print(
                "the working tree differs from HEAD, so this is not A against A; commit, or run in a clean clone", file=sys.stderr
            )
            return 1
        # Its folder is the newest one, since nothing else writes there.
        folder = max((out / "results").iterdir(), key=lambda path: path.stat().st_mtime).name
        entry = {
            "seed": seed, "exit_code": ended.returncode, "wall_s": wall_s, "folder": folder, "headline": document["headline"],
            "loads": loads, "disturbance": beside.kind, "disturbance_seed": beside.seed, "disturbance_cpu_s": beside.cpu_s,
        }  # fmt: skip
        with log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(entry) + "\n")
        print(f"{seed}: exit code {ended.returncode}, {wall_s:.0f} s, {document['headline']}", file=sys.stderr)
    return 0


def _vary(given: argparse.Namespace) -> int:
    from fabench.cli._gating import cells_of
    from fabench.cli._session import open_session

    given.out.mkdir(parents=True, exist_ok=True)
    suite = load(given.suite)
    with open_session(suite) as session:
        cells = cells_of(session)
        session.server.close()
        chosen = [cells[round(at * (len(cells) - 1) / max(1, given.cells - 1))] for at in range(min(given.cells, len(cells)))]
        variants = [one for one in VARIANTS if one.name in given.variants]
        start = time.monotonic()
        with disturbed(given.disturb, given.first_seed) as beside:
            tell = lambda text: print(text, file=sys.stderr)  # noqa: E731
            take(
                chosen,
                suite.measure,
                top_of(Path.cwd()),
                given.pairs,
                variants,
                given.out / "turns.jsonl",
                given.first_seed,
                tell,
            )
        told = {"disturbance": beside.kind, "disturbance_cpu_s": beside.cpu_s, "wall_s": time.monotonic() - start}
        with (given.out / "vary.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(told) + "\n")
    return 0


def _labelled(texts: Sequence[str]) -> dict[str, Path]:
    """`none=results` as a label and a folder."""
    found: dict[str, Path] = {}
    for text in texts:
        label, mark, folder = text.partition("=")
        if not mark or not Path(folder).is_dir():
            raise SystemExit(f"{text!r} is not LABEL=FOLDER with a folder that is there")
        found[label] = Path(folder)
    return found


def _read(given: argparse.Namespace) -> list[telling.Condition]:
    planted = {label: planted_in(folder) for label, folder in _labelled(given.planted).items()}
    found = []
    for label, folder in _labelled(given.results).items():
        gates = gates_in(folder)
        if not gates:
            raise SystemExit(f"there is no gate in {folder}")
        found.append(telling.Condition(label, gates, complete(gates), costs(gates), planted.get(label, [])))
    return found


def _shown(name: str, text: str, document: Path | None) -> int:
    print(text)
    if document is not None:
        begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
        old = document.read_text(encoding="utf-8")
        if begin not in old or end not in old:
            raise SystemExit(f"{document} has no marks {begin.strip()} and {end}")
        before, _, rest = old.partition(begin)
        document.write_text(before + begin + "\n" + text + "\n\n" + end + rest.partition(end)[2], encoding="utf-8")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints tables to standard output, notes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tests.perf.gates", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "vary"):
        command = commands.add_parser(name)
        command.add_argument("out", type=Path)
        command.add_argument("--suite", default="ci")
        command.add_argument("--disturb", choices=KINDS, default="none")
        command.add_argument("--first-seed", type=int, default=1)
    commands.choices["run"].add_argument("--gates", type=int, default=60)
    commands.choices["run"].add_argument(
        "--gate-options", type=shlex.split, default=[], help="more options of `fabench gate`, as one text"
    )
    commands.choices["vary"].add_argument("--pairs", type=int, default=12)
    commands.choices["vary"].add_argument("--cells", type=int, default=6, help="so many of the suite's, evenly spread")
    commands.choices["vary"].add_argument(
        "--variants", nargs="+", default=[one.name for one in VARIANTS], choices=[one.name for one in VARIANTS]
    )
    for name in ("table", "power", "noise", "simulate"):
        command = commands.add_parser(name)
        command.add_argument("--markdown", type=Path, metavar="FILE")
        command.add_argument("--gates", type=int, default=2000, help="gates that are drawn or simulated")
        if name != "simulate":
            command.add_argument("results", nargs="+", metavar="LABEL=RESULTS")
            command.add_argument("--planted", nargs="+", default=[], metavar="LABEL=RESULTS")
        else:
            command.add_argument("--min-effect", type=float, default=Rule().min_effect)
            command.add_argument("--alpha", type=float, default=Rule().alpha)
            command.add_argument("--looks", default=Rule().looks, type=lambda text: tuple(map(int, text.split(","))))
        if name == "noise":
            command.add_argument("--turns", nargs="+", default=[], metavar="LABEL=OUT")
    given = parser.parse_args(arguments)
    if given.command == "run":
        return _run(given)
    if given.command == "vary":
        return _vary(given)
    if given.command == "table":
        text = telling.table(_read(given), given.gates)
    elif given.command == "power":
        text = telling.budgets(_read(given), given.gates)
    elif given.command == "noise":
        turns = {label: read(folder / "turns.jsonl") for label, folder in _labelled(given.turns).items()}
        text = telling.noise(_read(given), turns)
    else:
        text = telling.simulated(given.gates, rule=Rule(given.min_effect, given.alpha, given.looks))
    return _shown(given.command, text, given.markdown)


if __name__ == "__main__":
    sys.exit(main())
