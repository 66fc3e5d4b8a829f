"""Detectors: shared, immutable judges over per-account memories. Importing this never imports torch."""

from redhanded.detectors.base import Detector, Encoder, Verdict
from redhanded.detectors.blacklight import BlacklightDetector
from redhanded.detectors.bundle import load_bundle, save_bundle
from redhanded.detectors.hoda import HodaDetector
from redhanded.detectors.likelihood import LikelihoodDetector
from redhanded.detectors.outliers import OutlierDetector
from redhanded.detectors.prada import PradaDetector
from redhanded.detectors.similarity import SimilarityDetector, SimilarityMemory
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
    "SimilarityMemory",
    "StatefulDetector",
    "Verdict",
    "load_bundle",
    "save_bundle",
]
