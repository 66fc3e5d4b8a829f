"""The command line: data on standard output, progress and errors on standard error."""

import sys
from typing import Annotated

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


def _version(show: bool) -> None:
    if show:
        typer.echo(redhanded.__version__)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of every command."""


INTERRUPTED = 130
"""The exit code of a command that was interrupted."""
STOPPED = "redhanded: stopped; what was finished is kept, run the same command to go on"


def _message(error: Exception) -> str:
    tell = getattr(error, "format_message", None)
    return " ".join((str(error) if tell is None else tell()).split()).rstrip(".")


def main() -> None:
    """Run the command line; what a user can cause is one line on standard error and exit code 2."""
    try:
        # here, so that a missing lab extra is one line and not a traceback
        from redhanded import commands

        commands.register(app)
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            print(STOPPED, file=sys.stderr)
        sys.exit(code)
    except TyperException as error:  # what the words themselves have wrong
        print(f"redhanded: {_message(error)}; see redhanded --help", file=sys.stderr)
        sys.exit(2)
    except RedhandedError as error:
        print(f"redhanded: {error}", file=sys.stderr)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("redhanded"):
            raise
        print(f"redhanded: {error.name} is not installed; pip install 'redhanded[lab]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
