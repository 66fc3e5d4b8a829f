"""`redhanded calibrate`."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.table import Table
from typer import Option

import redhanded
from redhanded.commands import options
from redhanded.detectors import LikelihoodDetector, SimilarityDetector, load_bundle, save_bundle
from redhanded.detectors.bundle import bundle_digest, copy_bundle, short
from redhanded.detectors.distinct import deduplicate
from redhanded.detectors.pairs import FPR, allowed_flags
from redhanded.detectors.similarity import Count
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Calibrate, Tune
from redhanded.experiments.cells.calibrate import in_order, stream_name
from redhanded.experiments.cells.encoder import TrainEncoder
from redhanded.experiments.cells.judges import Judge, Outliers, Similarity
from redhanded.experiments.cells.tuned import BUNDLE, Tuned, tune
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.experiments.worlds.detectors import DETECTORS
from redhanded.experiments.worlds.world import World
from redhanded.lab.data.archive import load
from redhanded.lab.data.folder import read_images
from redhanded.types import UInt8

COUNTS: dict[str, Count] = {"queries": "queries", "pairs": "pairs"}


def calibrate(
    out: Annotated[Path, Option(help="Folder of the bundle to write.")],
    detector: Annotated[str, Option(help=f"What judges: {', '.join(DETECTORS)}.")] = "similarity",
    world: options.WorldName = "demo",
    bundle: Annotated[
        Path | None, Option(help="Tune the detector of this bundle anew instead of training the world's.")
    ] = None,
    images: Annotated[Path | None, Option(help="Folder of your own benign images to tune on.")] = None,
    data: Annotated[
        str | None, Option(help="Image set to tune on, as NAME or NAME/SPLIT (`redhanded data list`).")
    ] = None,
    compared: Annotated[
        bool,
        Option(
            "--compared", help="Take a similarity detector as `redhanded compare` tunes it, not the tables'."
        ),
    ] = False,
    as_given: Annotated[
        bool, Option("--as-given", help="Keep near-duplicates in the stream of a detector tuned anew.")
    ] = False,
    fpr: Annotated[float, Option(help="Bans per benign query to allow.")] = FPR,
    count: Annotated[
        str,
        Option(
            help="What a near-duplicate adds to the flags of a similarity detector. queries: 1; pairs: 1 for "
            "each it is near."
        ),
    ] = "queries",
    flags_to_ban: Annotated[
        int | None,
        Option(help="Flags that close an account; by default 50 where queries are flagged, else 1."),
    ] = None,
    seed: Annotated[int, options.seed("the order in which the images are sent")] = 0,
    artefacts: options.Artefacts = options.ARTEFACTS,
    device: options.DeviceName = "cpu",
    as_json: options.Json = False,
) -> None:
    """Write a detector, its threshold tuned to a false-positive rate, as a bundle for the guard.

    Without --images, --data and --bundle it is the world's own: the very bundle that was measured, copied
    byte for byte, made first if it is not here. `similarity` and `similarity-released` are those of the
    paper's tables (with --compared those of `redhanded compare`); the others are those of
    `redhanded compare` and of Tables XIV and XV.

    With any of them a detector is tuned anew, as the comparison tunes: the images are sent as one honest user
    would send them, in random order and without near-duplicates (--as-given keeps them), and the loosest
    threshold at which that user is not banned more often than allowed is kept. What a detector takes from
    benign images besides its threshold (the likelihood's mean, the histogram of hardness), it takes from all
    of yours; of the world's, from those of the victim's kind.
    """
    chosen_world = options.world_named(world)
    rule = options.chosen(COUNTS, count, "count")
    judge: Judge = options.chosen(DETECTORS, detector, "detector")(chosen_world)
    untuned = None if bundle is None else load_bundle(bundle)
    if images is not None and data is not None:
        raise RedhandedError("data: give --images or --data, not both")
    own = images is None and data is None and bundle is None
    if own and as_given:
        raise RedhandedError("as-given: the world's own is tuned on its own stream; give --images or --data")
    if compared and not own:
        raise RedhandedError("compared: what is tuned anew is tuned so anyway; leave --compared out")
    if rule != "queries" and not isinstance(untuned or judge, Similarity | SimilarityDetector):
        raise RedhandedError("count: only a similarity detector can count pairs; leave --count out")
    context = options.context_of(Path("runs") / chosen_world.name, artefacts, device)
    options.folder("out", out)
    if own:
        cell = _cell(chosen_world, judge, fpr, rule, flags_to_ban, seed, compared=compared)
        found = _taken_out(cell, context, out)
    else:
        stream = _stream(chosen_world, images, data, seed, as_given=as_given)
        options.tell(f"{len(stream.images):,} benign images, {stream.left_out:,} near-duplicates left out")
        tuned = _tuned(stream, judge, untuned, context, fpr, rule, flags_to_ban)
        provenance = {"stream": stream.name, "seed": seed, "redhanded": redhanded.__version__}
        save_bundle(out, tuned.detector, tuned.calibration, provenance)
        found = asdict(tuned.calibration)
    found = found | {"bundle_digest": bundle_digest(out)}
    options.say([_table(detector if bundle is None else bundle.name, found)], found, as_json=as_json)
    options.tell(f"Bundle: {out}")


def _cell(
    world: World,
    judge: Judge,
    fpr: float,
    count: Count,
    flags_to_ban: int | None,
    seed: int,
    *,
    compared: bool,
) -> Calibrate | Tune:
    """Return the world's own cell that tunes the detector; without options that of tables or comparison."""
    quota = judge.flags_to_ban if flags_to_ban is None else flags_to_ban
    if isinstance(judge, Similarity) and isinstance(judge.encoder, TrainEncoder) and not compared:
        calibration = world.calibrate(judge.encoder.config.loss)
        cell: Calibrate | Tune = replace(calibration, fpr=fpr, count=count, flags_to_ban=quota, seed=seed)
    else:
        if count != "queries":
            raise RedhandedError(
                f"count: the world's own {judge.title} counts queries; tune another with --images or --data"
            )
        if quota != judge.flags_to_ban:
            if not isinstance(judge, Similarity | Outliers):
                raise RedhandedError(
                    f"flags-to-ban: the world's own {judge.title} closes an account at its first alarm; "
                    "tune another with --images or --data"
                )
            judge = replace(judge, flags_to_ban=quota)
        cell = Tune(world.name, judge, world.judging.common, fpr, seed)
    length = sum(len(part.load()) for part in cell.stream)
    allowed_flags(length, fpr=fpr, count=count, flags_to_ban=quota)  # before anything is trained
    return cell


def _taken_out(cell: Calibrate | Tune, context: Context, out: Path) -> Record:
    """Copy the cell's bundle, having measured the cell if it is not here; returns its record."""
    options.prepare([cell], context)
    record, made = context.record(cell), context.artefact(cell) / BUNDLE
    if not made.is_dir():
        raise RedhandedError(
            f"bundle: {cell.label} was tuned where its encoder could not be exported; tune it on a CPU, with "
            "the lab extra and another --artefacts"
        )
    copy_bundle(made, out)
    measured = record.get("bundle_digest")
    if measured not in (None, bundle_digest(made)):
        options.tell(f"The record's bundle is {short(measured)}; its artefacts were made again and differ")
    return record


@dataclass(frozen=True)
class _Stream:
    """Benign images as bytes, in the order in which they are sent."""

    images: UInt8[np.ndarray, "n h w c"]
    name: str
    left_out: int
    """Near-duplicates."""
    own: int | None
    """How many of the first are of the victim's kind; None: all."""


def _stream(world: World, images: Path | None, data: str | None, seed: int, *, as_given: bool) -> _Stream:
    own = None
    if images is not None:
        floats = read_images(images).images
        sets = [(floats.transpose(0, 2, 3, 1) * 255).round().astype(np.uint8)]
        name = f"own images ({images.name})"
    elif data is not None:
        name, _, split = data.partition("/")
        sets, name = [load(name, split or "train").images], data
    else:
        sets, name = [part.load().images for part in world.judging.common], stream_name(world.judging.common)
        own = world.judging.own_sets
    ordered = in_order(sets, seed)
    kept = np.ones(len(ordered), bool) if as_given else deduplicate(ordered)[0]
    leading = None if own is None else int(kept[: sum(map(len, sets[:own]))].sum())
    return _Stream(ordered[kept], name, int((~kept).sum()), leading)


def _tuned(
    stream: _Stream,
    judge: Judge,
    untuned: Any,
    context: Context,
    fpr: float,
    count: Count,
    flags_to_ban: int | None,
) -> Tuned:
    """Tune a bundle's detector, or else one of the judge's."""
    quota = (untuned or judge).flags_to_ban if flags_to_ban is None else flags_to_ban
    # before anything is trained
    allowed_flags(len(stream.images), fpr=fpr, count=count, flags_to_ban=quota)
    if untuned is None:
        options.prepare(judge.needs, context)
        # a bundle is for ONNX Runtime on a CPU, wherever its networks were trained
        untuned = judge.make(replace(context, device=torch.device("cpu")))
    elif untuned.needs_outputs:
        raise RedhandedError(
            "bundle: its detector judges by the victim's answers; tune it with --detector in its world"
        )
    untuned = replace(untuned, flags_to_ban=quota)
    if isinstance(untuned, SimilarityDetector):
        untuned = replace(untuned, count=count)
    # the likelihood's mean is of the victim's kind; what else is fitted is fitted to all
    own = stream.own if isinstance(untuned, LikelihoodDetector) else None
    with context.reporter("embedding") as progress:
        answers = partial(judge.outputs, context=context)
        return tune(untuned, stream.images, answers, progress, fpr=fpr, own=own)


def _table(name: str, found: Record) -> Table:
    near = "delta" in found
    threshold = "threshold δ" if near else "threshold"
    table = options.sheet(
        f"Calibrated detector: {name}",
        (threshold, "benign images", "flags", "bans", "flag rate", "FPR", "interval", "bundle"),
        "FPR: bans per benign query, 95% interval by block bootstrap, on the images that tuned it.",
    )
    table.add_row(
        f"{found['delta' if near else 'threshold']:.6g}",
        f"{found['length']:,}",
        str(found["flags"]),
        str(found["bans"]),
        f"{found['flag_rate']:.3%}",
        f"{found['fpr']:.4%}",
        f"{found['fpr_low']:.4%} to {found['fpr_high']:.4%}",
        short(found["bundle_digest"]),
    )
    return table
