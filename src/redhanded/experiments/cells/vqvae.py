"""The VQ-VAE whose reconstruction error is an image's likelihood."""

from dataclasses import dataclass, replace
from functools import partial

from safetensors.torch import load_file

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.base import MODEL, Trained, deployable
from redhanded.experiments.cells.datasets import Data, as_tensor
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.encoders.prior import ElboLogLikelihood, PixelCnn, train_prior
from redhanded.lab.encoders.vqvae import LogLikelihood, VqVae, VqVaeNetwork, quality, train_vqvae
from redhanded.lab.training import predict


@dataclass(frozen=True)
class TrainVqVae(Trained):
    """Train the VQ-VAE on what the victim was trained on (§VIII-B)."""

    world: str
    data: Data
    test: Data
    config: VqVae
    updates: int = 15_000
    batch: int = 256
    seed: int = 0

    @property
    def label(self) -> str:
        return f"vqvae-{self.world}-{self.seed}"

    def described(self) -> Record:
        return self.training_record(
            "vqvae",
            self.data.name,
            updates=self.updates,
            batch=self.batch,
            normalisation=self.config.normalisation,
        )

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure reconstruction and codes on the test set."""
        images, generator = as_tensor(self.data.load().images, context.device), context.generator(self)
        step = partial(train_vqvae, self.config, images, generator, updates=self.updates, batch=self.batch)
        network = self.train(partial(step, device=context.device), context)
        self.save_model(network, context)
        images = as_tensor(self.test.load().images, context.device)
        found = quality(network, images)
        likelihood = predict(LogLikelihood(network), images)
        return {
            "reconstruction_mse": found.mse,
            "codebook_perplexity": found.perplexity,
            "data_variance": float(network.data_variance),
            "mean_log_likelihood": float(likelihood.mean()),
        }

    def network(self, context: Context) -> VqVaeNetwork:
        weights = load_file(context.artefact(self) / MODEL)
        network = replace(self.config, data_variance=float(weights["data_variance"])).build()
        return self.load_model(network, context)

    def load(self, context: Context) -> Encoder:
        return deployable(LogLikelihood(self.network(context)), context)


@dataclass(frozen=True)
class TrainPrior(Trained):
    """Train a prior over the codes of a VQ-VAE, for the full ELBO (§VI-B leaves it open)."""

    model: TrainVqVae
    config: PixelCnn = PixelCnn()
    updates: int = 30_000
    seed: int = 0

    @property
    def world(self) -> str:
        return self.model.world

    @property
    def label(self) -> str:
        return f"prior-{self.world}-{self.seed}"

    def described(self) -> Record:
        return self.training_record("vqvae prior", self.model.data.name, updates=self.updates)

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure the ELBO on the test set."""
        network = self.model.network(context)
        images = as_tensor(self.model.data.load().images, context.device)
        step = partial(train_prior, self.config, network, images, context.generator(self))
        prior = self.train(partial(step, updates=self.updates), context)
        self.save_model(prior, context)
        images = as_tensor(self.model.test.load().images, context.device)
        return {"mean_log_likelihood": float(predict(ElboLogLikelihood(network, prior), images).mean())}

    def load(self, context: Context) -> Encoder:
        prior = self.load_model(self.config.build(self.model.config.codes), context)
        return deployable(ElboLogLikelihood(self.model.network(context), prior), context)
