"""What an attack's queries look like (§IV-B): do they cross boundaries, are they uncertain, how far are they?

Everything is measured on rounds as they pass, with the surrogate that crafted them; none of it costs a query.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redhanded.experiments.measure.metrics import accuracy
from redhanded.lab.encoders.embed import effective_rank
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.training import predict
from redhanded.lab.types import Images, Outputs, Round
from redhanded.types import FeatureArray, Float, Int

BINS = 20
"""Of a histogram of predicted confidence from 0 to 1."""
CHECKPOINTS = 10
"""Times at which a data-free attack's queries are looked at; its rounds are many."""


def confidence(model: nn.Module, images: Images) -> Float[Tensor, " n"]:
    """Predicted confidence: the largest softmax output, the paper's proxy for distance to a boundary."""
    return predict(model, images).softmax(1).amax(1)


def histogram(confidences: Float[Tensor, " n"]) -> list[int]:
    """Counts in `BINS` equal bins from 0 to 1."""
    counts, _ = np.histogram(confidences.cpu().numpy().clip(0, 1), BINS, (0.0, 1.0))
    return list(map(int, counts))


def crossed(before: Int[Tensor, " n"], after: Int[Tensor, " n"]) -> float:
    """Share of samples whose predicted label changed: crossed samples (§IV-B2); NaN without samples."""
    return float((before != after).float().mean())


def distortion(sources: Images, crafted: Images) -> dict[str, float]:
    """Mean L2 and largest L∞ change, in pixels of [0, 1] and in CIFAR-10's standard deviations.

    The paper's 5 to 6 for PGD and 1 to 2.5 for CW are standardised (in pixels PGD cannot pass 1.73).
    """
    change = (crafted - sources).flatten(2)
    scaled = change / torch.tensor(CIFAR10_STD, device=change.device).view(1, 3, 1)
    return {
        "l2": float(change.flatten(1).norm(dim=1).mean()),
        "linf": float(change.abs().max()),
        "l2_standardised": float(scaled.flatten(1).norm(dim=1).mean()),
        "linf_standardised": float(scaled.abs().max()),
    }


def feature_diversity(features: FeatureArray) -> dict[str, float]:
    """How diverse a stream is in an encoder's space: directions it fills, and its spread.

    `query_effective_rank` counts the directions, `query_spread` is the root of the total variance. Copies of
    few seeds fill as many directions as their seeds do; what an attack adds shows beside natural images.
    """
    spread = float(np.sqrt(features.var(axis=0, dtype=np.float64).sum()))
    return {"query_effective_rank": effective_rank(features), "query_spread": spread}


@dataclass
class Characteriser:
    """Watches an attack's rounds; `traits` says what they were like.

    Args:
        victim: F_V itself, for its confidence, if it is at hand; labels are those the oracle gave.
        budget: queries of the attack, for the checkpoints of data-free attacks.
    """

    victim: nn.Module | None
    budget: int
    _crafted: list[Images] = field(default_factory=list)
    _labels: list[Outputs] = field(default_factory=list)
    _surrogate: nn.Module | None = None
    _rounds: dict[str, list[Any]] = field(default_factory=dict)
    _sent: int = 0
    _checkpoint: int = 0
    failures: int = 0

    def __call__(self, part: Round) -> None:
        crafter, self._surrogate = self._surrogate, part.surrogate
        self._sent += len(part.sent)
        self.failures += part.failures
        if part.kind in ("student", "gradient"):
            self._look_at_generated(part)
            return
        self._crafted.append(part.crafted)
        self._labels.append(part.labels)
        if part.kind == "augmented" and crafter is not None and len(part.crafted):
            self._look_at_augmented(part, crafter)

    def _look_at_augmented(self, part: Round, crafter: nn.Module) -> None:
        images, labels = torch.cat(self._crafted), torch.cat(self._labels).argmax(1)
        parents = part.parents.to(images.device)
        traced = parents >= 0  # what was drawn at random has none
        if not traced.any():
            return
        parents, targets = parents[traced], part.targets.to(images.device)[traced]
        crafted, sent, answers = part.crafted[traced], part.sent[traced], part.labels[traced]
        guessed = predict(crafter, crafted)
        before, after = predict(crafter, images[parents]).argmax(1), guessed.argmax(1)
        theirs_before, theirs_after = labels[parents], answers.argmax(1)
        aimed = targets >= 0
        self._note(
            crossed_surrogate=crossed(before, after),
            crossed_victim=crossed(theirs_before, theirs_after),
            crossed_both=float(((before != after) & (theirs_before != theirs_after)).float().mean()),
            reached_surrogate=float((after == targets)[aimed].float().mean()) if aimed.any() else None,
            reached_victim=float((theirs_after == targets)[aimed].float().mean()) if aimed.any() else None,
            confidence_surrogate=histogram(guessed.softmax(1).amax(1)),
            confidence_victim=self._victims(sent),
            **distortion(images[parents], crafted),
        )

    def _look_at_generated(self, part: Round) -> None:
        """Look at student queries at each tenth of the budget (Figure 6)."""
        if part.kind != "student" or not len(part.sent):
            return
        reached = self._sent * CHECKPOINTS // max(self.budget, 1)
        if reached == self._checkpoint and self._rounds:
            return
        self._checkpoint = reached
        self._note(
            confidence_surrogate=histogram(confidence(part.surrogate, part.sent)),
            confidence_victim=self._victims(part.sent),
        )

    def _victims(self, images: Images) -> list[int] | None:
        return None if self.victim is None else histogram(confidence(self.victim, images))

    def _note(self, **values: Any) -> None:
        for name, value in ({"queries": self._sent} | values).items():
            self._rounds.setdefault(f"traits_{name}", []).append(value)

    def dump(self) -> dict[str, Any]:
        counts = {"sent": self._sent, "checkpoint": self._checkpoint, "failures": self.failures}
        return {"rounds": self._rounds} | counts

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rounds, self._sent = state["rounds"], state["sent"]
        self._checkpoint, self.failures = state["checkpoint"], state["failures"]

    def traits(self) -> dict[str, Any]:
        """Return lists with an entry a round looked at, and what the whole transfer set tells.

        `transfer_accuracy` is the clone's accuracy on the transfer set: far above its extraction accuracy,
        it has overfitted (§IV-B2).
        """
        found: dict[str, Any] = self._rounds | {"failures": self.failures}
        if self._crafted and self._surrogate is not None:
            labels = torch.cat(self._labels).argmax(1)
            found["transfer_accuracy"] = accuracy(self._surrogate, torch.cat(self._crafted), labels)
        return found
