"""Detectors: shared, immutable judges over per-account memories. Importing this never imports torch."""

from redhanded.detectors.base import Detector, Encoder, Verdict
from redhanded.detectors.bundle import load_bundle, save_bundle
from redhanded.detectors.similarity import SimilarityDetector, SimilarityMemory

__all__ = [
    "Detector",
    "Encoder",
    "SimilarityDetector",
    "SimilarityMemory",
    "Verdict",
    "load_bundle",
    "save_bundle",
]
