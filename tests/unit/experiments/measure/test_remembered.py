"""Features are asked for once, and stay the detector's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors import SimilarityDetector
from redhanded.experiments.measure.remembered import Remembered
from redhanded.types import FeatureArray, ImageArray

IMAGES = np.random.default_rng(0).random((9, 3, 4, 4), dtype=np.float32)


class Counting:
    digest = "counting"

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: ImageArray) -> FeatureArray:
        self.asked += len(images)
        return images.reshape(len(images), 48)[:, :3]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 8), max_size=7), max_size=6))
def test_each_image_is_embedded_once(batches: list[list[int]]) -> None:
    encoder = Counting()
    detector = SimilarityDetector(encoder, 0.5)
    judge = Remembered(detector)
    for batch in batches:
        once = IMAGES[sorted(set(batch))]
        images = np.concatenate([once, IMAGES[batch]]) if batch else IMAGES[:0]
        np.testing.assert_array_equal(judge.features(images), images.reshape(len(images), 48)[:, :3])
    seen = {code for batch in batches for code in batch}
    # equal images of one batch are embedded together
    assert len(seen) <= encoder.asked <= sum(2 * len(batch) for batch in batches)
    before = encoder.asked
    if seen:
        judge.features(IMAGES[sorted(seen)])
    assert encoder.asked == before
