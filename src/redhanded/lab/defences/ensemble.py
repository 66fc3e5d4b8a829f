"""Ensemble of Diverse Models: members that disagree on unfamiliar images (Kariyappa et al., §V-C)."""

from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from typing import Unpack

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.defences.outliers import DEFENDER, Outliers, check_outliers, exposed
from redhanded.lab.training import Training, Watch, fit
from redhanded.lab.types import Images, NewModel, Oracle, Outputs
from redhanded.types import Int


@dataclass(frozen=True)
class DiverseEnsemble:
    """Each image is answered by one member, which a secret hash of the image picks.

    The hash is keyed BLAKE2b of the pixels as 8-bit values: the same image always meets the same member, in
    whatever batch it is sent. The paper's hash is perceptual (in third-party code: class and confidence of a
    small network trained on other data), so that like images share a member; here a change of one pixel by
    1/255 may pick another, and a thief who asks for slight variations of an image sees several.
    """

    members: tuple[Oracle, ...]
    """Probabilities, of `train_ensemble`'s models."""
    secret: bytes = field(repr=False)
    """1 to 64 bytes."""

    def __post_init__(self) -> None:
        if not self.members:
            raise RedhandedError("members: there are none; give at least one oracle")
        if not 1 <= len(self.secret) <= blake2b.MAX_KEY_SIZE:
            raise RedhandedError(f"secret: {len(self.secret)} bytes; give 1 to {blake2b.MAX_KEY_SIZE}")

    def picks(self, images: Images) -> Int[Tensor, " n"]:  # the place of each image's member
        pixels = (images.detach().cpu() * 255).round().clamp(0, 255).to(torch.uint8).contiguous().numpy()
        digests = [blake2b(image.tobytes(), digest_size=8, key=self.secret).digest() for image in pixels]
        places = [int.from_bytes(digest, "big") % len(self.members) for digest in digests]
        return torch.tensor(places, dtype=torch.int64, device=images.device)

    def __call__(self, images: Images) -> Outputs:
        """Return probabilities [n, classes]; a member is sent only the images that it answers."""
        picks = self.picks(images)
        shares = [torch.where(picks == place)[0] for place in range(len(self.members))]
        asked = [(member, rows) for member, rows in zip(self.members, shares, strict=True) if len(rows)]
        answers = torch.cat([member(images[rows]) for member, rows in asked])
        return answers[torch.cat(shares).argsort()]


def train_ensemble(
    new_model: NewModel,
    images: Images,
    labels: Outputs,
    outliers: Outliers,
    generator: torch.Generator,
    *,
    size: int = 5,
    diversity: float = 1.0,
    config: Training = DEFENDER,
    **watch: Unpack[Watch],
) -> tuple[nn.Module, ...]:
    """Train `size` members together on images [n, c, h, w], labels [n, classes], outliers [m, c, h, w].

    Each minimises its cross-entropy on images; `diversity` times the `agreement` on outliers is added to the
    sum. The authors released no code: five members is what third-party code uses, the weight of 1 and the
    training of Adaptive Misinformation are this project's choice.
    Raises `RedhandedError` without outliers or with fewer than two members, else as `fit`.
    """
    check_outliers(outliers)
    if size < 2:
        raise RedhandedError(f"size: {size} must be at least 2, or nobody can disagree")
    members = tuple(new_model() for _ in range(size))

    def loss(ensemble: nn.Module, places: Tensor, generator: torch.Generator) -> Tensor:
        del ensemble
        batch = exposed(images, outliers, places, config, generator)
        answers = [torch.chunk(member(batch).float(), 2) for member in members]
        right = torch.stack([F.cross_entropy(known, labels[places]) for known, _ in answers])
        return right.sum() + diversity * agreement([unknown.softmax(1) for _, unknown in answers])

    ensemble = nn.ModuleList(members)
    fit(ensemble, len(images), loss, config, generator, **watch)
    return members


def agreement(answers: list[Outputs]) -> Tensor:
    """Return the cosine of two members' probabilities [n, classes], mean over images and pairs of members."""
    cosines = [F.cosine_similarity(one, other, dim=1).mean() for one, other in combinations(answers, 2)]
    return torch.stack(cosines).mean()
