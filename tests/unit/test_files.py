"""Files that a later start trusts."""

import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from redhanded.files import whole


def test_after_an_error_the_file_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")
    with suppress(RuntimeError), whole(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["kept.txt"]
    with whole(path) as partial:
        partial.write_text("new")
    assert path.read_text() == "new"


def test_a_kill_in_the_middle_leaves_no_broken_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from redhanded.files import whole\n"
        "with whole(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert done.returncode < 0
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_everybody_who_may_read_new_files_may_read_these(tmp_path: Path) -> None:
    """Safetensors' own writer keeps its files to their owner."""
    (tmp_path / "usual").write_text("")
    with whole(tmp_path / "weights") as partial:
        save_file({"a": np.zeros(1)}, partial)
    usual, ours = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "weights"))
    assert usual == ours
