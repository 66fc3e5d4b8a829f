"""Queries that each attack makes in a second, without its surrogates' training and the victim's answers.

Every attack starts from a trained surrogate, and its trainings take no epochs; what is left is crafting,
selecting or, for data-free attacks, a whole step of generator and student. Run as
`python benchmarks/throughput.py`; `--quick` is a smoke run that writes nothing unless told where.
"""

import argparse
import json
import platform
import statistics
import time
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from redhanded.experiments.cells.extract import starting_images
from redhanded.experiments.runner.provenance import revision
from redhanded.experiments.worlds.attacks import ATTACKS
from redhanded.experiments.worlds.demo import demo
from redhanded.experiments.worlds.world import World
from redhanded.lab.models import build
from redhanded.lab.oracles.victim import Probabilities
from redhanded.lab.training import Training
from redhanded.lab.types import Attack
from setting import trained

RESULT = Path(__file__).parent.parent / "results" / "benchmarks" / "throughput.json"
SEEDS = 100


def untrained(value: Any) -> Any:
    """Return an attack whose surrogates stay as they are made."""
    still = {
        f.name: replace(getattr(value, f.name), epochs=0)
        for f in fields(value)
        if isinstance(getattr(value, f.name), Training)
    }
    return replace(value, **still)


class Timed:
    """An oracle that knows how long it took."""

    def __init__(self, victim: nn.Module) -> None:
        """Answer with probabilities, which serve every attack."""
        self.oracle, self.seconds, self.queries = Probabilities(victim), 0.0, 0

    def __call__(self, images: Tensor) -> Tensor:
        """Return the answers."""
        began = time.perf_counter()
        answers = self.oracle(images)
        self.seconds += time.perf_counter() - began
        self.queries += len(images)
        return answers


def measured(world: World, name: str, attack: Attack, model: nn.Module, seed: int) -> tuple[int, float]:
    """Run an attack once; return its queries beyond its seeds, and the seconds it took to make them."""
    pool = world.pool if attack.starts_from == "pool" else world.query_set
    seeds, further = starting_images(attack, pool, SEEDS, seed, True, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    dense = build(world.dense, 10, generator) if name.startswith("tramer") else None
    oracle = Timed(dense or model)
    began = time.perf_counter()
    for _ in attack.run(
        oracle, seeds, new_surrogate=lambda: deepcopy(dense or model), generator=generator, **further
    ):
        pass
    seconds = time.perf_counter() - began - oracle.seconds
    given = len(seeds) if attack.starts_from == "seeds" else 0
    return oracle.queries - given, seconds


def row(name: str, budget: int, runs: list[tuple[int, float]]) -> dict[str, Any]:
    """Return a row: the median of queries a second."""
    rates = [queries / seconds for queries, seconds in runs]
    middle = statistics.median(rates)
    return {
        "name": name,
        "peer": None,
        "ours": round(middle, 1),
        "theirs": None,
        "unit": "queries/s",
        "ratio": None,
        "exact": None,
        "runs": len(rates),
        "spread": round((max(rates) - min(rates)) / middle, 3),
        "note": f"budget {budget:,}",
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small budgets, one run")
    parser.add_argument("--out", type=Path, help="where to write; results/benchmarks/throughput.json")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    world = demo()
    model, _, _ = trained(1 if options.quick else 3)
    rows = []
    for name, make in ATTACKS.items():
        if name == "random":
            continue  # nothing is made: images are taken as they are
        kind = make(world.scale, 1, "corrected").starts_from
        budget = {"seeds": 400, "pool": 400, "nothing": 4_000}[kind] // (4 if options.quick else 1)
        attack = untrained(make(world.scale, budget + (SEEDS if kind == "seeds" else 0), "corrected"))
        runs = [measured(world, name, attack, model, seed) for seed in range(1 if options.quick else 3)]
        rows.append(row(name, budget, runs))
        print(rows[-1]["name"], rows[-1]["ours"], rows[-1]["unit"], flush=True)
    device = f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
    record = {
        "rows": [row | {"device": device} for row in rows],
        "provenance": {
            "revision": revision(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "seeds": SEEDS,
            "model": repr(world.surrogate),
            "quick": options.quick,
        },
    }
    out = options.out or (None if options.quick else RESULT)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
