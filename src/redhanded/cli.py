"""The command line: data on standard output, progress and errors on standard error."""

import errno
import sys
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

import redhanded
from redhanded.errors import RedhandedError

app = typer.Typer(
    name="redhanded",
    help="Catch model thieves red-handed: run extraction attacks, calibrate the detector, price the theft.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are set anew in the terminal's width
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(show: bool) -> bool:
    if show:
        typer.echo(redhanded.__version__)
        raise typer.Exit
    return show


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of every command."""


INTERRUPTED = 130
"""The exit code of a command that was interrupted."""
STOPPED = "stopped; what was finished is kept, run the same command to go on"


def main() -> None:
    """Run the command line; what a user can cause is one line on standard error and exit code 2."""
    try:
        # here, so that a missing lab extra is one line and not a traceback
        from redhanded import commands

        commands.register(app)
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            _stop(STOPPED, INTERRUPTED)
        sys.exit(code)
    except TyperException as error:  # what the words themselves have wrong
        _stop(f"{' '.join(error.format_message().split()).rstrip('.')}; see redhanded --help")
    except RedhandedError as error:
        _stop(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("redhanded"):
            raise
        _stop(f"{error.name} is not installed; pip install 'redhanded[lab]'")
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise  # a fault of ours: paths that users name are checked where they are first used
        _stop(f"{error.strerror}: {error.filename or 'disk'}; what was finished is kept, make room and rerun")
    except KeyboardInterrupt:
        _stop(STOPPED, INTERRUPTED)


def _stop(line: str, code: int = 2) -> NoReturn:
    print(f"redhanded: {line}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
