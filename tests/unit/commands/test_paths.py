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
