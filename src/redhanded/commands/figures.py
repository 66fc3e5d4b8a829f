"""`redhanded figures`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from matplotlib.figure import Figure
from typer import Argument, Option

from redhanded.commands import options
from redhanded.errors import RedhandedError
from redhanded.experiments.figures import queries
from redhanded.experiments.figures.picture import save
from redhanded.experiments.runner.store import read_records


def figures(
    records: Annotated[Path, Argument(help="Folder of records, such as results/small.")],
    out: Annotated[Path, Option(help="Folder for the pictures.")] = Path("runs/figures"),
) -> None:
    """Draw what queries look like (the paper's Figures 2, 3, 5 and 6) from extraction records.

    Of attacks as they are: thefts that were adapted, or had other images, are left out.

    Writes a PNG and an SVG for each figure: crossed samples over iterations, and histograms of predicted
    confidence on surrogate and victim, a set for each world and number of seeds; and one that sums up each
    world's attacks: targets reached, distortion, overfitting, diversity of features.
    """
    read = list(read_records(records))
    found = queries.plain(record for record in read if record.get("kind") == "extraction")
    if not found:
        raise RedhandedError(
            f"records: {records} holds no extraction records; make some with `redhanded run`"
        )
    detections = [record for record in read if record.get("kind") == "detection"]
    options.folder("out", out)
    for name, figure in _drawn(found, detections):
        save(figure, out / name)
        options.tell(f"Drew {out / name}.png and .svg")


def _drawn(records: list[dict[str, Any]], detections: list[dict[str, Any]]) -> Iterator[tuple[str, Figure]]:
    for world in sorted({record["world"] for record in records}):
        largest = max(record["n_seed"] for record in records if record["world"] == world)
        chosen = [r for r in records if r["world"] == world and r["n_seed"] in (0, largest)]
        yield f"traits-{world}", queries.traits_by_attack(chosen, detections)
    crafting = [record for record in records if "traits_crossed_victim" in record]
    for world, n_seed in sorted({(record["world"], record["n_seed"]) for record in crafting}):
        sized = [r for r in crafting if (r["world"], r["n_seed"]) == (world, n_seed)]
        for ours, suffix in ((True, ""), (False, "-others")):
            chosen = [r for r in sized if (r["attack"] in queries.OF_THE_PAPER) == ours]
            if chosen:
                yield f"crossed-{world}-{n_seed}{suffix}", queries.crossed_samples(chosen)
                yield f"confidence-{world}-{n_seed}{suffix}", queries.confidence_histograms(chosen)
    for record in records:
        if "traits_queries" in record and "traits_crossed_victim" not in record:
            name = f"confidence-{record['world']}-{record['attack']}-{record['seed']}"
            yield name, queries.confidence_over_queries(record)
