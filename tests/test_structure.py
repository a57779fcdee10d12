"""The house rules: floors, the wall around torch, and what may be imported where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fabench"

# Each room with the rooms of this project it may import, lowest floor first.
WORDS = [
    "errors",
    "units",
    "linux",
    "codec",
    "sheet",
    "places",
    "case",
    "measured",
    "median",
    "schema",
    "paired",
    "accuracy",
    "trials",
    "recipe",
    "positions",
]
QUESTION = [
    "catalogue",
    "sources",
    "cost",
    "position_cost",
    "suite",
    "host",
    "environment",
    "kept",
    "noise",
    "baseline",
    "lines",
    "store",
    "trialfile",
]
CHILD = ["kernels", "attention", "inspect", "devices", "data", "metrics", "models", "measure", "evaluate", "train", "experiment"]
MAY_IMPORT = {
    **{room: WORDS[:index] for index, room in enumerate(WORDS)},
    **{room: WORDS + QUESTION[:index] for index, room in enumerate(QUESTION)},
    **{room: [*WORDS, "catalogue", *CHILD[:index]] for index, room in enumerate(CHILD)},
    "sweep": WORDS + QUESTION,
    "analysis": [*WORDS, "cost", "position_cost", "noise", "baseline"],
    "report": [*WORDS, "cost", "position_cost", "catalogue", "noise", "baseline", "analysis"],
    "export": [*WORDS, "analysis"],
    "pytest_plugin": [*WORDS, *QUESTION, "sweep", "export"],
    "cli": [*WORDS, *QUESTION, "sweep", "analysis", "report", "export"],
}
HEAVY = {"torch", "triton", "pynvml", "numpy", "pandas", "scipy", "matplotlib", "typer", "rich", "click"}
MAY_HOLD = {
    **{room: {"torch", "triton", "pynvml"} for room in CHILD},
    **{room: {"torch", "numpy"} for room in ("data", "metrics", "evaluate", "train", "experiment")},
    "analysis": {"numpy", "pandas", "scipy"},
    "report": {"numpy", "pandas", "scipy", "matplotlib"},
    "cli": {"typer", "rich", "click"},
}


def files() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py") or path.parent != PACKAGE
    )


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} uses a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_floors_and_wall(path: Path) -> None:
    here = room(path)
    for name in imported(path):
        top, _, rest = name.partition(".")
        if top == "fabench":
            target = rest.partition(".")[0]
            if target != "__version__":
                assert target == here or target in MAY_IMPORT[here], f"{here} may not import {target}"
        elif top in HEAVY:
            assert top in MAY_HOLD.get(here, set()), f"{here} may not import {top}"


@pytest.mark.parametrize("folder", ["attention", "devices"])
def test_members_import_their_base_and_helpers_never_each_other(folder: str) -> None:
    members = {path.stem for path in (PACKAGE / folder).glob("[a-z]*.py")} - {"base", "reference"}
    for path in (PACKAGE / folder).glob("[a-z]*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[:2] == ["fabench", folder] and len(parts) > 2:
                assert parts[2] not in members - {path.stem}, f"{path.name} imports {parts[2]}"


def test_every_import_has_a_room() -> None:
    assert {room(path) for path in files()} == set(MAY_IMPORT)


def test_the_parent_never_holds_torch() -> None:
    program = (
        "import sys; import fabench.cli.main, fabench.sweep.run, fabench.store; "
        "found = {'torch', 'pandas', 'matplotlib', 'numpy', 'scipy'} & set(sys.modules); sys.exit(', '.join(found) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_nothing_evaluates_text() -> None:
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile", "__import__"), path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("pickle", "load"), ("pickle", "loads"), ("os", "system")}, path


def test_files_stay_readable() -> None:
    long = {str(path.relative_to(PACKAGE)): count for path in files() if (count := len(path.read_text().splitlines())) > 300}
    assert long == {}
