"""The commands of the command line, one module each."""

import typer

from redhanded.commands import (
    attack,
    calibrate,
    claims,
    compare,
    data,
    demo,
    evade,
    figures,
    replay,
    report,
    run,
)


def register(app: typer.Typer) -> None:
    """Add every command to the application."""
    app.command()(demo.demo)
    app.command()(attack.attack)
    app.command()(calibrate.calibrate)
    app.command()(replay.replay)
    app.command()(run.run)
    app.command()(compare.compare)
    app.command()(evade.evade)
    app.command()(figures.figures)
    app.command()(claims.claims)
    app.command()(report.report)
    app.add_typer(data.app, name="data")
