"""The table of pitfalls: every row says what stands against it, and every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from fabench.analysis.doubts import Code

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "fabench" / "measure" / "PITFALLS.md"
LINK = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[list[str]]:
    """The cells of every row, headers and rules left out."""
    lines = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "pitfall" and not set(row[0]) <= set("-:")]


@cache
def functions_of(file: str) -> set[str]:
    """Functions that pytest would collect."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_every_row_says_what_stands_against_it_and_names_tests_that_exist(row: list[str]) -> None:
    assert len(row) == 3
    pitfall, answer, tests = row
    assert pitfall
    assert answer.startswith(("prevented", "detected"))
    named = LINK.findall(tests)
    assert named
    assert LINK.sub("", tests).strip(" ,") == ""
    for file, function in named:
        assert function in functions_of(file), f"{file} has no {function}"


def test_time_memory_and_energy_have_their_tables() -> None:
    text = TABLE.read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Time", "Memory", "Energy"]
    titles = [row[0] for row in rows()]
    assert len(titles) == len(set(titles)) >= 50


def test_warnings_that_the_table_names_are_those_of_the_grade() -> None:
    answers = " ".join(row[1] for row in rows())
    assert set(re.findall(r"`(\w+)`", answers)) <= {code.value for code in Code}
