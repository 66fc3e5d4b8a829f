"""An attack on the unguarded victim, and its query log."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from redhanded.experiments.cells.adapt import Adapted
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.datasets import Data, as_tensor, labelled
from redhanded.experiments.cells.defences import Defence
from redhanded.experiments.cells.initial import ImagenetWeights, PublicWeights
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.measure.characterise import Characteriser
from redhanded.experiments.measure.journal import FileJournal
from redhanded.experiments.measure.metrics import accuracy, agreement
from redhanded.experiments.measure.querylog import LogWriter, QueryLog
from redhanded.experiments.measure.steal import steal
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.provenance import provenance
from redhanded.experiments.runner.store import Record
from redhanded.lab.attacks import KnockoffNets
from redhanded.lab.attacks.resume import Journaled
from redhanded.lab.data.seeds import draw_seeds
from redhanded.lab.defences.truncation import ArgmaxOf
from redhanded.lab.initialisation import Weights, transplant
from redhanded.lab.models import Architecture, build
from redhanded.lab.oracles.victim import HardLabels, Probabilities
from redhanded.lab.types import Attack, Fidelity, Images, NewModel, Oracle, Round
from redhanded.types import ADDED, Int


@dataclass(frozen=True)
class Extract(Keyed):
    """Steal the victim: run an attack from seeds of a query set, log its queries, measure the clone."""

    victim: TrainVictim
    attack: Attack
    name: str
    query_set: Data
    n_seed: int
    surrogate: Architecture
    seed: int = 0
    balanced: bool = True
    fidelity: Fidelity = "corrected"
    initial: ImagenetWeights | PublicWeights | None = field(default=None, metadata=ADDED)
    """What its surrogates start from; None: random weights."""
    adaptation: Adapted | None = field(default=None, metadata=ADDED)
    """What a thief who knows the detector does to its queries; None: nothing."""
    defence: Defence | None = field(default=None, metadata=ADDED)
    """What alters the victim's answers; None: the victim gives what the attack asks for."""
    soft: bool = field(default=False, metadata=ADDED)
    """Whether the thief trains on probabilities; of a defended victim only."""

    @property
    def resumes(self) -> bool:
        """Whether its long steps are remembered; those of data-free extraction are many and short."""
        return isinstance(self.attack, Journaled)

    @property
    def world(self) -> str:
        return self.victim.world

    @property
    def label(self) -> str:
        defended = "" if self.defence is None else f"-{self.defence.title.replace(' ', '-')}-{self._answers}"
        stem = f"extraction-{self.world}-{self.name}-{self.query_set.name}-{self.n_seed}"
        adapted = "" if self.adaptation is None else f"-{self.adaptation.title.replace(' ', '-')}"
        return f"{stem}{adapted}{defended}-{self.seed}"

    @property
    def _answers(self) -> str:
        return "soft" if self.soft else "hard"

    def described(self) -> Record:
        return {
            "kind": "extraction",
            "world": self.world,
            "attack": self.name,
            "query_set": self.query_set.name,
            "n_seed": self.n_seed,
            "budget": self.attack.budget,
            "order": self.attack.order,
            "fidelity": self.fidelity,
            "adaptation": "none" if self.adaptation is None else self.adaptation.title,
            "surrogate": type(self.surrogate).__name__,
            "initial": "random" if self.initial is None else self.initial.name,
            "balanced": self.balanced,
            "seed": self.seed,
            "victim_key": self.victim.key,
        } | ({} if self.defence is None else {"defence": self.defence.title, "answers": self._answers})

    def run(self, context: Context) -> Record:
        """Attack the unguarded victim; detection cells replay the log.

        An attack that was cut short asks its queries anew, but takes no long step twice.
        """
        generator = context.generator(self)
        further: dict[str, Any] = {}
        if self.adaptation is not None:
            further["adapt"] = self.adaptation.make(context, generator)
        if self.resumes:
            here = provenance(context.device)
            machine = f"{here['device']}, PyTorch {here['torch']}"
            further["journal"] = FileJournal(context.store.scratch(self), machine, context.deadline)
        with LogWriter(context.store.scratch(self) / "log") as log:
            clone, found = self.carry_out(context, generator, self.characteriser(context), log=log, **further)
        self.save_model(clone, context)
        return found

    def characteriser(self, context: Context) -> Characteriser:
        return Characteriser(self.victim.load(context), self.attack.budget)

    def carry_out(
        self,
        context: Context,
        generator: torch.Generator,
        watch: Characteriser,
        *,
        log: Callable[[Round], None],
        **further: Any,
    ) -> tuple[nn.Module, Record]:
        """Run the attack, and return the clone and what it is worth; `log` takes the rounds."""
        victim = self.victim.load(context)
        images, labels = labelled(self.victim.test.load(), context.device)
        seeds, known = self.start(context)
        weights = None if self.initial is None else self.initial.load(context)
        classes = int(context.record(self.victim)["classes"])
        new = surrogates(self.surrogate, classes, weights, generator, context.device)
        with context.reporter(f"{self.label}: queries") as progress:
            clone, tally = steal(
                self.attack,
                self.oracle(context),
                seeds,
                new,
                generator,
                score=lambda clone: accuracy(clone, images, labels),
                progress=progress,
                watch=watch,
                log=log,
                **known,
                **further,
            )
        return clone, {
            "accuracy": tally.round_scores[-1],
            "agreement": agreement(clone, victim, images),
            "victim_accuracy": float(context.record(self.victim)["accuracy"]),
            "queries": tally.queries,
            "round_queries": tally.round_queries,
            "round_accuracy": tally.round_scores,
        } | watch.traits()

    def oracle(self, context: Context) -> Oracle:
        victim = self.victim.load(context)
        if self.defence is None:
            return (HardLabels if self.attack.answers == "labels" else Probabilities)(victim)
        served = self.defence.wrap(Probabilities(victim), context)
        return served if self.soft else ArgmaxOf(served)

    def start(self, context: Context) -> tuple[Images, dict[str, Any]]:
        """Return the natural images the attack starts from, and what else it wants to know of them.

        Seeds are equal for all attacks of one query set, size and seed, so that they compare.
        """
        drawn = (self.query_set, self.n_seed, self.seed, self.balanced)
        return starting_images(self.attack, *drawn, context.device)

    def log(self, context: Context) -> QueryLog:
        return QueryLog.load(context.artefact(self) / "log")


def surrogates(
    architecture: Architecture,
    classes: int,
    weights: Weights | None,
    generator: torch.Generator,
    device: torch.device,
) -> NewModel:
    """Return what makes fresh surrogates: random, or with these weights below a random head."""

    def new() -> nn.Module:
        model = build(architecture, classes, generator, device)
        if weights is not None:
            transplant(model, weights)
        return model

    return new


def starting_images(
    attack: Attack, query_set: Data, n_seed: int, seed: int, balanced: bool, device: torch.device
) -> tuple[Images, dict[str, Any]]:
    """Return seeds, a whole pool or no images, as the attack starts from, and further arguments of it."""
    if attack.starts_from == "nothing":
        return torch.empty(0, 3, 32, 32, device=device), {}
    data = query_set.load()
    if attack.starts_from == "pool":
        levels = [data.extra["coarse"], data.labels] if "coarse" in data.extra else [data.labels]
        groups = torch.from_numpy(np.stack(levels, 1).astype(np.int64))
        return as_tensor(data.images, device), pool_arguments(attack, groups)
    places = draw_seeds(data.labels, n_seed, seed, balanced=balanced, classes=len(data.classes))
    return as_tensor(data.images[places], device), {}


def pool_arguments(attack: Attack, groups: Int[torch.Tensor, "n levels"] | None) -> dict[str, Any]:
    """Hand the pool's class hierarchy, coarse to fine, to the attack that climbs it."""
    return {"groups": groups} if isinstance(attack, KnockoffNets) else {}
