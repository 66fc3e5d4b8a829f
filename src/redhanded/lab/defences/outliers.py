"""What the defences that train on out-of-distribution images share."""

import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.training import Training, crop_and_flip
from redhanded.lab.types import Images
from redhanded.types import Float

Outliers = Float[Tensor, "outliers c h w"]
"""Images that are not of the victim's distribution, float32 in [0, 1]."""

DEFENDER = Training(
    epochs=100, batch=64, lr=0.1, momentum=0.9, weight_decay=5e-4, step_epochs=50, step_factor=0.1
)
"""How the released code of Adaptive Misinformation trains its two models."""


def check_outliers(outliers: Outliers) -> None:
    if not len(outliers):
        raise RedhandedError(
            "outliers: there are none; give images that are not of the victim's distribution"
        )


def exposed(
    images: Images, outliers: Outliers, places: Tensor, config: Training, generator: torch.Generator
) -> Float[Tensor, "both c h w"]:
    """Return the batch's `images` and, behind them, as many random `outliers`: [2 batch, c, h, w].

    They pass through a network together, as in the released code, so batch norm sees both.
    """
    drawn = torch.randint(len(outliers), (len(places),), generator=generator).to(outliers.device)
    batch = torch.cat([images[places], outliers[drawn]])
    if config.crop_flip:
        batch = crop_and_flip(batch, generator)
    return batch.contiguous(memory_format=torch.channels_last)
