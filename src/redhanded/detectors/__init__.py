"""Detectors: shared, immutable judges over per-account memories. Importing this never imports torch.

A new one has a module here and an entry of `bundle.KINDS`, a judge in `experiments.cells.judges`, an entry of
`experiments.worlds.detectors.DETECTORS`, and a row of the contracts in `tests/contracts/detectors_table.py`.
"""

from redhanded.detectors.base import Detector, Encoder, Verdict
from redhanded.detectors.blacklight import BlacklightDetector
from redhanded.detectors.bundle import load_bundle, save_bundle
from redhanded.detectors.hoda import HodaDetector
from redhanded.detectors.likelihood import LikelihoodDetector
from redhanded.detectors.outliers import OutlierDetector
from redhanded.detectors.prada import PradaDetector
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.detectors.stateful import StatefulDetector

__all__ = [
    "BlacklightDetector",
    "Detector",
    "Encoder",
    "HodaDetector",
    "LikelihoodDetector",
    "OutlierDetector",
    "PradaDetector",
    "SimilarityDetector",
    "StatefulDetector",
    "Verdict",
    "load_bundle",
    "save_bundle",
]
