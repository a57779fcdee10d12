"""`fabench`: the commands, and what every one of them does about errors and signals."""

from __future__ import annotations

import ast
import importlib
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fabench import __version__
from fabench.errors import ExitCode, FabenchError

__all__ = ["app", "run"]

_HERE = Path(__file__).parent
# typer brings its own copy of click since 0.20; this finds the base of all its usage errors in either.
_ClickError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class _Commands(TyperGroup):
    """One command per file of this folder, imported when it is asked for: `fabench --help` stays instant."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(path.stem for path in _HERE.glob("[a-z]*.py") if path.stem != "main")

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(cmd_name)(importlib.import_module(f"fabench.cli.{cmd_name}").command)
        return typer.main.get_command(single)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name)) for name in self.list_commands(ctx)])


def _summary(name: str) -> str:
    """First line of the docstring of the command's function, read without importing it."""
    for node in ast.parse((_HERE / f"{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "command":
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


app = typer.Typer(
    name="fabench",
    cls=_Commands,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Shows where attention is quadratic, where it is linear and where the two cross, measured on this machine.",
    epilog="Exit codes: 0 fine, 1 a cell failed, 2 usage, 3 undecided, 4 nothing measured, 5 not comparable, 130 interrupted.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fabench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Every command's common options."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(ExitCode.USAGE)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def run() -> None:
    """Entry point: runs the command and turns errors into one line and an exit code."""
    from fabench.cli import _console

    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's pre-emption is an interruption like Ctrl-C
    try:
        status = app(standalone_mode=False)
    except FabenchError as error:
        _console.error(error)
        sys.exit(error.exit_code)
    except _ClickError as error:
        _console.error(error.format_message())
        sys.exit(ExitCode.USAGE)
    except (typer.Abort, KeyboardInterrupt):
        _console.error("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody is left to tell
        sys.exit(ExitCode.FINE)
    sys.exit(status if isinstance(status, int) else ExitCode.FINE)


if __name__ == "__main__":
    run()
