"""`redhanded data fetch` says how far it is."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from redhanded.commands import data
from redhanded.lab.data.fetch import Progress


@pytest.mark.parametrize(
    ("what", "shown"), [("downloading a.tar", "1.5 kB of 3.0 kB"), ("converting a", "1,500 of 3,000")]
)
@pytest.mark.parametrize("terminal", [True, False])
def test_a_fetch_draws_a_bar_where_one_can_be_drawn(
    what: str, shown: str, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, source: Path | None, progress: Progress) -> list[Path]:
        assert (name, source) == ("cifar10", None)
        progress("earlier", 0, None)
        progress(what, 1500, 3000)
        return [Path("cifar10/train.npz")]

    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=100)
    monkeypatch.setattr(data, "fetch", fetch)
    monkeypatch.setattr("redhanded.commands.options.stderr", lambda: console)
    data.fetch_set("cifar10")
    assert (f"{what} " in written.getvalue() and shown in written.getvalue()) == terminal
    assert written.getvalue().endswith("Packed cifar10/train.npz\n")
    assert terminal or written.getvalue() == "Packed cifar10/train.npz\n"
