"""HODA's histograms, against numbers worked out by hand and by NumPy."""

import numpy as np
import pytest

from redhanded.detectors.hoda import HodaDetector, correlation, hardness_histogram
from redhanded.detectors.outliers import OutlierDetector
from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray


class First:
    """Gives the first `columns` pixels, ten times."""

    digest = "first"

    def __init__(self, columns: int = 1) -> None:
        self.columns = columns

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images[:, 0, 0, : self.columns] * 10


BENIGN = np.array([0.5, 0.3, 0.2])


def test_a_window_is_judged_by_its_correlation_and_the_next_begins_empty() -> None:
    detector = HodaDetector(First(), BENIGN, -0.5, window=4)
    hardness = np.array([[0], [0], [1], [2], [2], [2], [2], [1], [0]], np.float32)
    memory = detector.new_memory()
    verdict = detector.update(memory, hardness)
    assert verdict.scores[[0, 1, 2, 4, 5, 6]].tolist() == [np.inf] * 6
    # 2, 1, 1 of the first window, 0, 1, 3 of the second
    assert verdict.scores[3] == pytest.approx(np.corrcoef([2, 1, 1], BENIGN)[0, 1])
    assert verdict.scores[7] == pytest.approx(np.corrcoef([0, 1, 3], BENIGN)[0, 1])
    assert verdict.banned_at == 7
    assert verdict.judged == 8


def test_correlation_is_numpys_and_flat_histograms_have_none() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 9, 11), rng.random(11)
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(np.ones(5), np.arange(5)) == 0.0


def test_the_benign_histogram_is_a_share_of_each_degree() -> None:
    hardness = np.array([[0], [2], [2], [0], [0]], np.float32)
    assert hardness_histogram(hardness, 4).tolist() == [0.6, 0, 0.4, 0]


@pytest.mark.parametrize(
    ("benign", "window", "line"),
    [(np.ones(3), 5, "^benign: "), (np.ones(1), 5, "^benign: "), (BENIGN, 1, "^window: 1 must")],
)
def test_settings_that_could_never_judge_are_refused(benign: np.ndarray, window: int, line: str) -> None:
    with pytest.raises(RedhandedError, match=line + r"[^\n]+$"):
        HodaDetector(First(), benign, 0.0, window)


def test_an_encoder_of_another_histogram_is_refused() -> None:
    images = np.full((2, 1, 2, 2), 0.7, np.float32)
    with pytest.raises(RedhandedError, match=r"^encoder: it must give one hardness from 0 to 2[^\n]+$"):
        HodaDetector(First(), BENIGN, 0.0).features(images)
    with pytest.raises(RedhandedError, match=r"^encoder: it gives 2 features[^\n]+$"):
        OutlierDetector(First(2), 0.0).features(images)


def test_outliers_are_flagged_below_the_threshold_and_banned_at_the_quota() -> None:
    detector = OutlierDetector(First(), 3.0, flags_to_ban=2)
    verdict = detector.update(
        detector.new_memory(), np.array([[3.0], [2.9], [4.0], [1.0], [0.0]], np.float32)
    )
    assert verdict.counts.tolist() == [0, 1, 0, 1]
    assert verdict.banned_at == 3
    with pytest.raises(RedhandedError, match=r"^threshold: it is not a number"):
        OutlierDetector(First(), np.nan)
    with pytest.raises(RedhandedError, match=r"^flags_to_ban: 0 must"):
        OutlierDetector(First(), 0.0, 0)
