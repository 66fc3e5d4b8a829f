"""What a thief who knows the detector does, as values, and the networks that it trains on its own images."""

import json
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, runtime_checkable

import torch

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.calibrate import calibrate
from redhanded.experiments.cells.base import Part, Titled, Trained, deployable
from redhanded.experiments.cells.datasets import Data, as_floats, as_tensor, labelled
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.files import whole
from redhanded.lab.adaptive.autoencoder import AutoEncoder, Blinding, Network, train_autoencoder
from redhanded.lab.adaptive.blinding import Transform, blind
from redhanded.lab.adaptive.filtering import Filtering, QueryFilter, chain
from redhanded.lab.encoders.similarity import Contrastive, contrast, pretrain
from redhanded.lab.models import Architecture
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Adaptation

FLAG_RATE = 0.005
"""Of the thief's own images, as of the defender's: 0.01% bans of 50 flags each."""


@runtime_checkable
class Adapted(Titled, Protocol):
    """A frozen value that alters or thins what an attack sends."""

    def make(self, context: Context, generator: torch.Generator, /) -> Adaptation:
        """Return the adaptation of one run, which may remember what passed."""


@dataclass(frozen=True)
class Blinded(Part):
    """Queries are sent as one of the random transforms makes them."""

    transform: Transform
    everywhere: bool = False
    """Whether the pairs of a finite difference are blinded as well."""

    @property
    def title(self) -> str:
        where = " everywhere" if self.everywhere else ""
        return f"{self.transform.kind} {self.transform.law}{where}"

    def make(self, _: Context, generator: torch.Generator) -> Adaptation:
        return blind(self.transform, generator, everywhere=self.everywhere)


@dataclass(frozen=True)
class TrainBlinder(Trained):
    """Train the auto-encoder that blinds, beside a classifier of the thief's own, on the thief's images."""

    world: str
    data: Data
    architecture: Architecture
    classifying: Training
    config: Blinding
    seed: int = 0

    version: ClassVar[int] = 2

    @property
    def label(self) -> str:
        return f"blinder-{self.world}-{self.config.fidelity}-{self.seed}"

    def described(self) -> Record:
        fidelity, epochs = self.config.fidelity, self.config.training.epochs
        return self.training_record("blinding auto-encoder", self.data.name, epochs=epochs, fidelity=fidelity)

    def run(self, context: Context) -> Record:
        """Train both, save the auto-encoder, and measure what its training asks of it.

        `l2_mean` is how far an image moves and `l2_apart` how far two blindings of it lie apart, in pixels;
        `answers_kept` the share of images that the thief's classifier calls the same when blinded.
        """
        data = self.data.load()
        images = as_tensor(data.images, context.device)
        own = self.classifier(data, self.architecture, self.classifying, context)
        generator = context.generator(self)
        step = partial(train_autoencoder, self.config, images, own, generator)
        blinder = self.train(step, context, "blinding")
        self.save_model(blinder.network, context)
        one, other = blinder(images, generator), blinder(images, generator)
        kept = predict(own, one).argmax(1) == predict(own, images).argmax(1)
        return {
            "images": len(data),
            "l2_mean": float((one - images).flatten(1).norm(dim=1).mean()),
            "l2_apart": float((one - other).flatten(1).norm(dim=1).mean()),
            "answers_kept": float(kept.float().mean()),
        }

    def load(self, context: Context) -> AutoEncoder:
        return AutoEncoder(self.load_model(Network(), context), self.config)


@dataclass(frozen=True)
class AutoEncoded(Part):
    """Queries are sent as a trained auto-encoder blinds them."""

    blinder: TrainBlinder
    everywhere: bool = False

    @property
    def title(self) -> str:
        where = " everywhere" if self.everywhere else ""
        return f"auto-encoder {self.blinder.config.fidelity}{where}"

    def make(self, context: Context, generator: torch.Generator) -> Adaptation:
        return blind(self.blinder.load(context), generator, everywhere=self.everywhere)


@dataclass(frozen=True)
class TrainSubstitute(Trained):
    """Train the thief's own similarity detector, and tune it, on the thief's images alone."""

    world: str
    data: Data
    config: Contrastive
    seed: int = 0

    @property
    def label(self) -> str:
        return f"substitute-{self.world}-{self.config.loss}-{self.data.name}-{self.seed}"

    def described(self) -> Record:
        config = self.config
        return self.training_record(
            "substitute detector", self.data.name, loss=config.loss, epochs=config.contrastive.epochs
        )

    def run(self, context: Context) -> Record:
        """Train both stages, then take the largest δ that flags at most 0.5% of the same images."""
        data, generator = self.data.load(), context.generator(self)
        images, labels = labelled(data, context.device)
        architecture, training = self.config.architecture, self.config.pretraining
        first = partial(pretrain, images, labels, architecture, training, generator)
        encoder = self.train(first, context, "pretraining")
        second = partial(contrast, encoder, images, self.config, generator)
        self.train(second, context, "contrastive")
        self.save_model(encoder, context)
        untuned = SimilarityDetector(deployable(encoder, context), 1.0, flags_to_ban=1)
        tuned, found = calibrate(untuned, untuned.features(as_floats(data.images)), fpr=FLAG_RATE)
        with whole(context.store.scratch(self) / "delta.json") as unfinished:
            unfinished.write_text(json.dumps(tuned.delta), encoding="utf-8")
        return {"images": len(data), "delta": tuned.delta, "flags": found.flags}

    def load(self, context: Context) -> SimilarityDetector:
        network = self.load_model(self.config.architecture.trunk(), context)
        delta = json.loads((context.artefact(self) / "delta.json").read_text(encoding="utf-8"))
        return SimilarityDetector(deployable(network, context), float(delta), flags_to_ban=1)


@dataclass(frozen=True)
class Filtered(Part):
    """Queries that the thief's own detector would flag are not sent."""

    substitute: TrainSubstitute
    config: Filtering = Filtering()

    @property
    def title(self) -> str:
        seeds = " with seeds" if self.config.seeds_in_history else ""
        return f"filtering{seeds}{' everywhere' if self.config.everywhere else ''}"

    def make(self, context: Context, _: torch.Generator) -> QueryFilter:
        return QueryFilter(self.substitute.load(context), self.config)


@dataclass(frozen=True)
class Chained(Part):
    """Filter first, then blind what passed, as the released code does."""

    first: Filtered
    second: Blinded | AutoEncoded

    @property
    def title(self) -> str:
        return f"{self.first.title} then {self.second.title}"

    def make(self, context: Context, generator: torch.Generator) -> Adaptation:
        return chain(self.first.make(context, generator), self.second.make(context, generator))
