"""Every attack by its name on the command line, in the demo world, with a budget of minutes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from redhanded.experiments.worlds.attacks import ATTACKS

from .test_cli import one_line, redhanded

BUDGETS = {"random": 40, "dfme": 600, "tramer": 400, "tramer-local": 400}


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory) -> Path:
    """Where the first attack leaves the victim for the others."""
    return tmp_path_factory.mktemp("artefacts")


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_runs_from_one_form(name: str, artefacts: Path, tmp_path: Path) -> None:
    budget = BUDGETS.get(name, 60)
    pool = name in {"knockoff", "pool-random", "uncertainty", "k-center", "dfal", "dfal-k-center"}
    seeds = () if pool or name in {"random", "dfme", "tramer", "tramer-local"} else ("--n-seed", 20)
    words = ("attack", name, "--budget", budget, *seeds, "--artefacts", artefacts, "--out", "theft", "--json")
    done = redhanded(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["attack"] == name
    sent = len(np.load(tmp_path / "theft/log/outputs.npy"))
    assert sent == record["queries"] <= budget
    # what cannot be crafted is not sent; the others spend their budget, DFME in whole steps
    assert sent > (20 if name in {"jba-bs", "jba-cw"} else budget // 2)
    assert (tmp_path / "theft/clone.safetensors").is_file()
    shutil.rmtree(tmp_path / "theft")


@pytest.mark.slow
def test_probabilities_are_asked_of_an_endpoint_that_gives_none(tmp_path: Path) -> None:
    """An attack that needs probabilities says so where it is given labels."""
    (tmp_path / "hard.py").write_text(
        "import numpy as np\n"
        "def answer(images):\n"
        "    return np.eye(10, dtype=np.float32)[np.arange(len(images)) % 10]\n"
    )
    done = redhanded(
        "attack", "dfme", "--oracle", "hard:answer", "--budget", 300, "--classes", 10, cwd=tmp_path
    )
    one_line(done, "probabilities")
