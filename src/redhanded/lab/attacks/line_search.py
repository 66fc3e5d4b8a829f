"""Line searches between points of different classes, many at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from redhanded.lab.types import Images
from redhanded.types import Bool, Float, Int

CHUNK = 1024
"""Pairs whose distance is measured at once."""


class Answered(NamedTuple):
    """Which of the midpoints asked about were answered, and which of these are of their near end's class."""

    kept: Bool[Tensor, " r"]
    same: Bool[Tensor, " kept"]


Answer = Callable[[Int[Tensor, " r"], Images], Answered]
"""Told which searches, and their midpoints."""


class Pairs(NamedTuple):
    """Line searches to be made, as places of their ends among points."""

    near: Int[Tensor, " k"]
    far: Int[Tensor, " k"]
    steps: Int[Tensor, " k"]
    """Halvings until the ends are close enough."""

    def rows(self, rows: Int[Tensor, " r"] | slice) -> "Pairs":
        return Pairs(*(part[rows] for part in self))


def first_of_other_classes(labels: Int[Tensor, " n"]) -> tuple[Int[Tensor, " k"], Int[Tensor, " k"]]:
    """Pair each point, in turn, with the first point of every class but its own that came before it."""
    places = torch.arange(len(labels))
    first = torch.full((int(labels.amax()) + 1 if len(labels) else 0,), len(labels))
    first = first.scatter_reduce(0, labels, places, "amin").sort().values
    first = first[first < len(labels)]  # of the classes that there are
    wanted = (first < places[:, None]) & (labels[first] != labels[:, None])
    near, column = wanted.nonzero(as_tuple=True)
    return near, first[column]


def measure(points: Images, near: Int[Tensor, " k"], far: Int[Tensor, " k"], tolerance: float) -> Pairs:
    """Count the halvings of each pair; pairs that are close enough as they are are left out."""
    flat = points.flatten(1)
    ends = torch.stack([near, far], 1).to(flat.device)
    chunks = [ends[at : at + CHUNK] for at in range(0, len(ends), CHUNK)] or [ends]
    distances = [(flat[chunk[:, 0]] - flat[chunk[:, 1]]).norm(dim=1) for chunk in chunks]
    steps = (torch.cat(distances) / tolerance).log2().ceil().clamp(min=0).long().cpu()
    return Pairs(near, far, steps).rows(steps.nonzero()[:, 0])


def bisect(
    points: Images, pairs: Pairs, answer: Answer
) -> tuple[Float[Tensor, "k c h w"], Float[Tensor, "k c h w"]]:
    """Run line searches side by side; returns their near ends, of the class they began with, and far ends."""
    near, far = (points[ends.to(points.device)] for ends in (pairs.near, pairs.far))
    left = pairs.steps.clone()
    while len(rows := left.nonzero()[:, 0]) > 0:
        at = rows.to(points.device)
        middles = (near[at] + far[at]) / 2
        kept, same = answer(rows, middles)
        left[rows] = torch.where(kept, left[rows] - 1, 0)
        of_near = torch.zeros_like(kept).masked_scatter(kept, same)
        for end, moves in ((near, of_near), (far, kept & ~of_near)):
            there = moves.to(points.device)
            end[at[there]] = middles[there]
    return near, far
