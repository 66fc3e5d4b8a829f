"""One stream, three ways: guarded while it happens, replayed from its log, and swept from its near pairs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.index import principal_axes
from redhanded.detectors.pairs import NearPairs, replay_pairs
from redhanded.experiments.measure.querylog import QueryLog
from redhanded.experiments.measure.replay import detection_of, replay
from redhanded.guard import Guard
from redhanded.lab.attacks import jb_top3
from redhanded.lab.models import ConvNet, build
from redhanded.lab.oracles.victim import HardLabels, as_numpy
from redhanded.lab.sybil import SybilClient
from redhanded.lab.training import Training

NET = ConvNet(((4,), (8,)))
BRIEF = Training(epochs=1, batch=32)


class _Pixels:
    """An encoder that averages 8x8 blocks."""

    digest = "pixels"

    def __call__(self, images):
        n = len(images)
        return images.reshape(n, 3, 4, 8, 4, 8).mean((3, 5)).reshape(n, 48).astype(np.float32)


@pytest.fixture(scope="module")
def theft():
    generator = torch.Generator().manual_seed(1)
    victim = HardLabels(build(NET, 10, generator))
    seeds = torch.rand(20, 3, 32, 32, generator=generator)
    attack = replace(jb_top3(200), round_training=BRIEF, final_training=BRIEF)

    def rounds(oracle):
        source = torch.Generator().manual_seed(2)
        return attack.run(oracle, seeds, new_surrogate=lambda: build(NET, 10, source), generator=source)

    return victim, rounds, QueryLog.of(rounds(victim))


@pytest.mark.parametrize("count", ["queries", "pairs"])
@pytest.mark.parametrize("mode", ["paper", "enforce"])
def test_guarded_and_replayed_streams_agree_query_for_query(theft, count, mode):
    """The thief learns the same labels, and every flag, neighbour and ban falls on the same query."""
    victim, rounds, log = theft
    detector = SimilarityDetector(_Pixels(), 0.15, count, flags_to_ban=20)
    judgements = []
    client = SybilClient(Guard(as_numpy(victim), detector, mode=mode), watch=judgements.append)
    lived = QueryLog.of(rounds(client))
    np.testing.assert_array_equal(lived.images, log.images)
    np.testing.assert_array_equal(lived.outputs, log.outputs)
    now, later = detection_of(client, judgements), replay(detector, log.images, log.outputs, mode)
    assert len(now.bans) > 1
    for name in ("counts", "nearest", "neighbours", "bans"):
        np.testing.assert_array_equal(getattr(now, name), getattr(later, name))
    assert now.accounts_used == later.accounts_used


def test_pairs_swept_at_any_threshold_equal_a_replay(theft):
    """Thresholds are re-swept without running the detector again."""
    *_, log = theft
    features = _Pixels()(log.images)
    pairs = NearPairs.of(features, 0.2)
    for delta in (0.03, 0.08, 0.15, 0.2):
        detector = SimilarityDetector(_Pixels(), delta, flags_to_ban=20, axes=principal_axes(features))
        swept, replayed = replay_pairs(pairs, delta, flags_to_ban=20), replay(detector, log.images)
        np.testing.assert_array_equal(swept.counts, replayed.counts)
        np.testing.assert_array_equal(swept.bans, replayed.bans)
