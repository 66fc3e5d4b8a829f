"""Tuning δ on 60,000 images: near pairs stored once, against a bisection that runs the detector each time.

The bisection is what the paper's released script does. Run as
`python benchmarks/calibration.py BUNDLE` with a similarity bundle and `$REDHANDED_DATA`; `--quick` takes
4,000 images and writes nothing unless told where.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from redhanded.detectors import load_bundle
from redhanded.detectors.pairs import calibrate_pairs, calibrate_similarity
from redhanded.experiments.cells.calibrate import benign_stream
from redhanded.experiments.cells.datasets import as_floats
from redhanded.experiments.runner.provenance import revision
from redhanded.experiments.worlds.small import small

RESULT = Path(__file__).parent.parent / "results" / "benchmarks" / "calibration.json"
COUNT = 60_000


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what it gives and the seconds it takes."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def bisected(detector: Any, features: np.ndarray, fpr: float, high: float) -> tuple[float, int]:
    """Halve [0, high] until the flags allowed are met or 24 halvings are over; return δ and the halvings."""
    allowed = int(fpr * len(features) * detector.flags_to_ban + 1e-9)
    low, halvings = 0.0, 0
    while halvings < 24:
        halvings += 1
        middle = (low + high) / 2
        judge = replace(detector, delta=middle)
        memory, at, flags = judge.new_memory(), 0, 0
        while at < len(features):
            verdict = judge.update(memory, features[at:])
            flags += verdict.flags
            at += verdict.judged
            memory = judge.new_memory()
        if flags == allowed:
            return middle, halvings
        low, high = (middle, high) if flags < allowed else (low, middle)
    return low, halvings


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="a calibrated similarity detector")
    parser.add_argument("--quick", action="store_true", help="4,000 images, one run")
    parser.add_argument("--out", type=Path, help="where to write; results/benchmarks/calibration.json")
    options = parser.parse_args()
    detector = load_bundle(options.bundle)
    count, runs, fpr = (4_000, 1, 1e-3) if options.quick else (COUNT, 3, 1e-4)
    images = benign_stream(small().judging.common, 0)[:count]

    def embed() -> np.ndarray:
        parts = [detector.features(as_floats(images[at : at + 1024])) for at in range(0, count, 1024)]
        return np.concatenate(parts)

    features, embedding = timed(embed)
    seconds: dict[str, list[float]] = {"pairs": [], "again": [], "bisection": []}
    for _ in range(runs):
        (found, pairs), took = timed(partial(calibrate_similarity, features, fpr=fpr))
        seconds["pairs"].append(took)
        again, took = timed(partial(calibrate_pairs, pairs, fpr=fpr / 2))
        seconds["again"].append(took)
        (reached, halvings), took = timed(partial(bisected, detector, features, fpr, 4 * found.delta))
        seconds["bisection"].append(took)
        print({name: round(values[-1], 2) for name, values in seconds.items()}, flush=True)
    middle = {name: statistics.median(values) for name, values in seconds.items()}

    def row(name: str, ours: str, note: str, *, compared: bool) -> dict[str, Any]:
        ratios = [theirs / mine for mine, theirs in zip(seconds[ours], seconds["bisection"], strict=True)]
        return {
            "name": name,
            "peer": "bisection that runs the detector",
            "ours": round(middle[ours], 3),
            "theirs": round(middle["bisection"], 3),
            "unit": "s",
            "ratio": round(statistics.median(ratios), 2),
            "exact": abs(reached - found.delta) < 0.02 * found.delta if compared else None,
            "device": f"{platform.machine()} CPU",
            "runs": runs,
            "spread": round((max(ratios) - min(ratios)) / statistics.median(ratios), 3),
            "note": note,
        }

    record = {
        "rows": [
            row(
                "tuning δ, encoder pass excluded",
                "pairs",
                f"{count:,} images; the encoder pass took {embedding:.1f} s; {found.flags} flags",
                compared=True,
            ),
            row(
                "another target from the same pairs",
                "again",
                f"{again.flags} flags at half the target",
                compared=False,
            ),
        ],
        "provenance": {
            "revision": revision(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "halvings": halvings,
            "fpr": fpr,
            "quick": options.quick,
        },
    }
    print(json.dumps(record, indent=1))
    out = options.out or (None if options.quick else RESULT)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
