"""What the command tunes to: the quota, and the images that alpha is of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from redhanded.commands import calibrate as command
from redhanded.detectors import LikelihoodDetector
from redhanded.errors import RedhandedError
from redhanded.experiments.cells.datasets import Composed
from redhanded.experiments.cells.judges import Blacklight
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Store
from redhanded.experiments.worlds.demo import demo
from redhanded.types import FeatureArray, ImageArray


class Pixel:
    """Gives the first pixel."""

    digest = "pixel"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images[:, 0, 0, :1].copy()


def test_the_worlds_own_sets_lead_its_stream() -> None:
    world = demo()
    sets = (Composed("digits", "honest", 30), Composed("photos", "test", 20))
    for own_sets, own in ((1, 30), (2, 50), (None, None)):
        chosen = replace(world, judging=replace(world.judging, common=sets, own_sets=own_sets))
        stream = command._stream(chosen, None, None, 0, as_given=True)
        assert (len(stream.images), stream.own) == (50, own)


def test_alpha_is_of_the_victims_kind_and_the_quota_the_detectors(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 100, (400, 4, 4, 1)).astype(np.uint8)
    images[100:] += 100
    quota = 50
    bundled = LikelihoodDetector(Pixel(), 0.0, -np.inf, warmup=2, flags_to_ban=quota)
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"))
    for own in (100, None):
        stream = command._Stream(images, "benign", 0, own)
        tuned = command._tuned(stream, Blacklight(), bundled, context, 0.01, "queries", None)
        expected = (images[:own, 0, 0, 0] / 255).mean()
        assert tuned.detector.alpha == pytest.approx(expected, abs=1e-6)
        assert tuned.detector.flags_to_ban == tuned.calibration.flags_to_ban == quota
    other = command._tuned(stream, Blacklight(), bundled, context, 0.01, "queries", 49)
    assert other.detector.flags_to_ban == other.calibration.flags_to_ban == 49


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("--as-given", "as-given: "),
        ("--data cifar10 --compared", "compared: "),
        ("--data cifar10 --detector vae --count pairs", "count: "),
        ("--bundle bundle --count pairs", "count: "),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    words: str, field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load_bundle", lambda _: LikelihoodDetector(Pixel(), 0.0, -np.inf))
    app = typer.Typer()
    app.command()(command.calibrate)
    done = CliRunner().invoke(app, ["--out", "b", *words.split()])
    assert isinstance(done.exception, RedhandedError)
    assert str(done.exception).startswith(field)
    assert not list(tmp_path.iterdir())
