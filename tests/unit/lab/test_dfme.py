"""Data-free extraction: its generator, its gradient estimates, its schedule and what it sends."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError, RedhandedError
from redhanded.lab.attacks import dfme as module
from redhanded.lab.attacks.dfme import Dfme, recovered_logits
from redhanded.lab.attacks.generator import (
    ImageGenerator,
    draw_directions,
    forward_differences,
    full_precision,
    pixels,
)
from redhanded.lab.models import CIFAR10_MEAN, CIFAR10_STD, ConvNet, build, seeded
from redhanded.lab.training import State, load_state, predict, save_state
from redhanded.lab.types import Adaptation, Adapted, Kind, Order, Round, as_is

CLASSES = 5
SMALL = Dfme(budget=84, batch=6, generator_width=4, latent=5, student_lr=0.01)
"""Two iterations of 6 * 2 + 5 * 6 = 42 queries."""
_WEIGHTS = torch.randn(3 * 8 * 8, CLASSES, generator=torch.Generator().manual_seed(9)) / 4


def victim(images: Tensor) -> Tensor:
    return (((images.flatten(1) - 0.5)[:, :, None] * _WEIGHTS).sum(1)).softmax(1)


class Watched:
    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.asked.append(images.clone())
        return victim(images)


def run(
    attack: Dfme, seed: int = 0, adapt: Adaptation = as_is, oracle: object = victim, student: object = None
) -> list[Round]:
    generator = torch.Generator().manual_seed(seed)
    return list(
        attack.run(
            oracle,  # type: ignore[arg-type]
            torch.empty(0, 3, 8, 8),
            adapt=adapt,
            new_surrogate=lambda: student or build(ConvNet(((4,), (6,))), CLASSES, generator),  # type: ignore[arg-type, return-value]
            generator=generator,
        )
    )


@cache
def played(attack: Dfme = SMALL) -> list[Round]:
    return run(attack)


def whole(rounds: list[Round], name: str) -> Tensor:
    return torch.cat([getattr(part, name) for part in rounds])


# The generator


def test_generator_of_the_paper(generator: torch.Generator) -> None:
    with seeded(generator):
        network = ImageGenerator()
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == [
        *("BatchNorm2d", "Upsample"),
        *("Conv2d", "BatchNorm2d", "LeakyReLU", "Upsample"),
        *("Conv2d", "BatchNorm2d", "LeakyReLU"),
        *("Conv2d", "BatchNorm2d"),
    ]
    assert all(layer.negative_slope == 0.2 for layer in network.layers if isinstance(layer, nn.LeakyReLU))
    assert all(layer.mode == "nearest" for layer in network.layers if isinstance(layer, nn.Upsample))
    # the linear layer, convolutions of 128, 64 and 3, batch norms of 128, 128 and 64; the last has no weights
    convolutions = (9 * 128 + 1) * 128 + (9 * 128 + 1) * 64 + (9 * 64 + 1) * 3
    batch_norms = 2 * (128 + 128 + 64)
    assert sum(p.numel() for p in network.parameters()) == 257 * 128 * 64 + convolutions + batch_norms
    raw = network(torch.randn(9, 256, generator=generator))
    assert raw.shape == (9, 3, 32, 32)
    # what reaches tanh is standardised, so that it is neither grey nor saturated
    torch.testing.assert_close(raw.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(raw.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-2, rtol=0)


@pytest.mark.parametrize("side", [8, 12])
def test_generator_of_other_shapes(side: int, generator: torch.Generator) -> None:
    network = ImageGenerator(7, 6, (2, side, side + 4))
    assert network(torch.randn(1, 7, generator=generator)).shape == (1, 2, side, side + 4)


@pytest.mark.parametrize("shape", [(3, 30, 32), (3, 32, 10), (3, 4, 4)])
def test_shapes_it_cannot_make_are_refused(shape: tuple[int, int, int], generator: torch.Generator) -> None:
    with pytest.raises(RedhandedError, match=r"^seeds: [^\n]+; [^\n]+$"):
        next(SMALL.run(victim, torch.empty(0, *shape), new_surrogate=nn.Identity, generator=generator))


def test_labels_are_refused_after_one_batch() -> None:
    asked: list[int] = []

    def labels(images: Tensor) -> Tensor:
        asked.append(len(images))
        return torch.eye(CLASSES)[victim(images).argmax(1)]

    with pytest.raises(
        RedhandedError, match=r"^oracle: it answers with labels alone, and DFME needs prob[^\n]+$"
    ):
        run(SMALL, oracle=labels)
    assert len(asked) == 1


def test_range_of_the_pixels() -> None:
    ends = torch.tensor([-50.0, 0.0, 50.0])[:, None, None, None].expand(3, 3, 8, 8)
    corrected = pixels(ends, "corrected")[:, :, 0, 0]
    assert torch.equal(corrected, torch.tensor([0.0, 0.5, 1.0])[:, None].expand(3, 3))
    released = pixels(ends, "released")[:, :, 0, 0]
    mean, std = torch.tensor(CIFAR10_MEAN), torch.tensor(CIFAR10_STD)
    torch.testing.assert_close(released, torch.stack([mean - std, mean, mean + std]))


# The gradient


class Differentiable(nn.Module):
    """A victim one can see into."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(
            torch.randn(192, CLASSES, generator=torch.Generator().manual_seed(3)) / 14
        )

    def forward(self, raw: Tensor) -> Tensor:
        return (torch.tanh(raw).flatten(1) @ self.weights).sin().abs().mean(1)


@pytest.mark.parametrize("law", ["sphere", "gaussian"])
def test_gradient_estimate_against_autograd(law: module.DirectionLaw, generator: torch.Generator) -> None:
    loss = Differentiable()
    points = torch.randn(64, 3, 8, 8, generator=generator).requires_grad_()
    (wanted,) = torch.autograd.grad(loss(points).sum(), points)
    points = points.detach()
    wanted = wanted.flatten(1)
    for count in (1, 8, 64):
        directions = draw_directions(points, count, law, generator)
        with torch.no_grad():
            beside = loss((points[:, None] + 1e-3 * directions).flatten(0, 1)).view(64, count)
            found = forward_differences(beside, loss(points), directions, 1e-3).flatten(1)
        assert found.dtype == torch.float32
        cosine = torch.cosine_similarity(found, wanted).mean()
        # m random directions of d carry sqrt(m / (m + d)) of a gradient; a single one |N(0, 1)| / sqrt(d)
        expected = (count / (count + 192)) ** 0.5 if count > 1 else (2 / torch.pi) ** 0.5 / 192**0.5
        assert float(cosine) == pytest.approx(expected, rel=0.15)
        # and on average its size
        scale = 192 if law == "sphere" else 1
        slope = scale * (found * wanted).sum(1).mean() / wanted.square().sum(1).mean()
        assert float(slope) == pytest.approx(1, abs=0.35 / count**0.5)


def test_directions(generator: torch.Generator) -> None:
    points = torch.zeros(50, 3, 8, 8)
    sphere = draw_directions(points, 3, "sphere", generator).flatten(2)
    torch.testing.assert_close(sphere.norm(dim=2), torch.ones(50, 3))
    assert sphere.mean().abs() < 0.005
    gaussian = draw_directions(points, 3, "gaussian", generator)
    assert float(gaussian.std()) == pytest.approx(1, rel=0.02)


def test_unknown_values_count_as_no_slope(generator: torch.Generator) -> None:
    directions = torch.randn(3, 2, 1, 1, 2, generator=generator)
    nan = float("nan")
    beside = torch.tensor([[1.5, nan], [2.0, 3.0], [nan, nan]])
    at = torch.tensor([1.0, nan, 0.0])
    found = forward_differences(beside, at, directions, 0.5)
    torch.testing.assert_close(found[0], directions[0, 0])  # the mean over the one direction that is known
    assert found[1:].abs().max() == 0


class Raw(nn.Module):
    """A generator that is its own output, and remembers the gradients that reached it."""

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(4)))
        self.gradients: list[Tensor] = []

    def forward(self, noise: Tensor) -> Tensor:
        output = self.raw[: len(noise)] * 1
        if output.requires_grad:
            output.register_hook(lambda gradient: self.gradients.append(gradient.clone()))
        return output


@pytest.mark.parametrize("fidelity", ["released", "corrected"])
@pytest.mark.parametrize("law", ["sphere", "gaussian"])
@pytest.mark.parametrize("order", ["source", "shuffled"])
def test_generator_climbs_the_whole_l1_loss(
    fidelity: str, law: str, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    # with many directions the estimate is the gradient, through victim, student and tanh
    raw = Raw()
    monkeypatch.setattr(module, "ImageGenerator", lambda *_: raw)
    student = build(ConvNet(((4,),)), CLASSES, torch.Generator().manual_seed(1)).eval()
    images = pixels(raw.raw, fidelity)  # type: ignore[arg-type]
    logits = victim(images).log()
    loss = (student(images) - (logits - logits.mean(1, keepdim=True))).abs().mean()
    (expected,) = torch.autograd.grad(loss, raw.raw)

    many = 1_000
    attack = replace(
        SMALL, budget=6 * (many + 1), directions=many, fidelity=fidelity, direction_law=law, order=order
    )
    run(attack, student=student)
    found = -raw.gradients[0] * (CLASSES if fidelity == "released" else 1)
    cosine = torch.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
    assert float(cosine) > 0.86  # sqrt(1,000 / 1,192) = 0.916
    projected = (found * expected).sum() / expected.square().sum()
    assert float(projected) == pytest.approx(1, abs=0.1)


def test_full_precision_is_restored_after_an_error() -> None:
    def allowed() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    inside: list[object] = []

    def fail() -> None:
        with full_precision(torch.device("cpu")):
            inside.extend((*allowed(), (torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
            raise ZeroDivisionError

    before = allowed()
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [False, False, torch.float32]
    assert allowed() == before


def test_differences_are_taken_in_float32_and_with_a_student_in_evaluation_mode() -> None:
    modes: list[tuple[str, bool, bool]] = []

    class Listening(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(192, CLASSES)

        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = self.layer(images.flatten(1))
            modes.append((str(output.dtype), self.training, torch.is_grad_enabled()))
            return output

    with torch.autocast("cpu", torch.bfloat16):
        rounds = run(replace(SMALL, budget=42), student=Listening())
    assert modes[0] == ("torch.float32", False, False)
    assert [mode[1:] for mode in modes[1:]] == [(True, True)] * 5
    assert not rounds[-1].surrogate.training


# The answers


def test_logits_are_recovered_up_to_a_constant(generator: torch.Generator) -> None:
    logits = 5 * torch.randn(50, 10, generator=generator)
    found = recovered_logits(logits.softmax(1))
    torch.testing.assert_close(found, logits - logits.mean(1, keepdim=True), atol=1e-4, rtol=1e-5)
    sure = recovered_logits(torch.eye(3))  # a victim so sure that its probabilities are 0 and 1
    assert sure.isfinite().all()
    assert torch.equal(sure.argmax(1), torch.arange(3))


def test_student_learns_by_l1_from_what_was_crafted() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Parameter(torch.zeros(CLASSES))
            self.seen: list[Tensor] = []

        def forward(self, images: Tensor) -> Tensor:
            if self.training:
                self.seen.append(images.detach().clone())
            return self.output.expand(len(images), -1)

    student = Constant()
    attack = replace(SMALL, budget=42, student_lr=0.1, student_momentum=0.9, student_weight_decay=0.0)
    rounds = run(attack, student=student, adapt=shifted)
    wanted, velocity = torch.zeros(CLASSES), torch.zeros(CLASSES)
    crafted, labels = rounds[1].crafted.split(6), rounds[1].labels.split(6)
    for images, answers, seen in zip(crafted, labels, student.seen, strict=True):
        assert torch.equal(images, seen)
        logits = answers.log() - answers.log().mean(1, keepdim=True)
        velocity = 0.9 * velocity + (wanted - logits).sign().mean(0) / CLASSES
        wanted = wanted - 0.1 * velocity
    torch.testing.assert_close(student.output.detach(), wanted)
    torch.testing.assert_close(rounds[1].labels, victim(rounds[1].sent))
    assert not torch.equal(rounds[1].crafted, rounds[1].sent)


# What it sends


def test_defaults_are_the_released_codes() -> None:
    attack = Dfme()
    assert attack.budget == 20_000_000
    assert (attack.batch, attack.n_generator, attack.n_student, attack.directions) == (256, 1, 5, 1)
    assert (attack.epsilon, attack.latent, attack.direction_law) == (1e-3, 256, "sphere")
    assert (attack.student_lr, attack.student_momentum, attack.student_weight_decay) == (0.1, 0.9, 5e-4)
    assert (attack.generator_lr, attack.lr_milestones, attack.lr_factor) == (5e-4, (0.1, 0.3, 0.5), 0.3)


def test_an_iteration_costs_1792_queries(generator: torch.Generator) -> None:
    attack = replace(Dfme(), generator_width=2)
    rounds = islice(
        attack.run(
            victim,
            torch.empty(0, 3, 8, 8),
            new_surrogate=lambda: build(ConvNet(((4,),)), CLASSES, generator),
            generator=generator,
        ),
        4,
    )
    assert [(part.kind, len(part.sent)) for part in rounds] == [("gradient", 512), ("student", 1280)] * 2


def test_further_steps_and_directions() -> None:
    attack = replace(SMALL, n_generator=2, n_student=3, directions=4)
    rounds = played(attack)
    kinds = [(part.kind, len(part.sent)) for part in rounds]
    assert kinds == [("gradient", 30), ("gradient", 30), ("student", 18), ("gradient", 5), ("student", 1)]


@pytest.mark.parametrize("budget", [*range(1, 16), 41, 42, 43, 44, 84, 97])
def test_budget_is_spent_exactly(budget: int) -> None:
    oracle = Watched()
    rounds = run(replace(SMALL, budget=budget), oracle=oracle)
    assert sum(map(len, oracle.asked)) == sum(len(part.sent) for part in rounds) == budget
    assert all(len(part.sent) for part in rounds)
    assert torch.equal(torch.cat(oracle.asked), whole(rounds, "sent"))
    values = rounds[-1].surrogate.state_dict().values()
    assert all(value.isfinite().all() for value in values)


def test_neighbours_come_before_their_image_and_are_close() -> None:
    sent = 0
    for part in played():
        assert (part.targets == -1).all()
        if part.kind == "student":
            assert (part.parents == -1).all()
        else:
            assert part.parents[1::2].tolist() == [-1] * 6
            assert part.parents[::2].tolist() == list(range(sent + 1, sent + 13, 2))
            apart = (part.sent[::2] - part.sent[1::2]).flatten(1).norm(dim=1)
            assert apart.max() <= 0.5e-3 * 1.01  # ε, half of it by the range; tanh shrinks
            assert apart.min() > 1e-4
            others = torch.cdist(part.sent[1::2].flatten(1), part.sent[1::2].flatten(1))
            assert others.fill_diagonal_(9).min() > 1
        sent += len(part.sent)


@pytest.mark.parametrize("order", ["target", "batch64", "shuffled"])
def test_other_orders_keep_parents(order: Order) -> None:
    first = played(replace(SMALL, directions=3, order=order))[0]
    children = (first.parents >= 0).nonzero()[:, 0]
    assert len(children) == 18
    apart = (first.sent[children] - first.sent[first.parents[children]]).flatten(1).norm(dim=1)
    assert apart.max() <= 0.51e-3
    if order != "shuffled":
        assert torch.equal(children, torch.arange(18))  # all first neighbours, ..., then the images


def test_gaussian_neighbours_are_farther() -> None:
    first = played(replace(SMALL, direction_law="gaussian"))[0]
    apart = (first.sent[::2] - first.sent[1::2]).flatten(1).norm(dim=1)
    assert apart.min() > 0.5e-3
    assert apart.max() < 0.5e-3 * 192**0.5 * 1.2


@pytest.mark.parametrize("fidelity", ["released", "corrected"])
def test_range_of_what_is_sent(fidelity: str) -> None:
    sent = whole(played(replace(SMALL, fidelity=fidelity)), "sent")
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    inside = ((sent - mean).abs() <= std * 1.0001).all()
    assert bool(inside) == (fidelity == "released")
    assert sent.min() >= 0
    assert sent.max() <= 1
    if fidelity == "corrected":
        assert sent.min() < 0.02
        assert sent.max() > 0.98


def test_same_seed_same_queries() -> None:
    before = torch.get_rng_state()
    one, again, other = played(), run(SMALL), run(SMALL, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name in ("sent", "labels", "parents"):
        assert torch.equal(whole(one, name), whole(again, name))
    assert not torch.equal(whole(one, "sent"), whole(other, "sent"))
    assert torch.equal(predict(one[-1].surrogate, one[0].sent), predict(again[-1].surrogate, one[0].sent))


def test_rates_fall_by_shares_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[tuple[float, float]] = []
    for name in ("SGD", "Adam"):
        kind = getattr(torch.optim, name)

        class Listening(kind):  # type: ignore[misc, valid-type]
            def step(self, *given: object) -> object:
                rates.append((type(self).__base__.__name__, self.param_groups[0]["lr"]))  # type: ignore[arg-type, union-attr]
                return super().step(*given)

        monkeypatch.setattr(torch.optim, name, Listening)
    run(replace(SMALL, budget=10 * 42, n_student=5, student_lr=0.02, generator_lr=0.001))
    factors = [1.0] + [0.3] * 2 + [0.3**2] * 2 + [0.3**3] * 5  # by the queries sent before the iteration
    wanted = [
        rate for factor in factors for rate in [("Adam", factor * 0.001)] + [("SGD", factor * 0.02)] * 5
    ]
    assert [name for name, _ in rates] == [name for name, _ in wanted]
    assert [rate for _, rate in rates] == pytest.approx([rate for _, rate in wanted])


# Adaptations


def shifted(images: Tensor, kind: Kind) -> Adapted:
    del kind
    return Adapted(torch.ones(len(images), dtype=torch.bool), images + 0.4)


def thinned(images: Tensor, kind: Kind) -> Adapted:
    keep = torch.arange(len(images)) % 2 == 1
    if kind == "gradient":  # of the first pair the image is dropped, of the second its neighbour
        keep = ~torch.isin(torch.arange(len(images)), torch.tensor([1, 2]))
    return Adapted(keep, images[keep])


def nothing(images: Tensor, kind: Kind) -> Adapted:
    del kind
    return Adapted(torch.zeros(len(images), dtype=torch.bool), images[:0])


def test_what_is_dropped_has_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Raw()
    monkeypatch.setattr(module, "ImageGenerator", lambda *_: raw)
    rounds = run(replace(SMALL, budget=46), adapt=thinned)
    assert [len(part.sent) for part in rounds[:2]] == [10, 15]
    assert rounds[0].parents.tolist() == [-1, -1, 3, -1, 5, -1, 7, -1, 9, -1]
    touched = raw.gradients[0].flatten(1).abs().amax(1) > 0
    assert touched.tolist() == [False, False, True, True, True, True]
    assert rounds[2].parents.tolist() == [-1, -1, *(25 + place for place in (3, -26, 5, -26, 7, -26, 9, -26))]
    assert sum(len(part.sent) for part in rounds) == 45  # the last would have been dropped
    assert torch.equal(rounds[1].labels, victim(rounds[1].sent))


def test_kinds_are_told_and_sent_images_stay_images() -> None:
    told: list[Kind] = []

    def listening(images: Tensor, kind: Kind) -> Adapted:
        told.append(kind)
        return shifted(images, kind)

    rounds = run(SMALL, adapt=listening)
    assert told == ["gradient", "student"] * 2
    for part in rounds:
        assert torch.equal(part.sent, (part.crafted + 0.4).clamp(0, 1))


def test_keeping_nothing_ends_it() -> None:
    oracle = Watched()
    rounds = run(
        SMALL,
        adapt=lambda images, _: Adapted(torch.zeros(len(images), dtype=torch.bool), images[:0]),
        oracle=oracle,
    )
    assert [len(part.sent) for part in rounds] == [0]
    assert oracle.asked == []


def test_without_gradient_queries_the_generator_rests_and_the_student_goes_on() -> None:
    def students(images: Tensor, kind: Kind) -> Adapted:
        keep = torch.full((len(images),), kind == "student")
        return Adapted(keep, images[keep])

    rounds = run(SMALL, adapt=students)
    assert {part.kind for part in rounds} == {"student"}
    assert sum(len(part.sent) for part in rounds) == SMALL.budget


# Going on where it stopped


class Kept:
    """Keeps the state of the iteration after which it is told to stop."""

    def __init__(self, stop: int, kept: State | None = None) -> None:
        self.stop, self.kept, self.offered = stop, kept or {}, 0

    def load(self) -> State:
        return self.kept

    def offer(self, state: Callable[[], State]) -> None:
        self.offered += 1
        if self.offered == self.stop:
            self.kept = deepcopy(state())
            raise OutOfTimeError("time limit")


def slice_of(attack: Dfme, saver: Kept, seed: int, oracle: object = victim) -> Iterator[Round]:
    generator = torch.Generator().manual_seed(seed)
    return attack.run(
        oracle,  # type: ignore[arg-type]
        torch.empty(0, 3, 8, 8),
        new_surrogate=lambda: build(ConvNet(((4,), (6,))), CLASSES, generator),
        generator=generator,
        saver=saver,
    )


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_it_goes_on_where_it_stopped(stop: int) -> None:
    # with momentum in both optimisers, rates that have fallen, and an iteration that is not whole
    attack = replace(SMALL, budget=42 * 3 + 20)
    rounds, saver = played(attack), Kept(stop)
    with pytest.raises(OutOfTimeError):
        list(slice_of(attack, saver, seed=0))
    # another seed: all that is random comes from what was kept
    later = list(slice_of(attack, Kept(0, saver.kept), seed=7))
    assert len(later) == 2 * (4 - stop)
    for part, wanted in zip(later, rounds[2 * stop :], strict=True):
        for name in ("crafted", "sent", "labels", "parents"):
            assert torch.equal(getattr(part, name), getattr(wanted, name))
    ours, theirs = later[-1].surrogate.state_dict(), rounds[-1].surrogate.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_offers_come_between_iterations_and_after_their_rounds_were_used() -> None:
    told: list[object] = []

    class Telling(Kept):
        def offer(self, state: Callable[[], State]) -> None:
            told.append(state()["stream"][0])

    told.extend(part.kind for part in slice_of(replace(SMALL, budget=90), Telling(0), seed=0))
    assert told == ["gradient", "student", 42, "gradient", "student", 84, "gradient"]


def test_a_resumed_attack_trusts_an_oracle_that_gave_probabilities() -> None:
    saver = Kept(1)
    with pytest.raises(OutOfTimeError):
        list(slice_of(SMALL, saver, seed=0))

    def sure(images: Tensor) -> Tensor:  # one batch of a victim may be sure of everything
        return torch.eye(CLASSES)[victim(images).argmax(1)]

    assert len(list(slice_of(SMALL, Kept(0, saver.kept), seed=0, oracle=sure))) == 2


def test_optimisers_are_restored_in_the_layout_of_their_parameters(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.randn(2, 3, 5, 5)).sum().backward()
    optimiser.step()
    save_state(tmp_path / "sgd", {"sgd": optimiser.state_dict()})
    other = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    other.load_state_dict(load_state(tmp_path / "sgd")["sgd"])
    for parameter in network.parameters():
        found, wanted = (one.state[parameter]["momentum_buffer"] for one in (other, optimiser))
        assert torch.equal(found, wanted)
        assert found.stride() == wanted.stride() == parameter.stride()
