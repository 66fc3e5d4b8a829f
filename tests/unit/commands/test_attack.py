"""`redhanded attack`, in this process."""

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from redhanded.commands.attack import attack
from redhanded.errors import RedhandedError

TARGET = """
import numpy as np
def answer(images):
    return np.eye(3, dtype=np.float32)[images.mean(axis=(2, 3)).argmax(1)]
"""


@pytest.mark.parametrize(("most", "logged"), [(30, True), (29, False)])
def test_a_theft_too_long_to_log_leaves_clone_and_record_alone(
    most: int, logged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("redhanded.commands.attack.LOGGED", most)
    (tmp_path / f"target{most}.py").write_text(TARGET)
    (tmp_path / "seeds").mkdir()
    rng = np.random.default_rng(0)
    for place in range(30):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"seeds/{place:02}.png")
    app = typer.Typer()
    app.command()(attack)
    words = f"random --oracle target{most}:answer --images seeds --classes 3 --budget 30 --out theft"
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 0, done.output
    assert (tmp_path / "theft/log").is_dir() == logged
    # answers that were paid for are in the log, or stay where they were kept
    assert (tmp_path / "theft/answers.npz").is_file() != logged
    assert (tmp_path / "theft/clone.safetensors").is_file()
    assert (tmp_path / "theft/record.json").is_file()


@pytest.mark.parametrize("words", ["jb-top4", "../elsewhere", "random --budget 0", "random --order nowhere"])
def test_an_attack_that_is_refused_leaves_no_folder(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    app = typer.Typer()
    app.command()(attack)
    done = CliRunner().invoke(app, words.split())
    assert isinstance(done.exception, RedhandedError)
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]
