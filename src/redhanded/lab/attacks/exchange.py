"""The transfer set: what was crafted, what the oracle answered, and where each query came from."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from redhanded.lab import types
from redhanded.lab.attacks.resume import FORGETFUL, Journal
from redhanded.lab.training import Checkpoint, Training, train_classifier
from redhanded.lab.types import Images, Kind, NewModel, Outputs, Round, as_is
from redhanded.types import Int


@dataclass(frozen=True)
class Exchange:
    """A round before its surrogate is trained."""

    crafted: Images
    sent: Images
    labels: Outputs
    parents: Int[Tensor, " n"]
    targets: Int[Tensor, " n"]
    kind: Kind
    failures: int = 0
    """Queries that could not be crafted as aimed."""

    @classmethod
    def joined(cls, parts: Sequence["Exchange"]) -> "Exchange":
        """Return what was exchanged one after the other, of one kind, as one."""
        columns = [(part.crafted, part.sent, part.labels, part.parents, part.targets) for part in parts]
        crafted, sent, labels, parents, targets = (torch.cat(column) for column in zip(*columns, strict=True))
        failures = sum(part.failures for part in parts)
        return cls(crafted, sent, labels, parents, targets, parts[0].kind, failures)

    def round(self, surrogate: nn.Module) -> Round:
        """Add the surrogate that was trained on everything up to here."""
        return Round(**vars(self), surrogate=surrogate)


class Transfer:
    """The growing transfer set D of one attack, never larger than the budget, and what it trains."""

    def __init__(
        self,
        oracle: types.Oracle,
        adapt: types.Adaptation,
        budget: int,
        new_surrogate: NewModel,
        generator: torch.Generator,
        journal: Journal = FORGETFUL,
    ) -> None:
        self._oracle, self._adapt, self._new_surrogate = oracle, adapt, new_surrogate
        self.budget, self.generator, self.journal = budget, generator, journal
        self._crafted: list[Images] = []
        self._labels: list[Outputs] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def left(self) -> int:
        return self.budget - len(self)

    @property
    def images(self) -> Images:
        """Everything crafted and answered, in the order sent."""
        return torch.cat(self._crafted)

    @property
    def labels(self) -> Outputs:
        """What the oracle answered to it; [0, 0] before it was asked anything."""
        answered = [part for part in self._labels if len(part)]
        return torch.cat(answered) if answered else self._labels[0][:0]

    @property
    def classes(self) -> Int[Tensor, " n"]:
        """The likeliest class of each answer; 0 where there was none."""
        labels = self.labels.nan_to_num()
        return labels.argmax(1) if labels.numel() else torch.empty(0, dtype=torch.long)

    def seed(self, images: Images) -> Exchange:
        """Send natural images, as many as the budget allows."""
        unknown = torch.full((len(images),), -1)
        return self.send(images, unknown, unknown, "seed")

    def send(
        self, crafted: Images, parents: Int[Tensor, " n"], targets: Int[Tensor, " n"], kind: Kind
    ) -> Exchange:
        """Adapt, cut to the budget, query, and remember the answers."""
        keep, sent = self._adapt(crafted, kind) if len(crafted) else as_is(crafted, kind)
        keep = keep.cpu()
        crafted, parents, targets = crafted[keep.to(crafted.device)], parents[keep], targets[keep]
        crafted, sent, parents, targets = (part[: self.left] for part in (crafted, sent, parents, targets))
        sent = sent.clamp(0, 1)  # the interface takes images, and nothing else
        if len(sent) > 0:
            labels = self._oracle(sent)
        else:  # nobody asks about nothing, and an oracle need not know how to answer it
            labels = self.labels[:0] if self._labels else crafted.new_empty(0, 0)
        self._crafted.append(crafted)
        self._labels.append(labels)
        self._count += len(crafted)
        return Exchange(crafted, sent, labels, parents, targets, kind)

    def train(self, training: Training, start: nn.Module | None = None) -> nn.Module:
        """Train a fresh surrogate, or one of `start`'s weights, on the whole transfer set."""
        model = self._new_surrogate()
        if start is not None:
            model.load_state_dict(start.state_dict())
        images, labels = self.images, self.labels
        told = ~labels.isnan().any(1)  # what a guard refuses for good teaches nothing
        if not told.all():
            images, labels = images[told], labels[told]

        def train(checkpoint: Checkpoint | None) -> None:
            train_classifier(model, images, labels, training, self.generator, checkpoint=checkpoint)

        self.journal.training(model, train, [self.classes], self.generator)
        return model


class TransferAttack(ABC):
    """An attack that trains on all that it was answered, and takes its long steps by a journal."""

    answers: ClassVar[types.Answers] = "labels"
    journaled: ClassVar[Literal[True]] = True

    @property
    @abstractmethod
    def budget(self) -> int: ...

    def run(
        self,
        oracle: types.Oracle,
        seeds: Images,
        *,
        adapt: types.Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
        journal: Journal = FORGETFUL,
    ) -> Iterator[Round]:
        """Yield the rounds of `steal`, which says what they are and which seeds are refused."""
        yield from self.steal(Transfer(oracle, adapt, self.budget, new_surrogate, generator, journal), seeds)

    @abstractmethod
    def steal(self, transfer: Transfer, seeds: Images) -> Iterator[Round]:
        """Yield a round for every exchange, from an empty transfer set on."""
