"""Equal keys give equal results, in any process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from tiny import tiny
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.tables.detection import likelihood
root, world = Path(sys.argv[2]), tiny()
cells = [
    TABLES[name](world).find(row, column).cells[0]
    for name, row, column in (
        ("ii", "Baseline", "Ex. Acc."),
        ("vii", "JB-top3, per-pair loss", "Ex. Acc."),
        ("vii", "JBA-PGD, released loss", "# Accounts"),
        ("x", "filtering", "# Accounts"),
        ("x", "gaussian, corrected", "# Accounts"),
    )
]
cells.append(replace(likelihood(world), fpr=0.02))
run_cells(cells, Context(Store(root / "records", root / "artefacts")))
"""
PROVENANCE = {"seconds", "judging_seconds", "embedding_seconds", "tuning_seconds"}


@pytest.mark.slow
def test_equal_keys_give_equal_records(tmp_path: Path) -> None:
    """Two processes whose hashes differ measure the same, to the last digit on one device."""
    found = []
    for hashing in ("1", "2"):
        root = tmp_path / hashing
        subprocess.run(
            [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(root)],
            env=os.environ | {"PYTHONHASHSEED": hashing},
            check=True,
        )
        records = {path.name: json.loads(path.read_text()) for path in (root / "records").glob("*.json")}
        found.append(
            {
                name: {field: value for field, value in record.items() if field not in PROVENANCE}
                for name, record in records.items()
            }
        )
    assert len(found[0]) > 10
    assert found[0] == found[1]
    assert all(record["device"].startswith("cpu") for record in found[0].values())
