"""Which source files decide what: the hash of an implementation with all that it stands on, of the harness that measures it, of both.

Told apart so that a slower cell can be traced: its kernels changed, only the harness did, or nothing but the environment. Read with `ast`
from any checkout, the one that runs or another, without importing it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["harness_hash", "implementation_hash", "measurement_hash", "package_of", "program_hash", "rooms_hash"]

# What computes attention; everything else that a measuring process imports measures it.
_COMPUTING = ("attention", "kernels")
_MEASURING = (
    "models",
    "devices",
    "measure",
    "places.py",
    "positions.py",
    "case.py",
    "schema.py",
    "measured.py",
    "median.py",
    "codec.py",
    "catalogue.py",
    "linux.py",
)
_CONTRACTS = ("attention/base.py", "attention/reference.py")  # what all implementations are held by


def package_of(tree: Path) -> Path:
    """The package's folder in a checkout."""
    return tree / "fabench"


def implementation_hash(package: Path, name: str) -> str | None:
    """SHA-256 over the implementation's file and all of the computing rooms that it imports, however far; None where it is not there."""
    start = package / "attention" / f"{name}.py"
    if not start.is_file():
        return None
    return _digest(package, _closure(package, start))


def program_hash(package: Path, name: str) -> str | None:
    """The same over what of these files is run: without comments, docstrings and layout. To be compared within one process only."""
    start = package / "attention" / f"{name}.py"
    if not start.is_file():
        return None
    digest = hashlib.sha256()
    for path in sorted(_closure(package, start)):
        tree = _parsed(path)
        program = path.read_bytes() if tree is None else ast.dump(_bare(tree)).encode()
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + program + b"\0")
    return digest.hexdigest()[:16]


def _parsed(path: Path) -> ast.Module | None:
    """None for what is no Python, which its own process will say."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None


def _bare(tree: ast.Module) -> ast.Module:
    """Without docstrings."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return tree


def harness_hash(package: Path) -> str:
    """SHA-256 over everything that measures and checks."""
    return rooms_hash(package, (*_CONTRACTS, *_MEASURING))


def measurement_hash(package: Path) -> str:
    """SHA-256 over everything that computes, measures and checks, and nothing that plans, reads or shows."""
    return rooms_hash(package, (*_COMPUTING, *_MEASURING))


def rooms_hash(package: Path, names: Iterable[str]) -> str:
    """SHA-256 over these files and folders of the package; what a checkout does not have is left out."""
    files: list[Path] = []
    for name in names:
        path = package / name
        files += [path] if path.is_file() else path.rglob("*.py")
    return _digest(package, files)


def _digest(package: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _closure(package: Path, start: Path) -> set[Path]:
    found: set[Path] = set()
    open_ = [start]
    while open_:
        path = open_.pop()
        if path not in found:
            found.add(path)
            open_ += _imported(package, path)
    return found


def _imported(package: Path, path: Path) -> list[Path]:
    """Files of the computing rooms that `path` imports, anywhere in it; packages' own files on the way to a module included."""
    names: set[str] = set()
    for node in ast.walk(_parsed(path) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files: list[Path] = []
    for name in names:
        parts = name.split(".")
        if parts[0] != "fabench" or len(parts) < 2 or parts[1] not in _COMPUTING:
            continue
        for depth in range(1, len(parts)):
            stem = package.joinpath(*parts[1 : depth + 1])
            files += [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()]
    return [file for file in files if file.relative_to(package).as_posix() not in _CONTRACTS]
