"""Which unlabelled images are worth a query: the measures of ActiveThief (Pal et al. 2020; §III-C).

All are deterministic; of equals the first wins.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from redhanded.lab.attacks.deepfool import deepfool
from redhanded.lab.training import predict
from redhanded.lab.types import Images
from redhanded.types import Float, Int

Strategy = Literal["random", "uncertainty", "k-center", "dfal", "dfal+k-center"]
BLOCK = 1024
"""Rows of a block of distances: four megabytes, whatever the pool."""


def probabilities(
    model: nn.Module, images: Images, rows: Int[Tensor, " k"] | None = None
) -> Float[Tensor, "m classes"]:
    """Return the model's probabilities for some rows of the images, or all, without copying them at once."""
    if rows is None:
        return predict(model, images).softmax(1)
    return torch.cat([predict(model, images[part]).softmax(1) for part in torch.split(rows, 4 * BLOCK)])


def entropy(probabilities: Float[Tensor, "n classes"]) -> Float[Tensor, " n"]:
    """Return -Σ p log p of each row, in nats (Eq. 5)."""
    summands: Tensor = torch.special.entr(probabilities)
    return summands.sum(1)


def highest(scores: Float[Tensor, " n"], count: int) -> Int[Tensor, " k"]:
    """Return the places of the `count` highest scores, highest first."""
    return scores.sort(descending=True, stable=True).indices[:count]


def k_center(
    candidates: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], count: int
) -> Int[Tensor, " k"]:
    """Pick `count` candidates, each the farthest from all centres and earlier picks (greedy K-center).

    Keeps one distance a candidate: O(n (m + k) d) time, O(n) memory, no wait for the device.
    """
    nearest = torch.cat([_nearest(block, centres) for block in torch.split(candidates, BLOCK)])
    picks = []
    for _ in range(min(count, len(candidates))):
        pick = nearest.argmax(keepdim=True)  # the first of equals
        picks.append(pick)
        nearest = torch.minimum(nearest, _distances(candidates, candidates[pick])[:, 0])
        nearest = nearest.index_fill(0, pick, -1)  # below its twins, which lie at 0
    return torch.cat(picks) if picks else torch.empty(0, dtype=torch.long, device=candidates.device)


def _nearest(block: Float[Tensor, "b d"], centres: Float[Tensor, "m d"]) -> Float[Tensor, " b"]:
    nearest = block.new_full((len(block),), torch.inf)
    for part in torch.split(centres, BLOCK):
        if len(part) > 0:
            nearest = torch.minimum(nearest, _distances(block, part).amin(1))
    return nearest


def _distances(one: Float[Tensor, "a d"], other: Float[Tensor, "b d"]) -> Float[Tensor, "a b"]:
    """Return L2 distances, summed directly: a matrix product would blur the small ones."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


@dataclass(frozen=True)
class Dfal:
    """DeepFool-based active learning: how far the surrogate's nearest boundary lies from an image.

    Defaults are ActiveThief's code: 20 iterations, always all of them, overshoot 0.01, and at most `pool`
    random images looked at in a round. That code linearises probabilities and leaves out a division by the
    gradient's norm; this is DeepFool as published, on logits.
    """

    steps: int = 20
    overshoot: float = 0.01
    candidates: int = 10
    """Classes DeepFool looks at."""
    pool: int = 10_000
    batch: int = 256

    def __call__(self, surrogate: nn.Module, images: Images, rows: Int[Tensor, " k"]) -> Float[Tensor, " k"]:
        """Return the squared L2 norm of the perturbation of each of the images' `rows`."""
        surrogate.eval()
        how = self.steps, self.overshoot, self.candidates
        parts = []
        for part in torch.split(rows, self.batch):
            batch = images[part].contiguous(memory_format=torch.channels_last)
            parts.append(deepfool(surrogate, batch, *how, stop_early=False).squared_l2)
        return torch.cat(parts)
