"""Detectors before their thresholds are known: each a value that names the networks it judges with."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from redhanded import detectors
from redhanded.experiments.cells.base import Part, Titled
from redhanded.experiments.cells.encoder import TrainEncoder
from redhanded.experiments.cells.networks import TrainHardness, TrainOutlierClassifier, TrainSeat
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.cells.vqvae import TrainPrior, TrainVqVae
from redhanded.experiments.runner.context import Cell, Context
from redhanded.lab.oracles.victim import HardLabels
from redhanded.types import ImageArray, OutputArray

NEVER = -np.inf
"""The threshold of a detector that is not tuned yet."""


@runtime_checkable
class Judge(Titled, Protocol):
    """What tunes and bundles alike, whatever it judges by."""

    @property
    def flags_to_ban(self) -> int: ...

    @property
    def own_sets(self) -> int | None:
        """Leading sets of the stream that are of the victim's kind, for what is fitted; None: all."""

    @property
    def answering(self) -> tuple[Cell, ...]:
        """The victim, if it judges by answers."""

    def make(self, context: Context, /) -> detectors.Detector[Any]:
        """Return the detector, its threshold unknown."""

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        """Return the victim's answers, if it judges by them."""


class _Plain(Part):
    """Judges by images alone, and fits nothing but its threshold."""

    @property
    def own_sets(self) -> int | None:
        return None

    @property
    def answering(self) -> tuple[Cell, ...]:
        return ()

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        """Return nothing: it does not judge by the victim's answers."""


@dataclass(frozen=True)
class Similarity(_Plain):
    """Near-duplicates of the account's own queries (§VI-A), with any of its encoders."""

    encoder: TrainEncoder | TrainSeat
    flags_to_ban: int = 50

    @property
    def title(self) -> str:
        return "seat" if self.encoder.title == "seat" else f"similarity-{self.encoder.title}"

    def make(self, context: Context) -> detectors.SimilarityDetector:
        return detectors.SimilarityDetector(self.encoder.load(context), 1.0, flags_to_ban=self.flags_to_ban)


@dataclass(frozen=True)
class Likelihood(_Plain):
    """The running mean of the VQ-VAE's log-likelihood (§VI-B), about that of the victim's kind (§VIII-B)."""

    model: TrainVqVae | TrainPrior
    spread: Literal["running", "error"] = "running"
    sides: Literal["one", "two"] = "one"
    own_sets: int | None = None

    flags_to_ban: ClassVar[int] = 1

    @property
    def title(self) -> str:
        kind = "vae-elbo" if isinstance(self.model, TrainPrior) else "vae"
        spread = "-error" if self.spread == "error" else ""
        return f"{kind}{spread}{'-two-sided' if self.sides == 'two' else ''}"

    def make(self, context: Context) -> detectors.LikelihoodDetector:
        return detectors.LikelihoodDetector(
            self.model.load(context), 0.0, NEVER, spread=self.spread, sides=self.sides
        )


@dataclass(frozen=True)
class Prada(_Plain):
    """The distribution of distances between an account's own queries (Juuti et al. 2019)."""

    victim: TrainVictim

    title: ClassVar[str] = "prada"
    flags_to_ban: ClassVar[int] = 1

    @property
    def answering(self) -> tuple[Cell, ...]:
        return (self.victim,)

    def make(self, _: Context) -> detectors.PradaDetector:
        return detectors.PradaDetector(NEVER)

    def outputs(self, images: ImageArray, context: Context) -> OutputArray:
        oracle = HardLabels(self.victim.load(context))
        return oracle(torch.from_numpy(images).to(context.device)).cpu().numpy()


@dataclass(frozen=True)
class Stateful(_Plain):
    """The mean distance to 50 neighbours (Chen, Carlini and Wagner 2019), in the similarity encoder."""

    encoder: TrainEncoder

    title: ClassVar[str] = "stateful"
    flags_to_ban: ClassVar[int] = 1

    def make(self, context: Context) -> detectors.StatefulDetector:
        return detectors.StatefulDetector(self.encoder.load(context), NEVER)


@dataclass(frozen=True)
class Blacklight(_Plain):
    """Shared fingerprints of anybody's queries (Li et al. 2022)."""

    title: ClassVar[str] = "blacklight"
    flags_to_ban: ClassVar[int] = 1

    def make(self, _: Context) -> detectors.BlacklightDetector:
        return detectors.BlacklightDetector(NEVER)


@dataclass(frozen=True)
class Outliers(_Plain):
    """A classifier of the victim's distribution against another (Atli et al. 2020)."""

    classifier: TrainOutlierClassifier
    flags_to_ban: int = 50

    title: ClassVar[str] = "outliers"

    def make(self, context: Context) -> detectors.OutlierDetector:
        return detectors.OutlierDetector(self.classifier.load(context), NEVER, self.flags_to_ban)


@dataclass(frozen=True)
class Hoda(_Plain):
    """The hardness histogram of a hundred queries (Sadeghzadeh et al.)."""

    hardness: TrainHardness

    title: ClassVar[str] = "hoda"
    flags_to_ban: ClassVar[int] = 1

    def make(self, context: Context) -> detectors.HodaDetector:
        unknown = np.arange(self.hardness.snapshots, dtype=np.float64)
        return detectors.HodaDetector(self.hardness.load(context), unknown, NEVER)
