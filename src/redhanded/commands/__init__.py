"""The commands of the command line, one module each."""

from importlib import import_module

import typer

from redhanded.commands import data

NAMES = ["demo", "attack", "calibrate", "replay", "run", "compare", "evade", "figures", "claims", "report"]
"""In the order of the help; each is a function in the module of its name."""


def register(app: typer.Typer) -> None:
    for name in NAMES:
        app.command()(getattr(import_module(f"redhanded.commands.{name}"), name))
    app.add_typer(data.app, name="data")
