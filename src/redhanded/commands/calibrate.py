"""`redhanded calibrate`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
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
from redhanded.detectors.calibrate import FPR, Calibration, allowed_flags, calibrate_similarity
from redhanded.detectors.index import principal_axes
from redhanded.detectors.similarity import Count
from redhanded.errors import RedhandedError
from redhanded.experiments.context import Context
from redhanded.experiments.datasets import as_floats
from redhanded.experiments.run import run_cells
from redhanded.experiments.world import World
from redhanded.lab.data import load
from redhanded.lab.imagefolder import read_images
from redhanded.types import FeatureArray, ImageArray

COUNTS: dict[str, Count] = {"queries": "queries", "pairs": "pairs"}


def calibrate(
    out: Annotated[Path, typer.Option(help="Folder of the bundle to write.")],
    world: WorldName = "demo",
    bundle: Annotated[
        Path | None, typer.Option(help="Take the encoder of this bundle instead of training the world's.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of your own benign images to tune on.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Image set to tune on, as NAME or NAME/SPLIT (`redhanded data list`).")
    ] = None,
    fpr: Annotated[float, typer.Option(help="Bans per benign query to allow.")] = FPR,
    count: Annotated[
        str,
        typer.Option(
            help="What a near-duplicate adds to the flags. queries: 1; pairs: 1 for each it is near."
        ),
    ] = "queries",
    flags_to_ban: Annotated[int, typer.Option(help="Flags that close an account.")] = 50,
    seed: Annotated[
        int, typer.Option(min=0, max=2**63 - 1, help="Seed of the order in which the images are sent.")
    ] = 0,
    artefacts: Artefacts = ARTEFACTS,
    device: DeviceName = "cpu",
    as_json: Json = False,
) -> None:
    """Tune the similarity detector's threshold to a false-positive rate, and write it as a bundle.

    The benign images are sent as one honest user would send them, in random order; the largest threshold at
    which that user is not banned more often than allowed is kept. The bundle runs in the guard without
    PyTorch.
    """
    chosen_world, show = world_named(world), stderr()
    rule = chosen(COUNTS, count, "count")
    if images is not None and data is not None:
        raise RedhandedError("data: give --images or --data, not both")
    context = context_of(Path("runs") / chosen_world.name, artefacts, device, show)
    out.mkdir(parents=True, exist_ok=True)
    stream, name = _stream(chosen_world, images, data)
    allowed_flags(len(stream), fpr=fpr, count=rule, flags_to_ban=flags_to_ban)  # before anything is trained
    if bundle is None:
        encoder_cell = chosen_world.train_encoder()
        run_cells([encoder_cell], context, artefacts=True, started=announce(show))
        encoder = encoder_cell.load(context)
    else:
        encoder = load_bundle(bundle).encoder
    stream = stream[np.random.default_rng([seed, len(stream)]).permutation(len(stream))]
    # a threshold of 1 stands in until the true one is known; it only lets the detector check the images
    uncalibrated = SimilarityDetector(encoder, 1.0, rule, flags_to_ban)
    features = _embed(uncalibrated, stream, context)
    calibration, _ = calibrate_similarity(features, fpr=fpr, count=rule, flags_to_ban=flags_to_ban)
    detector = replace(uncalibrated, delta=calibration.delta, axes=principal_axes(features))
    save_bundle(
        out,
        detector,
        calibration,
        {
            "stream": name,
            "seed": seed,
            "encoder": encoder.digest,
            "redhanded": redhanded.__version__,
        },
    )
    say(stdout(), [_table(calibration)], asdict(calibration), as_json=as_json)
    show.print(f"Bundle: {out}", highlight=False, markup=False)


def _stream(world: World, images: Path | None, data: str | None) -> tuple[ImageArray, str]:
    if images is not None:
        return read_images(images).images, f"own images ({images.name})"
    if data is not None:
        name, _, split = data.partition("/")
        return as_floats(load(name, split or "train").images), data
    parts = [as_floats(part.load().images) for part in world.tuning]
    return np.concatenate(parts), "+".join(part.name for part in world.tuning)


def _embed(detector: SimilarityDetector, stream: ImageArray, context: Context) -> FeatureArray:
    parts = []
    with context.reporter("embedding") as progress:
        for at in range(0, len(stream), 1024):
            parts.append(detector.features(stream[at : at + 1024]))
            progress(min(at + 1024, len(stream)), len(stream))
    return np.concatenate(parts)


def _table(found: Calibration) -> Table:
    table = Table(
        title="Calibrated similarity detector",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        caption="FPR: bans per benign query, 95% interval by block bootstrap, on the images that tuned it.",
        caption_justify="left",
    )
    for column in ("threshold δ", "benign images", "flags", "bans", "flag rate", "FPR", "interval"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{found.delta:.6g}",
        f"{found.length:,}",
        str(found.flags),
        str(found.bans),
        f"{found.flag_rate:.3%}",
        f"{found.fpr:.4%}",
        f"{found.fpr_low:.4%} to {found.fpr_high:.4%}",
    )
    return table
