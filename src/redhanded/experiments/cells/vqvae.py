"""The VQ-VAE whose reconstruction error is an image's likelihood."""

from dataclasses import dataclass, replace
from typing import ClassVar

from safetensors.torch import load_file

from redhanded.detectors.base import Encoder
from redhanded.experiments.cells.base import MODEL, Keyed, deployable, save_model
from redhanded.experiments.cells.datasets import Data, as_tensor
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.encoders.prior import ElboLogLikelihood, PixelCnn, train_prior
from redhanded.lab.encoders.vqvae import LogLikelihood, VqVae, VqVaeNetwork, quality, train_vqvae
from redhanded.lab.training import predict


@dataclass(frozen=True)
class TrainVqVae(Keyed):
    """Train the VQ-VAE on what the victim was trained on (§VIII-B)."""

    world: str
    data: Data
    test: Data
    config: VqVae
    updates: int = 15_000
    batch: int = 256
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"vqvae-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "vqvae",
            "query_set": self.data.name,
            "updates": self.updates,
            "batch": self.batch,
            "normalisation": self.config.normalisation,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure reconstruction and codes on the test set."""
        with context.reporter(f"{self.label}: training") as progress:
            network = train_vqvae(
                self.config,
                as_tensor(self.data.load().images, context.device),
                context.generator(self),
                updates=self.updates,
                batch=self.batch,
                progress=progress,
                checkpoint=context.checkpoint(self, "training"),
                device=context.device,
            )
        save_model(network, context, self)
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
        """Return the trained network."""
        weights = load_file(context.artefact(self) / MODEL)
        network = replace(self.config, data_variance=float(weights["data_variance"])).build()
        network.load_state_dict(weights)
        return network.to(context.device).eval()

    def load(self, context: Context) -> Encoder:
        """Return the log-likelihood as an encoder of one feature."""
        return deployable(LogLikelihood(self.network(context)), context)


@dataclass(frozen=True)
class TrainPrior(Keyed):
    """Train a prior over the codes of a VQ-VAE, for the full ELBO (§VI-B leaves it open)."""

    model: TrainVqVae
    config: PixelCnn = PixelCnn()
    updates: int = 30_000
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True

    @property
    def world(self) -> str:
        """The VQ-VAE's world."""
        return self.model.world

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The VQ-VAE."""
        return (self.model,)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"prior-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "vqvae prior",
            "query_set": self.model.data.name,
            "updates": self.updates,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure the ELBO on the test set."""
        network = self.model.network(context)
        with context.reporter(f"{self.label}: training") as progress:
            prior = train_prior(
                self.config,
                network,
                as_tensor(self.model.data.load().images, context.device),
                context.generator(self),
                updates=self.updates,
                progress=progress,
                checkpoint=context.checkpoint(self, "training"),
            )
        save_model(prior, context, self)
        images = as_tensor(self.model.test.load().images, context.device)
        return {"mean_log_likelihood": float(predict(ElboLogLikelihood(network, prior), images).mean())}

    def load(self, context: Context) -> Encoder:
        """Return the ELBO as an encoder of one feature."""
        prior = self.config.build(self.model.config.codes)
        prior.load_state_dict(load_file(context.artefact(self) / MODEL))
        network = self.model.network(context)
        return deployable(ElboLogLikelihood(network, prior.to(context.device)), context)
