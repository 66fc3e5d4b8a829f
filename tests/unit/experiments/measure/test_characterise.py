"""What queries look like, against numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from redhanded.experiments.measure.characterise import (
    BINS,
    Characteriser,
    crossed,
    distortion,
    feature_diversity,
    histogram,
)
from redhanded.lab.models import CIFAR10_STD
from redhanded.lab.types import Round

CLASSES = 3


class Brightness(nn.Module):
    """Predicts by the first pixel's thirds, confident by `sharpness`."""

    def __init__(self, sharpness: float = 40.0, shift: float = 0.0) -> None:
        super().__init__()
        self.sharpness, self.shift = sharpness, shift

    def forward(self, images: Tensor) -> Tensor:
        place = (images[:, 0, 0, 0] + self.shift)[:, None]
        centres = torch.tensor([1 / 6, 1 / 2, 5 / 6])
        return -self.sharpness * (place - centres).abs()


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).clone()


def part(kind, crafted, labels, parents, targets, surrogate, failures=0):
    return Round(
        crafted,
        crafted.clamp(0, 1),
        torch.eye(CLASSES)[torch.tensor(labels, dtype=torch.int64)],
        torch.tensor(parents, dtype=torch.int64),
        torch.tensor(targets, dtype=torch.int64),
        kind,
        surrogate,
        failures,
    )


def test_crossed_samples_are_traced_to_their_parents():
    """Four queries of two seeds: the surrogate is crossed by three, the victim by two, both by one."""
    crafter, later = Brightness(), Brightness(shift=0.5)
    watch = Characteriser(Brightness(sharpness=1.0), 100)
    watch(part("seed", grey(0.1, 0.5), [0, 1], [-1, -1], [-1, -1], crafter))
    # labels are the oracle's, whatever the images: 0 -> 0, 0 -> 2, 1 -> 1, 1 -> 2
    watch(
        part(
            "augmented",
            grey(0.5, 0.9, 0.9, 0.52),
            [0, 2, 1, 2],
            [0, 0, 1, 1],
            [1, 1, 2, 0],
            later,
            failures=3,
        )
    )
    traits = watch.traits()
    assert traits["traits_queries"] == [6]
    assert traits["traits_crossed_surrogate"] == [0.75]
    assert traits["traits_crossed_victim"] == [0.5]
    assert traits["traits_crossed_both"] == [0.25]
    assert traits["traits_reached_surrogate"] == [0.5]  # 0.5 is class 1, 0.9 is class 2
    assert traits["traits_reached_victim"] == [0.0]
    assert traits["failures"] == 3
    # the clone (shifted by 0.5) says 1, 2, 2, 2, 2, 2 to a transfer set labelled 0, 1, 0, 2, 1, 2
    assert traits["transfer_accuracy"] == pytest.approx(2 / 6)


def test_parents_may_lie_in_any_earlier_round():
    """Places count through all rounds."""
    model = Brightness()
    watch = Characteriser(None, 100)
    watch(part("seed", grey(0.1, 0.5), [0, 1], [-1, -1], [-1, -1], model))
    watch(part("augmented", grey(0.12), [0], [0], [1], model, failures=2))
    watch(part("augmented", grey(0.9, 0.13), [2, 0], [1, 2], [-1, -1], model, failures=1))
    traits = watch.traits()
    assert traits["traits_crossed_surrogate"] == [0.0, 0.5]
    assert traits["traits_crossed_victim"] == [0.0, 0.5]
    assert traits["traits_reached_surrogate"] == [0.0, None]
    assert traits["traits_confidence_victim"] == [None, None]
    assert traits["failures"] == 3
    assert traits["traits_l2"] == pytest.approx([0.02 * 48**0.5, (0.4 + 0.01) / 2 * 48**0.5], rel=1e-4)


def test_a_round_without_queries_is_passed_over():
    """An adaptation may keep nothing."""
    watch = Characteriser(None, 100)
    watch(part("seed", grey(0.1), [0], [-1], [-1], Brightness()))
    watch(part("augmented", grey(0.1)[:0], [], [], [], Brightness()))
    assert "traits_queries" not in watch.traits()


def test_data_free_queries_are_looked_at_ten_times():
    """A thousand rounds leave a handful of histograms."""
    watch = Characteriser(Brightness(), 1000)
    for _ in range(250):
        watch(part("gradient", grey(0.1, 0.1), [0, 0], [-1, 0], [-1, -1], Brightness()))
        watch(part("student", grey(0.1, 0.5), [0, 1], [-1, -1], [-1, -1], Brightness()))
    traits = watch.traits()
    assert 10 <= len(traits["traits_queries"]) <= 11
    assert traits["traits_queries"][-1] == 1000
    assert all(sum(counts) == 2 for counts in traits["traits_confidence_surrogate"])


def test_distortion_in_pixels_and_in_deviations():
    """One pixel of one channel."""
    source = torch.full((2, 3, 2, 2), 0.5)
    crafted = source.clone()
    crafted[0, 1, 0, 0] -= 0.25
    found = distortion(source, crafted)
    assert found["l2"] == pytest.approx(0.125)
    assert found["linf"] == pytest.approx(0.25)
    assert found["l2_standardised"] == pytest.approx(0.125 / CIFAR10_STD[1])
    assert found["linf_standardised"] == pytest.approx(0.25 / CIFAR10_STD[1])


def test_histogram_counts_everything_once():
    """Certainty falls into the last bin."""
    counts = histogram(torch.tensor([0.0, 0.049, 0.05, 0.999, 1.0, 1.0 + 1e-7]))
    assert len(counts) == BINS
    assert counts[0] == 2
    assert counts[1] == 1
    assert counts[-1] == 3
    assert crossed(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 1])) == pytest.approx(2 / 3)


def test_diversity_counts_the_directions_that_a_stream_fills():
    cross = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
    assert feature_diversity(cross) == pytest.approx({"query_effective_rank": 2.0, "query_spread": 1.0})
    line = np.outer(np.arange(5), [3.0, 4.0, 0.0]).astype(np.float32)
    assert feature_diversity(line) == pytest.approx(
        {"query_effective_rank": 1.0, "query_spread": 5 * np.sqrt(2)}
    )
