"""DeepFool (Moosavi-Dezfooli et al. 2016): the least L2 change that carries an image over a boundary."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from redhanded.lab.types import Images
from redhanded.types import Float, Int

NUDGE = 1e-4
"""Added to each distance, as Foolbox does, so that a step does not end on the boundary itself."""


class Fooled(NamedTuple):
    """Where the images went, and how far that is."""

    images: Images
    squared_l2: Float[Tensor, " n"]


def deepfool(
    model: nn.Module,
    images: Images,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
    *,
    stop_early: bool = True,
) -> Fooled:
    """Push each image over the nearest boundary of the model's class for it.

    Each step linearises the logits of the `candidates` likeliest classes (two or more, the model's own
    included) and goes to the nearest of their boundaries; the sum of the steps is stretched by the share
    `overshoot` and clipped to [0, 1]. The defaults are Foolbox's. With `stop_early` an image whose class has
    changed stays where it is and leaves the batch, which asks the device once a step; without it every image
    takes all steps. The model is in evaluation mode, so that each image's path is its own.
    """
    with torch.no_grad():
        logits = model(images)
    ranked = logits.topk(min(candidates, logits.shape[1]), dim=1).indices
    rows = torch.arange(len(images), device=images.device)
    source, point, total = images, images, torch.zeros_like(images)
    fooled = images.clone()
    for _ in range(steps):
        if stop_early:
            with torch.no_grad():
                own = model(point).argmax(1) == ranked[:, 0]
            fooled[rows[~own]] = point[~own]
            rows, source, point, total, ranked = (part[own] for part in (rows, source, point, total, ranked))
            if len(rows) == 0:
                break
        total = total + _to_nearest_boundary(model, point, ranked)
        point = (source + (1 + overshoot) * total).clamp(0, 1)
    fooled[rows] = point
    return Fooled(fooled, (fooled - images).square().flatten(1).sum(1))


def _to_nearest_boundary(model: nn.Module, point: Images, ranked: Int[Tensor, "n k"]) -> Images:
    """Return the step f / |w|² · w of the nearest linearised boundary between the first class and another."""
    point = point.detach().requires_grad_()
    logits = model(point).gather(1, ranked)
    gaps = logits[:, 1:] - logits[:, :1]
    last = gaps.shape[1] - 1
    gradients = torch.stack(
        [
            torch.autograd.grad(gaps[:, k].sum(), point, retain_graph=k < last)[0].contiguous()
            for k in range(last + 1)
        ],
        dim=1,
    )
    norms = torch.linalg.vector_norm(gradients.flatten(2), dim=2) + 1e-8
    distance, nearest = (gaps.detach().abs() / norms).min(dim=1)
    each = torch.arange(len(point), device=point.device)
    length = (distance + NUDGE) / norms[each, nearest]
    step: Tensor = length.view(-1, 1, 1, 1) * gradients[each, nearest]
    return step
