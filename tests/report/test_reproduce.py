"""The command beside a cell in the report measures that cell, and nothing else."""

import shlex

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
