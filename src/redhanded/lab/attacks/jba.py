"""Jacobian-based augmentation (Algorithm 1): JB-top3, JBA-PGD and their like; `perturb` holds the steps."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Literal, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.attacks import perturb
from redhanded.lab.attacks.exchange import Exchange, Transfer, TransferAttack
from redhanded.lab.attacks.order import send_order
from redhanded.lab.attacks.perturb import Crafted, LogitAscent, SignedSteps
from redhanded.lab.attacks.resume import Tensors
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.training import Training, predict
from redhanded.lab.types import Fidelity, Images, Order, Outputs, Round, Start
from redhanded.types import ADDED, Int

CRAFT_BATCH = 256
"""Images crafted at once; crafting is image by image in effect, so it never changes a query."""

SPARE_SOURCES = 64
"""Sources tried at once, at least, to make up for those of which nothing could be crafted."""

ROUND_TRAINING = Training(epochs=20)
FINAL_TRAINING = Training(epochs=100)

Towards = Literal["likeliest", "random", "own"]
"""The surrogate's likeliest other classes, random other classes, or none: away from (or along) its own."""


class Plan(NamedTuple):
    """A round's queries before they are crafted, in the order they will be sent."""

    parents: Int[Tensor, " k"]
    targets: Int[Tensor, " k"]


@dataclass(frozen=True)
class Jba(TransferAttack):
    """Algorithm 1 with `perturbation` as the augmentation.

    Each round trains a fresh surrogate for `round_training` (n = 20 epochs), pushes every source towards
    each of the surrogate's `targets_per_source` most likely classes other than the one the oracle gave it,
    and queries the results; the last surrogate is trained for `final_training` (N = 100).

    Sources are the whole transfer set, or `reservoir` random rows of it (κ) from round `reservoir_from` on.
    Where the budget cannot take all their variants, `truncation` keeps the first sources, seeds first (the
    reference), or random ones; sources of which nothing could be crafted, or whose variants the adaptation
    dropped, make room for the next.

    Papernot's augmentation turns its step around every `flip_every` rounds and trains on with the same
    surrogate (`warm`).
    """

    perturbation: perturb.Perturbation
    budget: int = 50_000
    order: Order = "source"
    targets_per_source: int = 3
    round_training: Training = ROUND_TRAINING
    final_training: Training = FINAL_TRAINING
    reservoir: int | None = None
    truncation: Literal["prefix", "random"] = "prefix"
    towards: Towards = field(default="likeliest", metadata=ADDED)
    reservoir_from: int = field(default=0, metadata=ADDED)
    flip_every: int | None = field(default=None, metadata=ADDED)
    warm: bool = field(default=False, metadata=ADDED)

    starts_from: ClassVar[Start] = "seeds"

    def __post_init__(self) -> None:
        if self.flip_every is not None and not isinstance(self.perturbation, perturb.Reversible):
            raise RedhandedError(
                f"flip_every: {type(self.perturbation).__name__} has no step to turn around; leave it out"
            )

    def steal(self, transfer: Transfer, seeds: Images) -> Iterator[Round]:
        """Yield the seed round, then a round per augmentation until the budget is spent.

        A round in which nothing could be crafted, or of which the adaptation kept nothing, ends the attack.

        Raises:
            RedhandedError: no seeds, or more seeds than the budget takes.
        """
        if not 0 < len(seeds) <= self.budget:
            raise RedhandedError(
                f"budget: {self.budget} queries cannot hold {len(seeds)} seeds; "
                "give at least one seed and at most as many as the budget"
            )
        exchanged = transfer.seed(seeds)
        last: nn.Module | None = None  # the weights to start from, if they are kept
        number = 0
        while transfer.left > 0 and len(exchanged.crafted) > 0:
            surrogate = transfer.train(self.round_training, last)
            yield exchanged.round(surrogate)
            exchanged = self._augment(transfer, surrogate, number)
            last = surrogate if self.warm else None
            number += 1
        yield exchanged.round(transfer.train(self.final_training, last))

    def _plans(self, transfer: Transfer, surrogate: nn.Module, number: int) -> Iterator[Plan]:
        """Yield as many sources as fill the budget; then further ones, for what could not be crafted."""
        classes = transfer.labels.shape[1]
        variants = 1 if self.towards == "own" else min(self.targets_per_source, classes - 1)
        fitting = -(-transfer.left // variants)
        sources = self._sources(len(transfer), fitting, number, transfer.generator)
        further = torch.split(sources[fitting:], max(fitting, SPARE_SOURCES))
        for part in (sources[:fitting], *further):
            if len(part):
                yield self._plan(transfer, surrogate, part, variants)

    def _plan(
        self, transfer: Transfer, surrogate: nn.Module, sources: Int[Tensor, " n"], variants: int
    ) -> Plan:
        """Choose the targets of these sources, and their order."""
        images, labels = transfer.images, transfer.labels
        match self.towards:
            case "likeliest":
                targets = top_targets(predict(surrogate, images[sources]), labels[sources], variants).cpu()
            case "random":
                drawn = torch.rand(len(sources), labels.shape[1], generator=transfer.generator)
                targets = top_targets(drawn, labels[sources].cpu(), variants)
            case "own":
                targets = torch.full((len(sources), 1), -1)
        order = send_order(len(sources), variants, self.order, transfer.generator)[: transfer.left]
        return Plan(sources.repeat_interleave(variants)[order], targets.flatten()[order])

    def _sources(self, rows: int, fitting: int, number: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        """Return the places of the rows to augment, those that fit the budget first: all or a reservoir."""
        sources = torch.arange(rows)
        if self.reservoir is not None and number >= self.reservoir_from and self.reservoir < rows:
            sources = torch.randperm(rows, generator=generator)[: self.reservoir]
        if len(sources) > fitting and self.truncation == "random":
            sources = sources[torch.randperm(len(sources), generator=generator)]
        return sources

    def _augment(self, transfer: Transfer, surrogate: nn.Module, number: int) -> Exchange:
        """Craft and send one round's queries: until the budget is filled, or no source is left.

        What the adaptation drops makes room as well: a thief who filters has its budget still.
        """
        waiting: list[tuple[Images, Int[Tensor, " k"], Int[Tensor, " k"]]] = []
        exchanged: list[Exchange] = []
        failures = 0

        def send() -> None:
            columns = (torch.cat(column)[: transfer.left] for column in zip(*waiting, strict=True))
            images, parents, targets = columns
            exchanged.append(transfer.send(images, parents, targets, "augmented"))
            waiting.clear()

        for plan in self._plans(transfer, surrogate, number):
            crafted = self._craft(surrogate, transfer, plan, number)
            keep = crafted.keep.cpu()
            waiting.append((crafted.images[crafted.keep], plan.parents[keep], plan.targets[keep]))
            failures += int(crafted.failed.sum())
            if sum(len(images) for images, _, _ in waiting) >= transfer.left:
                send()
                if transfer.left == 0:
                    break
        if waiting:
            send()
        return replace(Exchange.joined(exchanged), failures=failures)

    def _craft(self, surrogate: nn.Module, transfer: Transfer, plan: Plan, number: int) -> Crafted:
        surrogate.eval()
        surrogate.requires_grad_(False)  # only the images' gradients are wanted
        images, labels = transfer.images, transfer.labels.argmax(1)
        perturbation = self.perturbation
        if self.flip_every is not None and (number // self.flip_every) % 2:
            assert isinstance(perturbation, perturb.Reversible)
            perturbation = perturbation.reversed()

        def craft(aim: perturb.Aim) -> Tensors:
            return perturbation(surrogate, aim, transfer.generator)._asdict()

        parts: list[Tensors] = [Crafted.whole(images[:0])._asdict()]
        for columns in zip(*(torch.split(column, CRAFT_BATCH) for column in plan), strict=True):
            rows, targets = (column.to(images.device) for column in columns)
            sources = images[rows].contiguous(memory_format=torch.channels_last)
            aim = perturb.Aim(sources, labels[rows], targets, images, labels)
            given = [aim.labels, aim.targets, labels]
            parts.append(transfer.journal.step(partial(craft, aim), given, transfer.generator))
        crafted = Crafted(
            *(torch.cat([part[name].to(images.device) for part in parts]) for name in Crafted._fields)
        )
        return crafted._replace(images=crafted.images.contiguous())


def top_targets(logits: Outputs, labels: Outputs, count: int) -> Int[Tensor, "n k"]:
    """Return the `count` classes of highest logit [n, count] but for the one the oracle answered."""
    own = labels.argmax(1, keepdim=True)
    others = logits.scatter(1, own, -torch.inf)
    return others.topk(min(count, logits.shape[1] - 1), dim=1).indices


class Settings(TypedDict, total=False):
    """What the attacks below leave open; the rest is as published."""

    order: Order
    round_training: Training
    final_training: Training


def jb_top3(budget: int = 50_000, *, fidelity: Fidelity = "corrected", **settings: Unpack[Settings]) -> Jba:
    """JB-top3: PRADA's I-FGSM towards the three likeliest classes, with the settings of the released code."""
    return Jba(LogitAscent(fidelity=fidelity), budget, **settings)


def jba_pgd(budget: int = 50_000, **settings: Unpack[Settings]) -> Jba:
    """JBA-PGD: targeted L∞ PGD of ε = 8/256 towards the three likeliest classes, in the order `batch64`."""
    return replace(Jba(perturb.LinfPgd(), budget, "batch64"), **settings)


def jbda(budget: int = 50_000, *, fidelity: Fidelity = "corrected", **settings: Unpack[Settings]) -> Jba:
    """Papernot's augmentation: x + λ·sign ∇ z_y(x), λ = 0.1 in pixels, y the oracle's label.

    λ changes its sign every 3 rounds, the surrogate's weights are kept between rounds, and from round 3 on
    400 random rows are augmented (reservoir sampling). `released` does not keep iterates in [0, 1].
    Source: Papernot et al. 2017, and the CleverHans tutorial of its authors.
    """
    return Jba(
        LogitAscent(steps=1, step=0.1, epsilon=0.1, unit=(1.0, 1.0, 1.0), fidelity=fidelity),
        budget,
        reservoir=400,
        towards="own",
        reservoir_from=3,
        flip_every=3,
        warm=True,
        **settings,
    )


def jb_self(budget: int = 50_000, **settings: Unpack[Settings]) -> Jba:
    """JB-self of the prediction-poisoning code: one step of 0.1 deviations away from the oracle's label.

    The released function writes over its seeds, clips standardised images to [0, 1] and stores the opposite
    of what it sends; this is what it describes.
    """
    return prada(SignedSteps(epsilon=0.1, unit=CIFAR10_STD), "own", budget, **settings)


def prada(
    perturbation: SignedSteps,
    towards: Literal["random", "own"],
    budget: int = 50_000,
    **settings: Unpack[Settings],
) -> Jba:
    """PRADA's attacks (Juuti et al. 2019): one new query a source, doubling the transfer set each round.

    N-FGSM is `SignedSteps()` away from its own class, T-RND `SignedSteps()` towards a random one, and
    I-FGSM `SignedSteps(steps=11)`.
    """
    return Jba(perturbation, budget, targets_per_source=1, towards=towards, **settings)
