"""What `redhanded attack` attacks: a world's victim, or a target of the user's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from redhanded.commands.options import announce, stderr
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Extract
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.cells.extract import pool_arguments
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.run import run_cells
from redhanded.lab.data.folder import ImageFolder, read_images
from redhanded.lab.oracles.remote import oracle_from
from redhanded.lab.oracles.victim import HardLabels, Probabilities
from redhanded.lab.types import Images, Oracle


@dataclass(frozen=True)
class Target:
    """What is attacked, from what, and what the clone is scored on."""

    oracle: Oracle
    seeds: Images
    further: dict[str, Any]
    """What else the attack wants to know of its images."""
    classes: int
    test: Images | None
    labels: torch.Tensor | None
    """Test labels; None without test images."""
    victim: nn.Module | None

    def score(self, clone: nn.Module) -> float:
        """Extraction accuracy; NaN without test images."""
        if self.test is None or self.labels is None:
            return float("nan")
        return accuracy(clone, self.test, self.labels)


def _make(cell: Extract, cells: list[Cell], context: Context) -> None:
    """Train what the attack needs before its first query."""
    needed = [need for need in cells if need in cell.needs]
    run_cells(needed, context, artefacts=True, started=announce(stderr()))


def world_target(cell: Extract, context: Context) -> Target:
    """Return the victim of a world, trained first if need be."""
    _make(cell, list(cell.needs), context)
    victim, test = cell.victim.load(context), cell.victim.test.load()
    seeds, further = cell.start(context)
    return Target(
        (HardLabels if cell.attack.answers == "labels" else Probabilities)(victim),
        seeds,
        further,
        int(context.record(cell.victim)["classes"]),
        as_tensor(test.images, context.device),
        torch.from_numpy(test.labels).to(context.device),
        victim,
    )


def own_target(
    cell: Extract,
    spec: str,
    images: Path | None,
    classes: int | None,
    test: Path | None,
    rate: float | None,
    n_seed: int,
    seed: int,
    context: Context,
) -> Target:
    """Return a target of the user's own; raises `RedhandedError` for what does not fit."""
    if classes is None or (images is None and cell.attack.starts_from != "nothing"):
        raise RedhandedError("oracle: a target of your own needs --images DIR and --classes N as well")
    _make(cell, [need for need in cell.needs if need != cell.victim], context)
    seeds, further = _own_images(cell, images, n_seed, seed)
    held: ImageFolder | None = None if test is None else read_images(test)
    if held is not None and held.labels is None:
        raise RedhandedError(f"test: {test} has no subfolder per class; sort its images by class")
    return Target(
        oracle_from(spec, classes, rate=rate),
        seeds.to(context.device),
        further,
        classes,
        None if held is None else torch.from_numpy(held.images).to(context.device),
        None if held is None or held.labels is None else torch.from_numpy(held.labels).to(context.device),
        None,
    )


def _own_images(cell: Extract, folder: Path | None, n_seed: int, seed: int) -> tuple[Images, dict[str, Any]]:
    if folder is None or cell.attack.starts_from == "nothing":
        return torch.empty(0, 3, 32, 32), {}
    found = read_images(folder)
    if cell.attack.starts_from == "pool":
        labels = None if found.labels is None else torch.from_numpy(found.labels)[:, None]
        return torch.from_numpy(found.images), pool_arguments(cell.attack, labels)
    if len(found.images) < n_seed:
        raise RedhandedError(
            f"n-seed: {n_seed} seeds cannot be drawn from the {len(found.images)} images in {folder}; "
            "give more images or a smaller --n-seed"
        )
    places = np.random.default_rng([seed, n_seed]).permutation(len(found.images))[:n_seed]
    return torch.from_numpy(found.images[places]), {}
