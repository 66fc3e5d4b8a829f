"""Detectors before their thresholds are known: each a value that names the networks it judges with."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch

from redhanded.detectors import (
    BlacklightDetector,
    Detector,
    HodaDetector,
    LikelihoodDetector,
    OutlierDetector,
    PradaDetector,
    SimilarityDetector,
    StatefulDetector,
)
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
class Judge(Protocol):
    """What tunes and bundles alike, whatever it judges by."""

    @property
    def title(self) -> str:
        """What tells it from the others in file names and tables."""
        ...

    @property
    def needs(self) -> tuple[Cell, ...]: ...

    @property
    def flags_to_ban(self) -> int: ...

    @property
    def own_sets(self) -> int | None:
        """Leading sets of the stream that are of the victim's kind, for what is fitted; None: all."""
        ...

    @property
    def answering(self) -> tuple[Cell, ...]:
        """The victim, if it judges by answers."""
        ...

    def make(self, context: Context) -> Detector[Any]:
        """Return the detector, its threshold unknown."""
        ...

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        """Return the victim's answers, if it judges by them."""
        ...


class _Plain:
    """Judges by images alone, and fits nothing but its threshold."""

    @property
    def own_sets(self) -> int | None:
        """All."""
        return None

    @property
    def answering(self) -> tuple[Cell, ...]:
        """Nobody."""
        return ()

    def outputs(self, images: ImageArray, context: Context) -> OutputArray | None:
        """Return nothing."""
        del images, context
        return None


@dataclass(frozen=True)
class Similarity(_Plain):
    """Near-duplicates of the account's own queries (§VI-A), with any of its encoders."""

    encoder: TrainEncoder | TrainSeat
    flags_to_ban: int = 50

    @property
    def title(self) -> str:
        """The detector and its encoder."""
        return "seat" if self.encoder.title == "seat" else f"similarity-{self.encoder.title}"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The encoder."""
        return (self.encoder,)

    def make(self, context: Context) -> SimilarityDetector:
        """Return the detector; its δ stands for nothing yet."""
        return SimilarityDetector(self.encoder.load(context), 1.0, flags_to_ban=self.flags_to_ban)


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
        """The detector and where it is not the paper's."""
        parts = [
            "vae-elbo" if isinstance(self.model, TrainPrior) else "vae",
            *(["error"] if self.spread == "error" else []),
            *(["two-sided"] if self.sides == "two" else []),
        ]
        return "-".join(parts)

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The VQ-VAE, with or without a prior."""
        return (self.model,)

    def make(self, context: Context) -> LikelihoodDetector:
        """Return the detector."""
        return LikelihoodDetector(self.model.load(context), 0.0, NEVER, spread=self.spread, sides=self.sides)


@dataclass(frozen=True)
class Prada(_Plain):
    """The distribution of distances between an account's own queries (Juuti et al. 2019)."""

    victim: TrainVictim

    title: ClassVar[str] = "prada"
    flags_to_ban: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The victim, whose answers it judges by."""
        return (self.victim,)

    @property
    def answering(self) -> tuple[Cell, ...]:
        """The victim."""
        return (self.victim,)

    def make(self, context: Context) -> PradaDetector:
        """Return the detector."""
        del context
        return PradaDetector(NEVER)

    def outputs(self, images: ImageArray, context: Context) -> OutputArray:
        """Return the victim's labels."""
        oracle = HardLabels(self.victim.load(context))
        return oracle(torch.from_numpy(images).to(context.device)).cpu().numpy()


@dataclass(frozen=True)
class Stateful(_Plain):
    """The mean distance to 50 neighbours (Chen, Carlini and Wagner 2019), in the similarity encoder."""

    encoder: TrainEncoder

    title: ClassVar[str] = "stateful"
    flags_to_ban: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The encoder."""
        return (self.encoder,)

    def make(self, context: Context) -> StatefulDetector:
        """Return the detector."""
        return StatefulDetector(self.encoder.load(context), NEVER)


@dataclass(frozen=True)
class Blacklight(_Plain):
    """Shared fingerprints of anybody's queries (Li et al. 2022)."""

    title: ClassVar[str] = "blacklight"
    flags_to_ban: ClassVar[int] = 1
    needs: ClassVar[tuple[Cell, ...]] = ()

    def make(self, context: Context) -> BlacklightDetector:
        """Return the detector."""
        del context
        return BlacklightDetector(NEVER)


@dataclass(frozen=True)
class Outliers(_Plain):
    """A classifier of the victim's distribution against another (Atli et al. 2020)."""

    classifier: TrainOutlierClassifier
    flags_to_ban: int = 50

    title: ClassVar[str] = "outliers"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The classifier."""
        return (self.classifier,)

    def make(self, context: Context) -> OutlierDetector:
        """Return the detector."""
        return OutlierDetector(self.classifier.load(context), NEVER, self.flags_to_ban)


@dataclass(frozen=True)
class Hoda(_Plain):
    """The hardness histogram of a hundred queries (Sadeghzadeh et al.)."""

    hardness: TrainHardness

    title: ClassVar[str] = "hoda"
    flags_to_ban: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The snapshots of a training."""
        return (self.hardness,)

    def make(self, context: Context) -> HodaDetector:
        """Return the detector, its benign histogram unknown."""
        unknown = np.arange(self.hardness.snapshots, dtype=np.float64)
        return HodaDetector(self.hardness.load(context), unknown, NEVER)
