"""`fabench`: the commands, and what every one of them does about errors and signals."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from fabench import __version__
from fabench.errors import ExitCode, FabenchError

__all__ = ["app", "run"]

app = typer.Typer(
    name="fabench",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Shows where attention is quadratic, where it is linear and where the two cross, measured on this machine.",
    epilog="Exit codes: 0 fine, 1 a cell failed, 2 usage, 3 undecided, 4 nothing measured, 5 not comparable, 130 interrupted.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fabench {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Every command's common options."""


for _path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    if _path.stem != "main":
        _module = importlib.import_module(f"fabench.cli.{_path.stem}")
        app.command(_path.stem)(_module.command)


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
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.ClickException as error:
        _console.error(error.format_message())
        sys.exit(ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        _console.error("interrupted")
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nobody is left to tell
        sys.exit(ExitCode.FINE)
    sys.exit(status if isinstance(status, int) else ExitCode.FINE)


if __name__ == "__main__":
    run()
