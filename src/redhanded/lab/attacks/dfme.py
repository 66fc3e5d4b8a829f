"""Data-free extraction (Truong et al. 2021; §III-B): a generator crafts what victim and student differ on."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab import types
from redhanded.lab.attacks.exchange import Exchange
from redhanded.lab.attacks.generator import (
    DirectionLaw,
    ImageGenerator,
    draw_directions,
    forward_differences,
    full_precision,
    moved,
    pixels,
)
from redhanded.lab.attacks.order import send_order
from redhanded.lab.attacks.players import Players
from redhanded.lab.attacks.resume import Saver
from redhanded.lab.attacks.stream import Stream
from redhanded.lab.models import seeded
from redhanded.lab.oracles.victim import Soft
from redhanded.lab.training import predict
from redhanded.lab.types import Images, NewModel, Order, Outputs, Round, as_is
from redhanded.types import Int

SMALLEST = torch.finfo(torch.float32).tiny
"""What a probability of 0 counts as, before its logarithm is taken."""


@dataclass(frozen=True)
class Dfme:
    """Play eq. 3: generator steps that raise the L1 distance of logits, student steps that lower it.

    An iteration has `n_generator` steps, each of `batch` images and their `directions` (m) neighbours at
    `epsilon` before tanh, and `n_student` steps of `batch` images: 256 * (1 * 2 + 5) = 1,792 queries. Both
    learning rates fall by `lr_factor` at each of `lr_milestones`, shares of the budget.

    Defaults are the released code's; its generator's rate was 5e-4 until 2021-05-25, when the paper was out,
    and is 1e-4 now. `direction_law` is its too: directions on the unit sphere, their differences multiplied
    by the number of elements; eq. 4 has `gaussian` ones, some sqrt(3,072) = 55 times as long.
    `fidelity="released"` sends images that span a standard deviation around the mean (see `pixels`) and
    divides the generator's gradient once more by the number of classes, which Adam all but undoes;
    `corrected` spans [0, 1].

    `order` is that of a generator step's queries; `source` is the released code's, where each image follows
    its neighbours. Neighbours have it as their parent, wherever it was sent; -1 if it was not.
    """

    budget: int = 20_000_000
    order: Order = "source"
    batch: int = 256
    n_generator: int = 1
    n_student: int = 5
    directions: int = 1
    direction_law: DirectionLaw = "sphere"
    epsilon: float = 1e-3
    fidelity: types.Fidelity = "corrected"
    latent: int = 256
    generator_width: int = 128
    generator_lr: float = 5e-4
    student_lr: float = 0.1
    student_momentum: float = 0.9
    student_weight_decay: float = 5e-4
    lr_milestones: tuple[float, ...] = (0.1, 0.3, 0.5)
    lr_factor: float = 0.3

    starts_from: ClassVar[types.Start] = "nothing"
    answers: ClassVar[types.Answers] = "probabilities"

    def run(
        self,
        oracle: types.Oracle,
        seeds: Images,
        *,
        adapt: types.Adaptation = as_is,
        new_surrogate: NewModel,
        generator: torch.Generator,
        saver: Saver | None = None,
    ) -> Iterator[Round]:
        """Yield a round per generator step and one for each iteration's student steps.

        Of `seeds` only the shape of an image and the device are used. All rounds carry the same student, as
        trained up to the round they were yielded in: it goes on learning. An iteration of which the
        adaptation kept nothing ends the attack; rounds without queries are left out otherwise.

        `saver` is offered the state after every iteration but the last; from what it kept, the attack goes
        on as if it had never stopped, if its adaptation remembers what it did.

        Raises:
            RedhandedError: image sides that the generator cannot double twice into, or an oracle that gives
                labels.
        """
        channels, height, width = seeds.shape[1:]
        if min(height, width) < 8 or height % 4 or width % 4:
            raise RedhandedError(
                f"seeds: the generator makes images with sides of 8, 12, 16, ..., not {height}x{width}; "
                "resize what the victim takes"
            )
        student = new_surrogate()
        with seeded(generator):
            crafter = ImageGenerator(self.latent, self.generator_width, (channels, height, width))
        players = self._players(student, crafter.to(seeds.device), seeds.device)
        queries = Stream(Soft(oracle, "DFME"), adapt, self.budget)
        if saver is not None and (stored := saver.load()):
            players.restore(stored["players"])
            generator.set_state(stored["generator"])
            queries = Stream(oracle, adapt, self.budget, *stored["stream"])
        turns = (*repeat(self._teach_generator, self.n_generator), self._teach_student)
        while queries.left > 0:
            before = queries.sent
            self._set_rates(players, before)
            for turn in turns:
                exchanged = turn(players, queries, generator)
                if exchanged is not None and len(exchanged.sent) > 0:
                    yield exchanged.round(players.student)
            if queries.sent == before and exchanged is not None:
                yield exchanged.round(players.student)
                return
            if saver is not None and queries.left > 0:
                saver.offer(
                    lambda: {
                        "players": players.state(),
                        "generator": generator.get_state(),
                        "stream": [queries.sent, queries.classes],
                    }
                )

    def _set_rates(self, players: Players, sent: int) -> None:
        fallen = self.lr_factor ** sum(sent >= share * self.budget for share in self.lr_milestones)
        players.student_sgd.param_groups[0]["lr"] = fallen * self.student_lr
        players.crafter_adam.param_groups[0]["lr"] = fallen * self.generator_lr

    def _players(self, student: nn.Module, crafter: nn.Module, device: torch.device) -> Players:
        sgd = torch.optim.SGD(
            student.parameters(),
            lr=self.student_lr,
            momentum=self.student_momentum,
            weight_decay=self.student_weight_decay,
        )
        adam = torch.optim.Adam(crafter.parameters(), lr=self.generator_lr)
        return Players(student, crafter, sgd, adam, device)

    def _teach_generator(
        self, players: Players, queries: Stream, generator: torch.Generator
    ) -> Exchange | None:
        """Query images and their neighbours, and climb the estimated gradient of the loss."""
        count = min(self.batch, queries.left // (self.directions + 1))
        if count == 0:
            return None
        raw = players.generate(count, self.latent, generator)
        points = raw.detach()
        directions = draw_directions(points, self.directions, self.direction_law, generator)
        with full_precision(players.device):
            neighbours = points[:, None] + self.epsilon * directions
            crafted = pixels(torch.cat([neighbours, points[:, None]], 1).flatten(0, 1), self.fidelity)
            order = send_order(count, self.directions + 1, self.order, generator)
            exchanged, kept = queries.send(
                crafted[moved(order, players.device)], "gradient", _own_image(order, self.directions)
            )
            if len(exchanged.sent) == 0:
                return exchanged
            wanted = recovered_logits(exchanged.labels)
            losses = (predict(players.student, exchanged.crafted) - wanted).abs().mean(1)
        places = moved(order[kept], players.device)
        table = losses.new_full((len(order),), torch.nan).index_put((places,), losses)
        table = table.view(count, self.directions + 1)
        gradient = forward_differences(table[:, :-1], table[:, -1], directions, self.epsilon)
        if self.direction_law == "sphere":
            gradient *= points[0].numel()
        players.crafter_adam.zero_grad(set_to_none=True)
        classes = exchanged.labels.shape[1] if self.fidelity == "released" else 1
        raw.backward(-gradient / (count * classes))  # type: ignore[no-untyped-call]
        players.crafter_adam.step()
        return exchanged

    def _teach_student(
        self, players: Players, queries: Stream, generator: torch.Generator
    ) -> Exchange | None:
        """Query fresh images, and train on the answers batch by batch.

        The generator stands still meanwhile, so all are sent at once. What the adaptation keeps is spread
        evenly over the steps.
        """
        count = min(self.batch * self.n_student, queries.left)
        if count == 0:
            return None
        with torch.no_grad():
            raw = [
                players.generate(min(self.batch, count - at), self.latent, generator)
                for at in range(0, count, self.batch)
            ]
        exchanged, _ = queries.send(pixels(torch.cat(raw), self.fidelity), "student")
        student, optimiser = players.student.train(), players.student_sgd
        with seeded(generator):  # of dropout, where the student has any
            for places in torch.arange(len(exchanged.sent)).tensor_split(len(raw)):
                if len(places) < min(2, self.batch):  # batch norm cannot learn from one left over
                    continue
                rows = slice(int(places[0]), int(places[-1]) + 1)
                images = exchanged.crafted[rows].contiguous(memory_format=torch.channels_last)
                loss = F.l1_loss(student(images), recovered_logits(exchanged.labels[rows]))
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        student.eval()
        return exchanged


def recovered_logits(probabilities: Outputs) -> Outputs:
    """Undo a softmax, up to the constant it swallows: logarithms less their mean over the classes."""
    logarithms = probabilities.clamp(min=SMALLEST).log()
    return logarithms - logarithms.mean(1, keepdim=True)


def _own_image(order: Int[Tensor, " n"], directions: int) -> Int[Tensor, " n"]:
    """Return where, in the order sent, each neighbour's own image stands; -1 for the images themselves."""
    where = torch.empty_like(order)
    where[order] = torch.arange(len(order))
    image = order // (directions + 1) * (directions + 1) + directions  # the last of its row
    return torch.where(image == order, -1, where[image])
