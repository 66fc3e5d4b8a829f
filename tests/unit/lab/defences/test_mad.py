"""MAD's gradients against autograd, its vertices against brute force."""

from itertools import product
from typing import Literal

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from redhanded.errors import RedhandedError
from redhanded.lab.defences import mad
from redhanded.lab.defences.mad import Mad
from redhanded.lab.models import seeded

N = 7
IMAGES = torch.rand(N, 3, 2, 2, generator=torch.Generator().manual_seed(3))


def proxy(classes: int, seed: int = 0) -> nn.Module:
    with seeded(torch.Generator().manual_seed(seed)):
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, classes)).eval()


def answers(classes: int, seed: int = 1, sharpness: float = 2.0) -> Tensor:
    noise = torch.randn(N, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (sharpness * noise).softmax(1)


def gradients(model: nn.Module, image: Tensor) -> Tensor:
    """The released code's G: one row a class, by autograd."""
    weight = [*model.parameters()][-2]
    losses = -model(image[None]).log_softmax(1)[0]
    rows = [torch.autograd.grad(loss, weight, retain_graph=True)[0].flatten() for loss in losses]
    return torch.stack(rows).double()


def objective(G: Tensor, candidate: Tensor, y: Tensor, objmax: bool) -> float:
    u, v = G.T @ candidate, G.T @ y
    if objmax:
        u, v = u / u.norm(), v / v.norm()
    return float((u - v).norm() ** 2)


def vertices(classes: int, top: int, kind: str) -> list[Tensor]:
    if kind == "extreme":
        return list(torch.eye(classes, dtype=torch.float64))
    sets = [torch.tensor(bits, dtype=torch.float64) for bits in product([0, 1], repeat=classes) if bits[top]]
    for members in sets:
        members[top] += 1e-5
    return [members / members.sum() for members in sets]


@pytest.mark.parametrize("objmax", [False, True])
@pytest.mark.parametrize("kind", ["extreme", "argmax"])
@pytest.mark.parametrize("classes", [3, 4, 10])
def test_the_vertex_is_the_best_of_all_by_autograd(
    classes: int, kind: Literal["extreme", "argmax"], objmax: bool
) -> None:
    model, rows = proxy(classes), answers(classes)
    served = Mad(lambda _: rows, model, epsilon=2.0, vertices=kind, objmax=objmax)(IMAGES)
    chosen = set()
    for image, y, target in zip(IMAGES, rows, served, strict=True):
        G = gradients(model, image)
        every = vertices(classes, int(y.argmax()), kind)
        best = max(every, key=lambda candidate: objective(G, candidate, y, objmax))
        torch.testing.assert_close(target, best, atol=1e-6, rtol=0)
        chosen.add(tuple(target.round(decimals=3).tolist()))
    assert len(chosen) > 1


@pytest.mark.parametrize("objmax", [False, True])
def test_closed_form_gain_is_the_gradients(objmax: bool) -> None:
    model, rows = proxy(5), answers(5)
    candidate = torch.eye(5, dtype=torch.float64)[2]
    for image, y in zip(IMAGES, rows, strict=True):
        with torch.no_grad():
            hidden = model[:-1](image[None]).double().norm() ** 2
            believed = model(image[None]).double().softmax(1)[0]
        closed = mad.gain(candidate, y, believed, objmax=objmax)
        wanted = objective(gradients(model, image), candidate, y, objmax)
        assert float(closed * (1 if objmax else hidden)) == pytest.approx(wanted, rel=1e-4)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(2, 14),
    st.sampled_from([0.0, 0.05, 0.5, 1.0, 2.0]),
    st.sampled_from(["extreme", "argmax"]),
    st.booleans(),
    st.sampled_from([0.1, 2.0, 60.0]),
)
def test_the_change_is_bounded_and_argmax_is_kept(
    seed: int,
    classes: int,
    epsilon: float,
    kind: Literal["extreme", "argmax"],
    objmax: bool,
    sharpness: float,
) -> None:
    rows = answers(classes, seed, sharpness).float()
    served = Mad(lambda _: rows, proxy(classes), epsilon, kind, objmax)(IMAGES)
    assert served.dtype == torch.float32
    assert (served >= 0).all()
    torch.testing.assert_close(served.sum(1), torch.ones(N))
    assert ((served - rows).abs().sum(1) <= epsilon + 1e-6).all()
    if kind == "argmax":
        assert torch.equal(served.argmax(1), rows.argmax(1))


def test_extreme_moves_by_epsilon_and_can_change_the_argmax() -> None:
    rows = torch.tensor([[0.55, 0.43, 0.02], [0.9, 0.09, 0.01]], dtype=torch.float64)
    served = Mad(lambda _: rows, proxy(3), 0.5)(IMAGES[:2])
    # the least likely class is the farthest vertex, at L1 distances 1.96 and 1.98
    a = 0.5 / torch.tensor([[1.96], [1.98]], dtype=torch.float64)
    wanted = (1 - a) * rows + a * torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(served, wanted, atol=1e-6, rtol=0)
    flipped = Mad(lambda _: rows, proxy(3), 1.5)(IMAGES[:2])
    assert flipped.argmax(1).tolist() == [2, 2]


def test_a_greedy_search_finds_the_farthest_vertex(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without objmax the best set of each size contains the best smaller one, so greed loses nothing."""
    rows = answers(8)
    every = Mad(lambda _: rows, proxy(8), 2.0, "argmax")(IMAGES)
    monkeypatch.setattr(mad, "EXHAUSTIVE", 2)
    torch.testing.assert_close(Mad(lambda _: rows, proxy(8), 2.0, "argmax")(IMAGES), every)


@pytest.mark.parametrize("objmax", [False, True])
@pytest.mark.parametrize("sharpness", [0.1, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("evaluations", [1, 11, 12, 1024])
def test_a_greedy_search_against_a_loop(evaluations: int, sharpness: float, objmax: bool) -> None:
    classes, model = 12, proxy(12)
    rows = answers(classes, sharpness=sharpness)
    served = Mad(lambda _: rows, model, 2.0, "argmax", objmax=objmax, evaluations=evaluations)(IMAGES)
    for image, y, target in zip(IMAGES, rows, served, strict=True):
        G, top = gradients(model, image), int(y.argmax())
        members, tried = [top], 0
        best = (objective(G, _equal(members, top, classes), y, objmax), _equal(members, top, classes))
        while tried < evaluations and len(members) < classes:
            options = [k for k in range(classes) if k not in members]
            scored = [(objective(G, _equal([*members, k], top, classes), y, objmax), k) for k in options]
            value, added = max(scored)
            members.append(added)
            best = max(best, (value, _equal(members, top, classes)), key=lambda pair: pair[0])
            tried += len(options)
        torch.testing.assert_close(target, best[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("gains", "best"), [([0, 5, 1, 3, 2], 2), ([0, 3, 1, 5, 2], 4), ([6, 3, 1, 5, 2], 1)]
)
def test_a_greedy_search_goes_through_a_dip_and_returns_the_best(gains: list[int], best: int) -> None:
    """What a set of 1, 2, ... 5 classes gains is given."""

    def gained(candidates: Tensor) -> Tensor:
        return torch.tensor(gains, dtype=torch.float64)[(candidates > 0).sum(-1) - 1]

    found = mad._greedily(gained, torch.tensor([3, 0]), 5, 1024)
    assert (found > 0).sum(1).tolist() == [best, best]
    assert found.argmax(1).tolist() == [3, 0]


def _equal(members: list[int], top: int, classes: int) -> Tensor:
    weights = torch.zeros(classes, dtype=torch.float64)
    weights[members] = 1.0
    weights[top] += 1e-5
    return weights / weights.sum()


@pytest.mark.parametrize("kind", ["extreme", "argmax"])
def test_batching_changes_nothing(
    kind: Literal["extreme", "argmax"], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = proxy(5)

    def oracle(images: Tensor) -> Tensor:
        return (5 * F.avg_pool2d(images, 2).flatten(1) @ torch.eye(3, 5)).softmax(1)

    defended = Mad(oracle, model, 0.5, kind, objmax=True)
    whole = defended(IMAGES)
    monkeypatch.setattr(mad, "CHUNK", 3)
    torch.testing.assert_close(defended(IMAGES), whole)
    torch.testing.assert_close(torch.cat([defended(image[None]) for image in IMAGES]), whole)


def test_settings_are_checked() -> None:
    with pytest.raises(RedhandedError, match=r"^proxy: [^\n]+nn.Linear$"):
        Mad(lambda _: IMAGES, nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.ReLU()))
    with pytest.raises(RedhandedError, match=r"^epsilon: -1.0 [^\n]+$"):
        Mad(lambda _: IMAGES, proxy(3), -1.0)
