"""SEAT: the similarity encoder, taught that adversarial examples of the victim lie near their images.

Source: Zhang, Chen and Wagner, "SEAT: Similarity encoder by adversarial training for detecting model
extraction attack queries", 2021, whose authors' later code uses untargeted L∞ PGD with Foolbox's defaults
against the victim's own prediction and a radius of three times 8/255.
"""

import torch
from torch import nn

from redhanded.lab.attacks.perturb import LinfPgd
from redhanded.lab.encoders.similarity import View
from redhanded.lab.training import predict
from redhanded.lab.types import Images

SEAT_PGD = LinfPgd(epsilon=3 * 8 / 255)


def adversarial_view(victim: nn.Module, pgd: LinfPgd = SEAT_PGD) -> View:
    """Return the view that pushes each image away from what the victim says to it."""
    victim.eval()

    def view(images: Images, generator: torch.Generator) -> Images:
        victim.requires_grad_(False)
        said = predict(victim, images).argmax(1)
        return pgd.descend(victim, images, pgd.start(images, generator), said, away=True)

    return view
