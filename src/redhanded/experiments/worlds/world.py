"""Worlds: they alone hold data sets, architectures, budgets and epochs; the tables are the same in each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from redhanded.errors import RedhandedError
from redhanded.experiments import cells
from redhanded.experiments.cells.adapt import Adapted
from redhanded.experiments.cells.datasets import Data
from redhanded.experiments.worlds.attacks import ATTACKS, Scale
from redhanded.experiments.worlds.query_sets import QuerySet
from redhanded.lab.adaptive.autoencoder import Blinding
from redhanded.lab.attacks import LinfPgd
from redhanded.lab.defences.outliers import DEFENDER
from redhanded.lab.encoders.seat import SEAT_PGD
from redhanded.lab.encoders.similarity import Contrastive, Loss
from redhanded.lab.encoders.vqvae import VqVae
from redhanded.lab.models import Architecture, Vgg16Bn
from redhanded.lab.training import Training
from redhanded.lab.types import Fidelity

LOGGED = 1_000_000
"""Queries that still make a log of reasonable size, 12 GB."""
DENSE_TRAINING = Training(epochs=30, batch=64, lr=0.01, weight_decay=0.2, schedule="linear")
"""Of a shallow victim that is smooth enough for line search; an ordinary one gives away little."""


@dataclass(frozen=True)
class Judging:
    """What a world decides of the comparison of all detectors."""

    common: tuple[Data, ...]
    """Benign images that tune every detector, without near-duplicates."""
    heldout: tuple[Data, ...]
    """Honest images of the victim's kind that tuned nothing."""
    natural: Mapping[str, tuple[Data, ...]]
    """Other honest streams, by name."""
    inside: Data
    """Images of the victim's kind, for classifiers."""
    outside: Data
    """Images of another kind, for the out-of-distribution classifier."""
    classifier_training: Training
    vqvae: VqVae = VqVae()
    vqvae_updates: int = 15_000
    vqvae_batch: int = 256
    prior_updates: int = 30_000
    seat_pgd: LinfPgd = SEAT_PGD
    seat_images: int | None = None
    seat_epochs: int | None = None
    """More than the encoder's own where there are fewer images; None: as many."""
    own_sets: int | None = None
    """Leading sets of `common` that are of the victim's kind; None: all."""
    defender_training: Training = DEFENDER


@dataclass(frozen=True)
class World:
    """Everything that tells a demonstration from a reproduction."""

    name: str
    title: str
    victim_data: Data
    test: Data
    victim: Architecture
    victim_training: Training
    surrogate: Architecture
    dense: Architecture
    """The shallow victim that line search extracts, as its authors did, and its clone."""
    scale: Scale
    encoder: Contrastive
    tuning: tuple[Data, ...]
    """Benign images that tune δ."""
    honest: tuple[Data, ...]
    """Held-out benign images of the victim's kind: what an honest user would be charged for."""
    natural: Mapping[str, tuple[Data, ...]]
    """Other benign streams, by name; the paper also sends what tuned δ."""
    query_set: Data
    """Where the thief's seeds come from by default."""
    query_sets: Mapping[str, QuerySet]
    """All that they may come from, by the names of the tables' rows; the default one first."""
    close_set: str
    """The other set of `query_sets` that is most like the victim's."""
    pool: Data
    """Natural images that active-learning attacks choose from."""
    judging: Judging
    thief: Data
    """Labelled images of the thief's own, for the networks of adaptive attacks; drawn independently of its
    seeds, a few of which may be among them."""
    substitute: Contrastive
    """How the thief trains its own similarity encoder on them."""
    budget: int
    n_seed_small: int
    n_seed_large: int
    """The paper's 500 and 5,000 of 50,000."""
    data_free_model: Architecture | None = None
    """Victim and clone of data-free extraction; None: those of the other attacks."""
    data_free_training: Training = Training(epochs=200, batch=128, lr=0.1, step_epochs=80, crop_flip=True)
    """Of that victim; its published code takes the step of 80 epochs only with a switch."""
    initial: cells.ImagenetWeights | cells.PublicWeights | None = None
    """What surrogates start from by default."""
    public: Data | None = None
    """The public set that `public` weights are trained on."""
    public_training: Training = Training(epochs=30, crop_flip=True, lr=0.05, schedule="linear")
    seeds: tuple[int, ...] = (0, 1, 2)
    spread_seeds: tuple[int, ...] = (0, 1, 2)
    """Of the rows of Tables I and X that show how far seeds differ."""
    adaptive_budget: int | None = None
    """Queries that a thief of Tables X to XII may send, if fewer than `budget`."""
    adaptive_data_free: int = 10_000
    """Queries of an adaptive data-free attack."""
    blinder_training: Training = Blinding().training
    classes: int = 10
    """Of the victim."""

    @property
    def adaptive_queries(self) -> int:
        return self.budget if self.adaptive_budget is None else self.adaptive_budget

    def train_victim(self) -> cells.TrainVictim:
        return cells.TrainVictim(self.name, self.victim_data, self.test, self.victim, self.victim_training)

    def train_encoder(self, loss: Loss = "per-pair") -> cells.TrainEncoder:
        """The similarity encoder, trained on what the victim was trained on."""
        return cells.TrainEncoder(self.name, self.victim_data, self.test, replace(self.encoder, loss=loss))

    def calibrate(self, loss: Loss = "per-pair") -> cells.Calibrate:
        """The similarity detector at the paper's false-positive rate of 0.01%."""
        return cells.Calibrate(self.name, self.train_encoder(loss), self.tuning)

    def honest_user(self, loss: Loss = "per-pair") -> cells.Honest:
        return cells.Honest(self.calibrate(loss), self.honest)

    def random_sampling(self, n_seed: int, seed: int = 0, query_set: Data | None = None) -> cells.Extract:
        """The baseline of Tables I and II: as many random queries as an attack has seeds."""
        return self.extract("random", n_seed, seed, budget=n_seed, query_set=query_set)

    def extract(
        self,
        name: str,
        n_seed: int,
        seed: int = 0,
        *,
        budget: int | None = None,
        fidelity: Fidelity = "corrected",
        query_set: Data | None = None,
    ) -> cells.Extract:
        """Steal the victim by an attack of `ATTACKS`, from seeds drawn as `balanced_seeds` says.

        A query set other than the victim's own has no classes of the victim: its seeds are drawn from all.
        """
        attack = ATTACKS[name](self.scale, self.default_budget(name) if budget is None else budget, fidelity)
        n_seed = n_seed if attack.starts_from == "seeds" else 0
        victim, surrogate = self.train_victim(), self.surrogate
        if name.startswith("tramer"):
            victim, surrogate = replace(victim, architecture=self.dense, training=DENSE_TRAINING), self.dense
        elif name == "dfme" and self.data_free_model is not None:
            surrogate = self.data_free_model
            victim = replace(victim, architecture=surrogate, training=self.data_free_training)
        seeds_from = self.query_set if query_set is None else query_set
        own = seeds_from == self.query_set
        return cells.Extract(
            victim,
            attack,
            name,
            self.pool if attack.starts_from == "pool" else seeds_from,
            n_seed,
            surrogate,
            seed,
            balanced=own and balanced_seeds(self.query_set, n_seed, fidelity),
            fidelity=fidelity,
            initial=self.initial if surrogate == self.surrogate else None,
        )

    def data_free(self) -> cells.Extract | cells.Watched:
        """Data-free extraction with the world's own budget, logged if its queries fit on a disk."""
        budget = self.scale.data_free.budget
        return self.extract("dfme", 0, self.seeds[0]) if budget <= LOGGED else self.data_free_watched(budget)

    def data_free_watched(self, budget: int, adaptation: Adapted | None = None) -> cells.Watched:
        """Data-free extraction, judged by the similarity detector while it goes on."""
        stolen = replace(self.extract("dfme", 0, self.seeds[0], budget=budget), adaptation=adaptation)
        return cells.Watched(stolen, (self.calibrate(),), (self.honest_user(),))

    def detected(
        self, stolen: cells.Extract, honest: tuple[cells.Honest, ...]
    ) -> tuple[cells.Detect | cells.Watched, ...]:
        """Judge a theft by the detector of each honest user.

        A theft that fits on a disk is replayed before each; a longer one takes place once, before them all.
        """
        if stolen.attack.budget <= LOGGED:
            return tuple(cells.Detect(user.calibration, stolen, user) for user in honest)
        watched = cells.Watched(stolen, tuple(user.calibration for user in honest), honest)
        return (watched,) * len(honest)

    def default_budget(self, name: str) -> int:
        """Return the queries an attack may send unless told otherwise: its template's, if it has any.

        Random sampling and the attacks that choose from a pool get as many as others have seeds.
        """
        template = ATTACKS[name](self.scale, 1, "corrected")
        if template.starts_from == "nothing":
            return (self.scale.data_free if name == "dfme" else self.scale.line_search).budget
        return self.n_seed_large if name == "random" or template.starts_from == "pool" else self.budget

    def initial_named(self, name: str) -> cells.ImagenetWeights | cells.PublicWeights | None:
        """Return what surrogates start from: "random", "imagenet" or "public".

        Raises `RedhandedError` where the world has no such weights.
        """
        if name == "random":
            return None
        if name == "imagenet" and isinstance(self.surrogate, Vgg16Bn):
            return cells.ImagenetWeights(self.surrogate)
        if name == "public" and self.public is not None:
            return cells.PublicWeights(self.name, self.public, self.surrogate, self.public_training)
        raise RedhandedError(
            f"initial: the {self.name} world has no {name!r} weights; choose another, or another world"
        )


def balanced_seeds(query_set: Data, n_seed: int, fidelity: Fidelity) -> bool:
    """Whether seeds are drawn class by class: the paper's text always, its code for 500 of CIFAR-10 alone."""
    return fidelity == "corrected" or (query_set.name == "cifar10" and n_seed == 500)
