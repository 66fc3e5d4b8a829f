"""Ban, then a new account."""

import numpy as np
import pytest

from redhanded.detectors import BlacklightDetector, SimilarityDetector
from redhanded.detectors.accounts import Accounts, benign_floor
from redhanded.types import FeatureArray, ImageArray


class Pixels:
    digest = "pixels"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.reshape(len(images), -1)


DETECTOR = SimilarityDetector(Pixels(), 0.01, flags_to_ban=3)


def rows(codes: list[int]) -> FeatureArray:
    return np.array(codes, np.float32)[:, None]


@pytest.mark.parametrize("sizes", [[20], [1] * 20, [7, 0, 13]])
def test_each_ban_opens_an_account_that_remembers_nothing(sizes: list[int]) -> None:
    stream = rows([1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 2, 3, 4, 5, 1, 6, 7, 8, 9, 9])
    accounts, counts, bans, at = Accounts(DETECTOR), [], [], 0
    for size in sizes:
        for verdict in accounts.judge(stream[at : at + size]):
            if verdict.banned_at is not None:
                bans.append(len(counts) + verdict.banned_at)
            counts += verdict.counts.tolist()
        at += size
    assert bans == [3, 7, 19]
    assert counts == [0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_it_goes_on_from_a_dump() -> None:
    one, other = Accounts(DETECTOR), Accounts(DETECTOR)
    list(one.judge(rows([1, 2, 1])))
    other.restore(one.dump())
    (verdict,) = other.judge(rows([2, 1]))
    assert (verdict.flags, verdict.banned_at) == (2, 1)


def test_a_memory_of_all_accounts_outlives_their_bans() -> None:
    detector = BlacklightDetector(0.5, (1, 8, 8), window=5, hashes=20)
    images = np.random.default_rng(0).random((6, 1, 8, 8), dtype=np.float32)
    images[[2, 4, 5]] = images[0]
    verdicts = list(Accounts(detector).judge(detector.features(images)))
    assert np.concatenate([verdict.counts for verdict in verdicts]).tolist() == [0, 0, 1, 0, 1, 1]


def test_the_floor_is_of_fresh_accounts_as_long_as_the_theft() -> None:
    """Pieces of four: the repeats inside a piece count, those across pieces do not."""
    stream = rows([1, 1, 2, 3, 1, 2, 4, 4, 5, 6, 7, 8, 1])
    found = benign_floor(DETECTOR, stream, None, 4)
    assert found["benign_floor"] == pytest.approx(2 / 12 * 4 / 3)
    assert not found["benign_floor_extrapolated"]


def test_the_floor_of_more_queries_than_there_are_is_scaled_up() -> None:
    found = benign_floor(DETECTOR, rows([1, 1, 2, 3]), None, 40)
    assert found["benign_floor"] == pytest.approx(10 / 3)
    assert found["benign_floor_extrapolated"]
    assert benign_floor(DETECTOR, rows([1, 1, 2, 3]), None, 0)["benign_floor"] == 0
