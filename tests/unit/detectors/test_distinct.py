"""De-duplication, against all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.distinct import deduplicate
from redhanded.errors import RedhandedError


def literal(images: np.ndarray, radius: float) -> list[bool]:
    kept: list[int] = []
    flat = images.reshape(len(images), -1) / 255
    out = []
    for place, row in enumerate(flat):
        near = [np.sqrt(np.square(row - flat[other]).sum()) < radius for other in kept]
        out.append(not any(near))
        if out[-1]:
            kept.append(place)
    return out


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60), radius=st.floats(0.1, 3))
def test_it_keeps_the_first_of_what_is_near(seed: int, count: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (6, 8, 8, 3))
    noise = rng.integers(-30, 31, (count, 8, 8, 3)) * rng.integers(0, 2, (count, 1, 1, 1))
    images = np.clip(centres[rng.integers(0, 6, count)] + noise, 0, 255).astype(np.uint8)
    kept, report = deduplicate(images, radius)
    assert kept.tolist() == literal(images, radius)
    assert report.images == count == report.kept + report.equal + report.near
    assert report.kept == kept.sum()
    assert report.equal == count - len(np.unique(images.reshape(count, -1), axis=0))


def test_bad_streams_are_refused() -> None:
    with pytest.raises(RedhandedError, match=r"^images: there are none"):
        deduplicate(np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(RedhandedError, match=r"^images: sides of 9x8 are no multiples of 4"):
        deduplicate(np.zeros((2, 9, 8, 3), np.uint8))


def test_constant_images_are_one() -> None:
    kept, report = deduplicate(np.full((5, 8, 8, 3), 9, np.uint8))
    assert kept.tolist() == [True, False, False, False, False]
    assert (report.equal, report.near) == (4, 0)
