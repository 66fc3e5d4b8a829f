"""A path that the user named is theirs to mend; what else the system refuses is traced back."""

import re
from pathlib import Path

import pytest

from redhanded import cli, commands
from redhanded.commands import options
from redhanded.errors import RedhandedError


def test_only_a_path_that_was_named_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    for field in ("out", "records"):
        with pytest.raises(RedhandedError, match=re.escape(f"{field}: {taken} cannot be used (File exists)")):
            options.folder(field, taken)

    def broken(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", "something of our own")

    monkeypatch.setattr(commands, "register", broken)
    with pytest.raises(FileNotFoundError):
        cli.main()


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/demo")

    monkeypatch.setattr(commands, "register", full)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("redhanded: No space left on device: runs/demo; what was finished is kept")
    assert told.count("\n") == 1
