"""What `redhanded attack` attacks: a world's victim, or a target of the user's own."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from redhanded.commands import options
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Extract
from redhanded.experiments.cells.datasets import as_tensor
from redhanded.experiments.cells.extract import pool_arguments
from redhanded.experiments.measure.metrics import accuracy
from redhanded.experiments.runner.context import Context
from redhanded.lab.data.folder import read_images
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


def world_target(cell: Extract, context: Context) -> Target:
    """Return the victim of a world, trained first if need be."""
    options.prepare(cell.needs, context)
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


@dataclass(frozen=True)
class Own:
    """A target of the user's own, as the options give it."""

    spec: str | None
    images: Path | None
    classes: int | None
    test: Path | None
    rate: float | None

    def check(self) -> None:
        """Raise `RedhandedError` for options that would be ignored."""
        given = [name for name, value in asdict(self).items() if value is not None]
        if self.spec is None and given:
            raise RedhandedError(f"oracle: --{given[0]} is for a target of your own; give --oracle as well")


def own_target(cell: Extract, own: Own, context: Context) -> Target:
    """Return a target of the user's own; raises `RedhandedError` for what does not fit."""
    lacking = own.images is None and cell.attack.starts_from != "nothing"
    if own.spec is None or own.classes is None or lacking:
        raise RedhandedError("oracle: a target of your own needs --images DIR and --classes N as well")
    options.prepare([need for need in cell.needs if need != cell.victim], context)
    seeds, further = _own_images(cell, own.images)
    images, labels = None, None
    if own.test is not None:
        held = read_images(own.test)
        if held.labels is None:
            raise RedhandedError(f"test: {own.test} has no subfolder per class; sort its images by class")
        images, labels = (torch.from_numpy(part).to(context.device) for part in (held.images, held.labels))
    oracle = oracle_from(own.spec, own.classes, rate=own.rate)
    return Target(oracle, seeds.to(context.device), further, own.classes, images, labels, None)


def _own_images(cell: Extract, folder: Path | None) -> tuple[Images, dict[str, Any]]:
    if folder is None or cell.attack.starts_from == "nothing":
        return torch.empty(0, 3, 32, 32), {}
    found = read_images(folder)
    if cell.attack.starts_from == "pool":
        labels = None if found.labels is None else torch.from_numpy(found.labels)[:, None]
        return torch.from_numpy(found.images), pool_arguments(cell.attack, labels)
    n_seed = cell.n_seed
    if len(found.images) < n_seed:
        raise RedhandedError(
            f"n-seed: {n_seed} seeds cannot be drawn from the {len(found.images)} images in {folder}; "
            "give more images or a smaller --n-seed"
        )
    places = np.random.default_rng([cell.seed, n_seed]).permutation(len(found.images))[:n_seed]
    return torch.from_numpy(found.images[places]), {}
