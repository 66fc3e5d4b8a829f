"""How hard an image is to a model: when, in its training, its prediction settles (after HODA)."""

from collections.abc import Callable, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from redhanded.lab.training import Checkpoint, Progress, Training, train_classifier
from redhanded.lab.types import Images, Outputs
from redhanded.types import Float


class Hardness(nn.Module):
    """Images [n, c, h, w] to the place [n, 1] of the first snapshot after which the prediction stays."""

    def __init__(self, snapshots: Sequence[nn.Module]) -> None:  # of one training, earliest first
        super().__init__()
        self.snapshots = nn.ModuleList(snapshots)

    def forward(self, images: Images) -> Float[Tensor, "n 1"]:
        """Return 0 where all snapshots agree with the last, up to k - 1 where only the last says so."""
        labels = [snapshot(images).argmax(1) for snapshot in self.snapshots]
        stays = torch.ones_like(labels[-1], dtype=torch.float32)
        agreeing = torch.zeros_like(stays)
        for earlier in reversed(labels):
            stays = stays * (earlier == labels[-1]).to(stays.dtype)
            agreeing = agreeing + stays
        return (len(labels) - agreeing)[:, None]


def train_with_snapshots(
    model: nn.Module,
    images: Images,
    labels: Outputs,
    training: Training,
    generator: torch.Generator,
    count: int,
    keep: Callable[[int, nn.Module], None],
    *,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train a classifier, handing a copy to `keep(place, model)` at each of `count` equal parts; as `fit`.

    A resumed training hands over anew what it had handed over before, later copies: keep the first.
    """
    handed = 0

    def watch(done: int, of: int) -> None:
        nonlocal handed
        reached = done * count // of
        if reached > handed:
            for place in range(handed, reached):  # more than one at once only in trainings of few steps
                keep(place, deepcopy(model).eval())
            handed = reached
        if progress is not None:
            progress(done, of)

    train_classifier(model, images, labels, training, generator, progress=watch, checkpoint=checkpoint)
