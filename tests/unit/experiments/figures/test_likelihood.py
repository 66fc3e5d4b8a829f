"""Likelihood curves, against the definition."""

import numpy as np
import pytest

from redhanded.detectors import LikelihoodDetector
from redhanded.experiments.figures.likelihood import likelihood_curves, running_means
from redhanded.types import FeatureArray, ImageArray


class Mean:
    digest = "mean"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.mean((1, 2, 3))[:, None]


LIKELIHOOD = np.random.default_rng(0).normal(-1, 0.3, (300, 1)).astype(np.float32)


def test_running_means_are_the_detectors() -> None:
    mean, spread = running_means(LIKELIHOOD)
    so_far: list[float] = []
    for t in range(1, 301):
        so_far.append(float(LIKELIHOOD[:t].mean(dtype=np.float64)))
        assert mean[t - 1] == pytest.approx(so_far[-1])
        assert spread[t - 1] == pytest.approx(np.std(so_far), abs=1e-9)
    detector = LikelihoodDetector(Mean(), -1.01, -np.inf)
    scores = detector.update(detector.new_memory(), LIKELIHOOD).scores[49:]
    np.testing.assert_allclose(scores, (mean + 1.01)[49:] / spread[49:], rtol=1e-6)


def test_a_line_a_stream_with_its_band_and_the_threshold() -> None:
    detector = LikelihoodDetector(Mean(), -1.0, -0.4)
    figure = likelihood_curves({"honest": LIKELIHOOD, "thief": LIKELIHOOD[:80] - 0.2}, detector)
    (axes,) = figure.axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["honest", "thief", "threshold (alpha)"]
    queries, values = axes.lines[1].get_data()
    assert (queries[0], queries[-1]) == (50, 80)  # from the warm-up on
    assert values[-1] == pytest.approx(LIKELIHOOD[:80].mean(dtype=np.float64) - 0.2, abs=1e-6)
    assert len(axes.collections) == 2
    cut = likelihood_curves({"honest": LIKELIHOOD}, detector, first=100)
    assert cut.axes[0].lines[0].get_xdata()[-1] == 100
