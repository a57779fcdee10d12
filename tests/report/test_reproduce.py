"""The command beside a cell in the report measures that cell, and nothing else."""

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fabench.cli.main import app
from fabench.report.words import reproduce_with
from fabench.schema import Record
from fabench.suite.files import available, load


@pytest.mark.parametrize("suite", sorted(available()))
def test_the_command_selects_its_cell_alone(suite: str) -> None:
    cells = [planned.cell for planned in load(suite).plan("cpu")]
    command = reproduce_with(suite)
    for cell in cells[:: max(1, len(cells) // 60)]:
        words = shlex.split(command(Record(cell, "ok", None)))
        assert words[:3] == ["fabench", "sweep", suite]
        options = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[3::2], words[4::2], strict=True)}
        assert [planned.cell for planned in load(suite, options).plan("cpu")] == [cell]


def test_the_command_line_takes_the_options() -> None:
    cell = load("paper").plan("cpu")[0].cell
    words = shlex.split(reproduce_with("paper")(Record(cell, "ok", None)))
    answer = CliRunner().invoke(app, [*words[1:], "--dry-run", "--json"])
    assert answer.exit_code == 0, answer.output
    assert cell.id in answer.output


NETWORKS = """
[axes]
implementation = ["factorized", "dot_product"]
scope = ["network", "module"]
mode = ["fwd", "fwd_bwd"]

[[grid]]
network = "detection"
backbone = ["resnet50", "resnet101"]
image = ["64x128", "128x128"]
positions = ["none", "fpn", "res3+fpn2"]
heads = [1, 4]
pool = [1, 2]

[[grid]]
network = "stereo"
image = "64x128"
positions = "all"
"""


def test_the_command_of_a_networks_cell_selects_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "both.toml"
    path.write_text(NETWORKS)
    cells = [planned.cell for planned in load(str(path)).plan("cpu")]
    assert {cell.case.scope for cell in cells} == {"network", "module"} and len(set(cells)) > 60
    command = reproduce_with(str(path))
    for cell in dict.fromkeys(cells):
        words = shlex.split(command(Record(cell, "ok", None)))
        options = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[3::2], words[4::2], strict=True)}
        assert {planned.cell for planned in load(str(path), options).plan("cpu")} == {cell}, words
