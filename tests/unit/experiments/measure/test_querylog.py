"""A log written as its rounds come is the log of all of them."""

import numpy as np
import pytest
import torch
from torch import nn

from redhanded.errors import RedhandedError
from redhanded.experiments.measure.querylog import LogWriter, QueryLog
from redhanded.lab.types import Round

FIELDS = ("images", "outputs", "parents", "targets", "kinds", "rounds")


def part(n, kind="student", classes=3, layout=torch.contiguous_format):
    generator = torch.Generator().manual_seed(n)
    images = torch.rand(n, 3, 4, 4, generator=generator).contiguous(memory_format=layout)
    labels = torch.rand(n, classes, generator=generator)
    numbers = torch.randint(-1, 9, (2, n), generator=generator)
    return Round(images, images / 2, labels, numbers[0], numbers[1], kind, nn.Identity())


def save(log, folder):
    folder.mkdir(exist_ok=True)
    for name in FIELDS:
        np.save(folder / f"{name}.npy", getattr(log, name), allow_pickle=False)


STREAMS = {
    "one": [part(4, "seed")],
    "many": [part(n, kind) for n, kind in [(12, "seed"), (1, "augmented"), (0, "student"), (7, "gradient")]],
    "nothing first": [part(0, "seed"), part(3), part(0, "gradient"), part(2, "pool")],
    "nothing": [part(0, "seed", classes=0)],
    "layout": [part(5, layout=torch.channels_last), part(5)],
}


@pytest.mark.parametrize("stream", STREAMS)
def test_the_files_are_those_of_a_whole_log(stream, tmp_path):
    rounds = STREAMS[stream]
    save(QueryLog.of(rounds), tmp_path / "whole")
    with LogWriter(tmp_path / "written") as log:
        for one in rounds:
            log(one)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(f"{name}.npy" for name in FIELDS)
    assert names == sorted(path.name for path in (tmp_path / "written").iterdir())
    for name in names:
        whole, written = (np.load(tmp_path / kind / name) for kind in ("whole", "written"))
        assert np.array_equal(whole, written)
        assert whole.dtype == written.dtype
        if stream != "layout":
            assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "written" / name).read_bytes()


def test_shapes_come_from_the_first_round_with_queries(tmp_path):
    """An attack that sent nothing yet does not know the number of classes."""
    with LogWriter(tmp_path) as log:
        log(part(0, "seed", classes=0))
        log(part(3))
    found = QueryLog.load(tmp_path)
    assert found.outputs.shape == (3, 3)
    assert found.rounds.tolist() == [1] * 3


def test_an_unfinished_log_is_none(tmp_path):
    def broken():
        with LogWriter(tmp_path) as log:
            log(part(3))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert not tmp_path.exists()  # nothing of it remains
    with pytest.raises(RedhandedError, match=r"^log: [^\n]+; run the attack again$"):
        QueryLog.load(tmp_path)
    with LogWriter(tmp_path) as log:  # starts again, shorter
        log(part(2))
    assert np.array_equal(QueryLog.load(tmp_path).images, part(2).sent.numpy())


def test_the_old_log_stays_until_the_new_one_is_whole(tmp_path):
    save(QueryLog.of([part(4)]), tmp_path)
    with LogWriter(tmp_path) as log:
        log(part(2))
        assert len(QueryLog.load(tmp_path)) == 4
    assert len(QueryLog.load(tmp_path)) == 2


def test_what_was_written_is_let_go(tmp_path):
    """On disk already while the attack runs, up to a buffer."""
    with LogWriter(tmp_path) as log:
        for _ in range(500):
            log(part(10))
        written = sum(path.stat().st_size for path in tmp_path.iterdir())
        assert written > 0.9 * 5_000 * 3 * 16 * 4
        assert not any(isinstance(value, list) for value in vars(log).values())
