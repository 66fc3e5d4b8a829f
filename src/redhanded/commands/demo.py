"""`redhanded demo`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option

from redhanded.commands import options
from redhanded.experiments.pages import demo_page
from redhanded.experiments.pages.demo import Demo

DATA = {"digits": "demo", "cifar10": "small"}


def demo(
    data: Annotated[
        str, Option(help="digits (embedded, minutes) or cifar10 (from $REDHANDED_DATA, over an hour).")
    ] = "digits",
    out: Annotated[
        Path | None, Option(help="Folder for records and report; default runs/demo or runs/small.")
    ] = None,
    pictures: Annotated[Path | None, Option(help="Also write the report's figures as PNG here.")] = None,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    as_json: options.Json = False,
) -> None:
    """Steal a model, watch the guard catch the thief, and read the bill.

    Trains a victim and the similarity detector, calibrates it to 0.01% false positives, runs random
    sampling, JB-top3 and JBA-PGD, replays their queries before the guard, and prints what theft cost. Also
    writes report.html. Stop it at any time: the same command goes on where it stopped.
    """
    world = options.world_named(options.chosen(DATA, data, "data"))
    folder = out or Path("runs") / world.name
    context = options.context_of(folder, artefacts, device)
    if pictures is not None:
        options.folder("pictures", pictures)
    story = Demo.of(world, ("per-pair", "released") if world.name == "small" else ("per-pair",))
    options.prepare(story.cells, context)
    view = story.view(context)
    demo_page.write_report(folder / "report.html", view)
    if pictures is not None:
        demo_page.write_pictures(pictures, view)
    data_out = {
        "rows": [asdict(row) for row in view.rows],
        "honest": [asdict(row) for row in view.heldout],
        "encoders": [asdict(row) for row in view.encoders],
        "victim_accuracy": view.victim_accuracy,
        "delta": view.delta,
    }
    options.say(
        [demo_page.result_table(view), demo_page.benign_table(view), demo_page.encoder_table(view)],
        data_out,
        as_json=as_json,
    )
    options.tell(f"Report: {folder / 'report.html'}")
