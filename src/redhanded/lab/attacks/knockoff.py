"""Knockoff Nets (Orekondy et al. 2019; §III-C), adaptive: a gradient bandit learns which classes to query."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.attacks.exchange import Exchange, Transfer
from redhanded.lab.attacks.order import send_order
from redhanded.lab.training import Training, predict, train_classifier
from redhanded.lab.types import Adaptation, Answers, Images, NewModel, Oracle, Order, Round, Start, as_is
from redhanded.types import Float, Int

Reward = Literal["certainty", "diversity", "loss", "all"]

FINAL_TRAINING = Training(epochs=100, momentum=0.5, weight_decay=0.0, step_epochs=60)
ONLINE_TRAINING = replace(FINAL_TRAINING, epochs=1)


class Choice(NamedTuple):
    """What was chosen at one level of the tree, and with which probabilities among its siblings."""

    siblings: Int[Tensor, " k"]
    probabilities: Float[Tensor, " k"]
    chosen: int
    """Number of the node, at its level."""


class Draw(NamedTuple):
    """An image of the pool and the way to it, from the top."""

    row: int
    path: tuple[Choice, ...]


class Policy:
    """A gradient bandit (Sutton and Barto, §2.8) at every node of a tree of classes.

    A leaf's images are drawn at random, each once; branches without any left have probability zero.
    """

    def __init__(self, groups: Int[Tensor, "n levels"], generator: torch.Generator) -> None:
        """Start with equal preferences; a row of `groups` is an image's classes, coarse to fine."""
        self._generator = generator
        self.preferences: list[Float[Tensor, " nodes"]] = []
        self._chosen: list[Int[Tensor, " nodes"]] = []
        self._left: list[Int[Tensor, " nodes"]] = []
        self._children: list[list[Int[Tensor, " k"]]] = []
        self._seen, self.baseline = 0, 0.0
        parents = torch.zeros(len(groups), dtype=torch.long)
        for depth in range(groups.shape[1]):
            # a class is told apart by all that is above it
            _, nodes = torch.unique(groups[:, : depth + 1], dim=0, return_inverse=True)
            left = nodes.bincount()
            above = torch.zeros_like(left).scatter_(0, nodes, parents)
            branches = range(int(parents.max()) + 1) if len(parents) else ()
            self._children.append([(above == parent).nonzero()[:, 0] for parent in branches])
            self._left.append(left)
            self._chosen.append(torch.zeros_like(left))
            self.preferences.append(torch.zeros(len(left), dtype=torch.float64))
            parents = nodes
        shuffled = torch.randperm(len(groups), generator=generator)
        by_leaf = shuffled[parents[shuffled].argsort(stable=True)]
        self._images = [part.tolist() for part in torch.split(by_leaf, self._left[-1].tolist())]

    @property
    def left(self) -> int:
        return int(self._left[0].sum())

    def draw(self) -> Draw:
        """Walk down the tree and take an image of the leaf."""
        path, node = [], 0
        for depth, children in enumerate(self._children):
            siblings = children[node]
            spent = self._left[depth][siblings] == 0
            chances = self.preferences[depth][siblings].masked_fill(spent, -torch.inf).softmax(0)
            node = int(siblings[torch.multinomial(chances, 1, generator=self._generator)])
            self._left[depth][node] -= 1
            path.append(Choice(siblings, chances, node))
        return Draw(self._images[node].pop(), tuple(path))

    def learn(self, draw: Draw, reward: float) -> None:
        """Prefer what brought more than the mean reward so far, this one included; the step is 1 / N(choice).

        H_a += (r - r̄)(1 - π_a) / N_a and H_b -= (r - r̄) π_b / N_a, with the π it was drawn with.
        """
        self._seen += 1
        self.baseline += (reward - self.baseline) / self._seen
        for depth, choice in enumerate(draw.path):
            self._chosen[depth][choice.chosen] += 1
            step = (reward - self.baseline) / int(self._chosen[depth][choice.chosen])
            self.preferences[depth][choice.siblings] -= step * choice.probabilities
            self.preferences[depth][choice.chosen] += step


class Rewards:
    """What an answer was worth, given all answers so far.

    Certainty: the victim's first minus its second probability. Diversity: Σ max(0, y - ȳ), ȳ the mean answer,
    this one included. Loss: the cross-entropy of the thief's probabilities against the victim's. All: the
    mean of their z-scores by running means and variances, 0 for what has not varied. Answers are taken as
    probabilities. Hard labels are always certain: certainty teaches nothing then, and `all` rests on the
    other two.
    """

    def __init__(self, kind: Reward) -> None:
        self._kind = kind
        self._seen = 0
        self._mean_answer = self._mean = self._variance = torch.zeros((), dtype=torch.float64)

    def __call__(
        self, answer: Float[Tensor, " classes"], thief_log_probabilities: Float[Tensor, " classes"]
    ) -> float:
        answer, thief = answer.double(), thief_log_probabilities.double()
        self._seen += 1
        self._mean_answer = self._mean_answer + (answer - self._mean_answer) / self._seen
        first, second = answer.topk(2).values
        diversity = (answer - self._mean_answer).clamp(min=0).sum()
        values = torch.stack([first - second, diversity, -(answer * thief).sum()])
        scores = self._z_scores(values)
        if self._kind == "all":
            return float(scores.mean())
        return float(values[("certainty", "diversity", "loss").index(self._kind)])

    def _z_scores(self, values: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        self._mean = self._mean + (values - self._mean) / self._seen
        deviation = values - self._mean
        self._variance = self._variance + (deviation.square() - self._variance) / self._seen
        return torch.where(self._variance > 0, deviation / self._variance.sqrt(), 0)


@dataclass(frozen=True)
class KnockoffNets:
    """Draw a class at each level of the pool's hierarchy, query an image of it, and learn from the reward.

    The original asks and learns image by image (`batch` 1): after each answer a thief takes one step on it
    (`online_training`), and what it then predicts enters the loss reward. A larger `batch` draws so many
    images by the same policy and has them share an exchange and an epoch of the thief, for speed. Each of
    these trainings starts without momentum. Every round but the last has this one thief, which learns on:
    judge it before asking for the next round. The last has a fresh surrogate, trained for `final_training`
    on everything.

    SGD 0.01 with momentum 0.5, 100 epochs, a tenth of it after 60: the official code's training. Its policy
    is unpublished; this is the paper's, with the flat policy's details as in the Adversarial Robustness
    Toolbox. The random policy is `RandomSampling`.
    """

    budget: int = 50_000
    order: Order = "source"
    reward: Reward = "all"
    batch: int = 1
    online_training: Training = ONLINE_TRAINING
    final_training: Training = FINAL_TRAINING

    starts_from: ClassVar[Start] = "pool"
    answers: ClassVar[Answers] = "labels"

    def run(
        self,
        oracle: Oracle,
        seeds: Images,
        *,
        adapt: Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
        groups: Int[Tensor, "m levels"] | None = None,
    ) -> Iterator[Round]:
        """Yield a round for every `batch` of queries; `groups` is each pool image's class, coarse to fine.

        What the adaptation drops is neither replaced nor learnt from; the attack draws on until the budget or
        the pool is spent.

        Raises:
            RedhandedError: a pool smaller than the budget, or one without classes.
        """
        if not 0 < self.budget <= len(seeds):
            raise RedhandedError(
                f"budget: drawing {self.budget} queries needs a pool of at least as many images, "
                f"got {len(seeds)}; give more images or lower the budget"
            )
        if groups is None or len(groups) != len(seeds):
            raise RedhandedError(
                f"groups: the policy chooses among classes, and needs those of all {len(seeds)} images, got "
                f"{'none' if groups is None else len(groups)}; give a row an image, or use random sampling"
            )
        transfer = Transfer(oracle, adapt, self.budget, new_surrogate, generator)
        policy, rewards, thief = Policy(groups.cpu(), generator), Rewards(self.reward), new_surrogate()
        draws, exchanged = self._send(transfer, seeds, policy, generator)
        while transfer.left > 0 and policy.left > 0:
            if len(draws) > 0:
                train_classifier(thief, exchanged.crafted, exchanged.labels, self.online_training, generator)
                predicted = predict(thief, exchanged.crafted).log_softmax(1).cpu()
                for draw, answer, guess in zip(draws, exchanged.labels.cpu(), predicted, strict=True):
                    policy.learn(draw, rewards(answer, guess))
                yield exchanged.round(thief)
            draws, exchanged = self._send(transfer, seeds, policy, generator)
        yield exchanged.round(transfer.train(self.final_training))

    def _send(
        self, transfer: Transfer, pool: Images, policy: Policy, generator: torch.Generator
    ) -> tuple[list[Draw], Exchange]:
        """Draw and send a batch; return the draws that were kept."""
        draws = [policy.draw() for _ in range(min(self.batch, transfer.left, policy.left))]
        draws = [draws[place] for place in send_order(len(draws), 1, self.order, generator).tolist()]
        rows = torch.tensor([draw.row for draw in draws], device=pool.device)
        unknown = torch.full((len(draws),), -1)
        # their places travel as targets, and are thinned with the rest
        exchanged = transfer.send(pool[rows], unknown, torch.arange(len(draws)), "pool")
        kept = [draws[place] for place in exchanged.targets.tolist()]
        return kept, replace(exchanged, targets=torch.full_like(exchanged.targets, -1))
