"""The paper's claims over the committed records: what holds, and that whatever fails is explained."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from redhanded.experiments.claims import CLAIMS
from redhanded.experiments.claims.base import Claim
from redhanded.experiments.claims.explained import EXPLAINED
from redhanded.experiments.claims.reader import Reader
from redhanded.experiments.runner.store import Store
from redhanded.experiments.worlds import WORLDS

RESULTS = Path(__file__).parents[2] / "results"
MEASURED = ("demo", "small")
READERS = {
    world: Reader(WORLDS[world](), Store(RESULTS / world, RESULTS / world).record) for world in MEASURED
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
@pytest.mark.parametrize("world", MEASURED)
def test_exactly_the_explained_claims_fail(world: str, claim: Claim) -> None:
    verdict = claim.judge(READERS[world])
    assert (verdict.ruling == "fails") == (claim.name in EXPLAINED[world]), verdict


@pytest.mark.parametrize("world", MEASURED)
def test_no_world_is_spared_judgement(world: str) -> None:
    rulings = [claim.judge(READERS[world]).ruling for claim in CLAIMS]
    assert rulings.count("holds") >= 27
    assert sum(ruling in {"holds", "fails", "cannot be told"} for ruling in rulings) >= 54


def test_a_reason_types_no_figure() -> None:
    """Figures stand beside a reason, read from the records; a number in it would outlive them."""
    names = r"JB-top3|CIFAR-10|CINIC-10|Table [IVX]+"
    for reasons in EXPLAINED.values():
        for reason in reasons.values():
            assert not re.search(r"\d", re.sub(names, "", reason)), reason


def test_explanations_are_of_worlds_and_claims() -> None:
    assert EXPLAINED.keys() == WORLDS.keys()
    assert set().union(*EXPLAINED.values()) <= {claim.name for claim in CLAIMS}


@pytest.mark.parametrize("world", MEASURED)
def test_the_command_is_green(world: str) -> None:
    words = [sys.executable, "-m", "redhanded.cli", "claims", "--strict", "--world", world]
    done = subprocess.run(words, cwd=RESULTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(EXPLAINED[world])} fails" in done.stdout
    assert "every failure is explained" in " ".join(done.stdout.split())
