"""Detectors in the loop against replays of the whole stream, and what is kept of them between slices."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from redhanded.detectors import BlacklightDetector, PradaDetector, SimilarityDetector
from redhanded.errors import OutOfTimeError
from redhanded.experiments.measure.characterise import Characteriser
from redhanded.experiments.measure.live import Bench, SaveFile
from redhanded.experiments.measure.replay import replay
from redhanded.experiments.measure.steal import Tally
from redhanded.lab.adaptive.filtering import Filtering, QueryFilter
from redhanded.lab.training import Checkpoint
from redhanded.lab.types import Round


class Pixels:
    digest = "pixels"

    def __call__(self, images):
        return images.reshape(len(images), -1)


RNG = np.random.default_rng(0)
POOL = RNG.uniform(0, 1, (9, 1, 4, 4))
# repeats of nine images, some exact: flags, and bans in the midst of rounds
IMAGES = (POOL[RNG.integers(9, size=300)] * 0.9 + RNG.choice([0, 0.04], (300, 1, 1, 1))).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[RNG.integers(3, size=300)]
CUTS = [0, 1, 1, 40, 47, 120, 200, 211, 300]
DETECTORS = {
    "queries": SimilarityDetector(Pixels(), 0.05, flags_to_ban=7),
    "pairs": SimilarityDetector(Pixels(), 0.05, "pairs", flags_to_ban=7),
    "answers": PradaDetector(0.99, (1, 4, 4), every=1, least_per_class=2, least=2),
    "all accounts": BlacklightDetector(0.5, (1, 4, 4), window=3, hashes=6),
}


def rounds():
    for at, stop in pairwise(CUTS):
        images, unknown = torch.from_numpy(IMAGES[at:stop]), torch.full((stop - at,), -1)
        labels = torch.from_numpy(LABELS[at:stop])
        yield Round(1 - images, images, labels, unknown, unknown, "student", nn.Flatten())


def kept(path, memories, **settings):
    watch = Characteriser(None, 300)
    return SaveFile(Checkpoint(path, **settings), Tally(), watch, memories)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("stop", [None, 0, 3, 5, 7])
def test_a_bench_is_a_replay(name, stop, tmp_path):
    """However the stream is cut into rounds, and wherever the process is left for another."""
    detector = DETECTORS[name]
    bench = Bench(detector)
    for number, part in enumerate(rounds()):
        bench(part)
        if number == stop:
            kept(tmp_path / "x.safetensors", {"it": bench}, every=0.0).offer(dict)
            bench = Bench(detector)
            kept(tmp_path / "x.safetensors", {"it": bench}).restore()
    wanted, found = replay(detector, IMAGES, LABELS), bench.found()
    assert (found["flags"], found["bans"]) == (wanted.flags, len(wanted.bans))
    assert found["accounts_used"] == wanted.accounts_used
    assert found["flag_rate"] == (wanted.counts > 0).mean()
    assert bench.queries == 300
    assert found["bans"] > 5


def test_an_account_that_was_closed_by_the_last_query_is_not_followed_by_another():
    bench = Bench(SimilarityDetector(Pixels(), 0.05, flags_to_ban=1))
    images, unknown = torch.full((2, 1, 4, 4), 0.5), torch.full((2,), -1)
    part = Round(images, images, torch.ones(2, 3), unknown, unknown, "student", nn.Flatten())
    assert bench.found()["accounts_used"] == 0
    bench(part)
    assert (bench.found()["bans"], bench.found()["accounts_used"]) == (1, 1)
    bench(part)
    assert (bench.found()["bans"], bench.found()["accounts_used"]) == (2, 2)


@pytest.mark.parametrize("capacity", [None, 20])
def test_a_filter_goes_on_with_what_it_remembers(capacity, tmp_path):
    def thief():
        substitute = SimilarityDetector(Pixels(), 0.05, flags_to_ban=1)
        return QueryFilter(substitute, Filtering(capacity=capacity))

    images = torch.tensor(IMAGES)
    images[150:] = images[150:] * 0.5 + images[:150] * 0.5  # new ones among the repeats
    whole = thief()
    wanted = [whole(images[at : at + 30], "student").keep for at in range(0, 300, 30)]
    adapt, found = thief(), []
    for at in range(0, 300, 30):
        found.append(adapt(images[at : at + 30], "student").keep)
        kept(tmp_path / "x.safetensors", {"filter": adapt}, every=0.0).offer(dict)
        adapt = thief()
        kept(tmp_path / "x.safetensors", {"filter": adapt}).restore()
    assert torch.equal(torch.cat(found), torch.cat(wanted))
    assert (adapt.held, adapt.passed, adapt.dropped) == (whole.held, whole.passed, whole.dropped)
    assert 20 < adapt.passed < 200


def test_all_of_it_is_saved_and_comes_back(tmp_path):
    path = tmp_path / "x.safetensors"
    first = kept(path, {}, deadline=-np.inf)
    first.tally.queries, first.tally.round_scores = 40, [0.1 + 0.2]
    first.watch(next(part for part in rounds() if len(part.sent) > 9))
    state = {"weights": torch.randn(2, 3), "steps": torch.tensor(7), "none": torch.empty(0, 4)}
    with pytest.raises(OutOfTimeError, match=r"^time limit: [^\n]+; run again to go on$"):
        first.offer(lambda: state)
    again = kept(path, {})
    assert again.load() == {}
    again.restore()
    assert again.tally == first.tally
    assert again.watch.traits() == first.watch.traits()
    assert again.load().keys() == state.keys()
    for name, value in again.load().items():
        assert torch.equal(value, state[name])
        assert value.shape == state[name].shape
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_nothing_is_saved_before_it_is_time(tmp_path):
    early = kept(tmp_path / "x.safetensors", {}, every=np.inf, deadline=np.inf)
    early.offer(lambda: pytest.fail("asked for the state"))
    early.restore()
    assert early.load() == {}
    assert not list(tmp_path.iterdir())


def test_a_kill_while_saving_leaves_what_was_saved_before(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    once = kept(path, {}, every=0.0)
    once.offer(lambda: {"n": torch.tensor(1)})

    def torn(partial, content):
        with partial.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_bytes", torn)
    with pytest.raises(KeyboardInterrupt):
        once.offer(lambda: {"n": torch.tensor(2)})
    again = kept(path, {})
    again.restore()
    assert again.load()["n"] == 1
