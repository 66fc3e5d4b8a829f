"""`redhanded calibrate`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich import box
from rich.table import Table

import redhanded
from redhanded.commands.options import (
    ARTEFACTS,
    Artefacts,
    DeviceName,
    Json,
    WorldName,
    announce,
    chosen,
    context_of,
    say,
    stderr,
    stdout,
    world_named,
)
from redhanded.detectors import SimilarityDetector, load_bundle, save_bundle
from redhanded.detectors.calibrate import StatisticCalibration
from redhanded.detectors.calibrate import calibrate as tuned_on
from redhanded.detectors.pairs import FPR, Calibration, allowed_flags
from redhanded.detectors.similarity import Count
from redhanded.errors import RedhandedError
from redhanded.experiments.cells.datasets import as_floats
from redhanded.experiments.cells.judges import Judge
from redhanded.experiments.cells.tune import CHUNK, one_pass
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import World
from redhanded.lab.data import load
from redhanded.lab.data.folder import read_images
from redhanded.types import ImageArray

COUNTS: dict[str, Count] = {"queries": "queries", "pairs": "pairs"}


def calibrate(
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    detector: Annotated[str, typer.Option(help=f"What judges: {', '.join(DETECTORS)}.")] = "similarity",
    world: WorldName = "demo",
    bundle: Annotated[
        Path | None,
        typer.Option(help="Tune the detector of this bundle anew instead of training the world's."),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of your own benign images to tune on.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Image set to tune on, as NAME or NAME/SPLIT (`redhanded data list`).")
    ] = None,
    fpr: Annotated[float, typer.Option(help="Bans per benign query to allow.")] = FPR,
    count: Annotated[
        str,
        typer.Option(
            help="What a near-duplicate adds to the flags of a similarity detector. queries: 1; pairs: 1 for "
            "each it is near."
        ),
    ] = "queries",
    flags_to_ban: Annotated[
        int | None,
        typer.Option(help="Flags that close an account; by default 50 where queries are flagged, else 1."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the order in which the images are sent.")
    ] = 0,
    artefacts: Artefacts = ARTEFACTS,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Tune a detector's threshold to a false-positive rate, and write it as a bundle.

    The benign images are sent as one honest user would send them, in random order; the loosest threshold at
    which that user is not banned more often than allowed is kept. The bundle runs in the guard without
    PyTorch.
    """
    chosen_world, show = world_named(world), stderr()
    rule = chosen(COUNTS, count, "count")
    judge: Judge = chosen(DETECTORS, detector, "detector")(chosen_world)
    if images is not None and data is not None:
        raise RedhandedError("data: give --images or --data, not both")
    context = context_of(Path("runs") / chosen_world.name, artefacts, device, show)
    out.mkdir(parents=True, exist_ok=True)
    stream, name = _stream(chosen_world, images, data)
    untuned: Any = None if bundle is None else load_bundle(bundle)
    quota = flags_to_ban
    if quota is None:
        quota = judge.flags_to_ban if untuned is None else untuned.flags_to_ban
    allowed_flags(len(stream), fpr=fpr, count=rule, flags_to_ban=quota)  # before anything is trained
    if untuned is None:
        run_cells(judge.needs, context, artefacts=True, started=announce(show))
        # a bundle is for ONNX Runtime on a CPU, wherever its networks were trained
        untuned = judge.make(replace(context, device=torch.device("cpu")))
    elif untuned.needs_outputs:
        raise RedhandedError(
            "bundle: its detector judges by the victim's answers; tune it with --detector in its world"
        )
    untuned = replace(untuned, flags_to_ban=quota)
    if isinstance(untuned, SimilarityDetector):
        untuned = replace(untuned, count=rule)
    stream = stream[np.random.default_rng([seed, len(stream)]).permutation(len(stream))]
    with context.reporter("embedding") as progress:
        chunks = (stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK))
        features, outputs = one_pass(untuned, judge, chunks, len(stream), context, progress)
    tuned, calibration = tuned_on(untuned, features, outputs, fpr=fpr)
    provenance = {"stream": name, "seed": seed, "redhanded": redhanded.__version__}
    save_bundle(out, tuned, calibration, provenance)
    say(
        stdout(),
        [_table(detector if bundle is None else bundle.name, calibration)],
        asdict(calibration),
        as_json=as_json,
    )
    show.print(f"Bundle: {out}", highlight=False, markup=False)


def _stream(world: World, images: Path | None, data: str | None) -> tuple[ImageArray, str]:
    if images is not None:
        return read_images(images).images, f"own images ({images.name})"
    if data is not None:
        name, _, split = data.partition("/")
        return as_floats(load(name, split or "train").images), data
    parts = [as_floats(part.load().images) for part in world.tuning]
    return np.concatenate(parts), "+".join(part.name for part in world.tuning)


def _table(name: str, found: Calibration | StatisticCalibration) -> Table:
    table = Table(
        title=f"Calibrated detector: {name}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption="FPR: bans per benign query, 95% interval by block bootstrap, on the images that tuned it.",
        caption_justify="left",
    )
    threshold = "threshold δ" if isinstance(found, Calibration) else "threshold"
    for column in (threshold, "benign images", "flags", "bans", "flag rate", "FPR", "interval"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{found.delta if isinstance(found, Calibration) else found.threshold:.6g}",
        f"{found.length:,}",
        str(found.flags),
        str(found.bans),
        f"{found.flag_rate:.3%}",
        f"{found.fpr:.4%}",
        f"{found.fpr_low:.4%} to {found.fpr_high:.4%}",
    )
    return table
