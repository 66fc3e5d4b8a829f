"""Answers that were paid for are never paid for again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from redhanded.errors import RedhandedError
from redhanded.lab.attacks import jb_top3
from redhanded.lab.models import ConvNet, build
from redhanded.lab.oracles import recorded
from redhanded.lab.oracles.recorded import Recorded
from redhanded.lab.training import Training

BRIEF = Training(epochs=1, batch=16)
NET = ConvNet(((4,), (6,)))


class Failing:
    """A victim that breaks off after so many images."""

    def __init__(self, lasts: int) -> None:
        self.lasts, self.asked = lasts, 0

    def __call__(self, images: Tensor) -> Tensor:
        if self.asked + len(images) > self.lasts:
            raise RedhandedError("oracle: quota used up")
        self.asked += len(images)
        return torch.eye(3)[(images.mean((1, 2, 3)) * 997).long() % 3]


def steal(oracle: Recorded) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    seeds = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    attack = jb_top3(60, round_training=BRIEF, final_training=BRIEF)
    rounds = attack.run(oracle, seeds, new_surrogate=lambda: build(NET, 3, generator), generator=generator)
    return [part.sent for part in rounds]


def test_an_attack_that_breaks_off_goes_on_from_its_answers(tmp_path: Path) -> None:
    """Nothing is asked twice, and the queries are those of an attack that never broke off."""
    path, first, second = tmp_path / "deep/answers.npz", Failing(33), Failing(1000)
    broken = Recorded(first, path, chunk=4)
    with pytest.raises(RedhandedError, match="quota"):
        steal(broken)
    broken.save()
    again = Recorded(second, path, chunk=4)
    resumed = torch.cat(steal(again))
    assert again.reused == first.asked == 30
    assert first.asked + second.asked == 60
    assert torch.equal(resumed, torch.cat(steal(Recorded(Failing(1000), tmp_path / "other.npz"))))


def test_another_attack_does_not_take_the_answers_for_its_own(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    one = Recorded(Failing(10), path)
    one(torch.zeros(2, 3, 4, 4))
    one.save()
    with pytest.raises(RedhandedError, match=r"^out: [^\n]*another attack[^\n]*$"):
        Recorded(Failing(10), path)(torch.ones(2, 3, 4, 4))


def test_a_damaged_file_is_named_and_nothing_told_leaves_none(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    Recorded(Failing(10), path).save()
    assert not path.exists()
    path.write_bytes(b"nothing")
    with pytest.raises(RedhandedError, match="damaged"):
        Recorded(Failing(10), path)


def test_it_saves_as_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "EVERY", 0.0)
    oracle = Recorded(Failing(10), tmp_path / "answers.npz", chunk=2)
    oracle(torch.rand(6, 3, 4, 4))
    with np.load(tmp_path / "answers.npz") as stored:
        assert len(stored["outputs"]) == len(stored["images"]) == 6


def test_a_save_that_fails_leaves_the_old_answers_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.npz"
    oracle = Recorded(Failing(10), path)
    oracle(torch.zeros(2, 3, 4, 4))
    oracle.save()
    before = path.read_bytes()

    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        oracle.save()
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["answers.npz"]
