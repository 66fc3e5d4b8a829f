"""The commit that a record names is redhanded's own."""

import subprocess
from pathlib import Path

import pytest

from redhanded.experiments.runner import provenance

INSIDE = Path("redhanded/experiments/runner/provenance.py")


@pytest.mark.parametrize(
    ("folder", "tracked", "known"),
    [("venv/site-packages", True, False), ("src", False, False), ("src", True, True)],
    ids=["installed in a foreign repository", "not tracked", "own checkout"],
)
def test_only_redhandeds_own_checkout_gives_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, *, tracked: bool, known: bool
) -> None:
    """A repository that merely contains the installation says nothing about redhanded's revision."""
    module = tmp_path / folder / INSIDE
    module.parent.mkdir(parents=True)
    module.write_text("")
    (tmp_path / "notes").write_text("")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    for command in (
        ("init", "-q"),
        ("add", "." if tracked else "notes"),
        (*author, "commit", "-qm", "first"),
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert (provenance.revision.__wrapped__() != "unknown") == known
