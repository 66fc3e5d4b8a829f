"""Training of what detectors embed with."""

from redhanded.lab.encoders.embed import TorchEncoder, effective_rank, export_onnx, first_axis_share
from redhanded.lab.encoders.similarity import Contrastive, contrast, pretrain

__all__ = [
    "Contrastive",
    "TorchEncoder",
    "contrast",
    "effective_rank",
    "export_onnx",
    "first_axis_share",
    "pretrain",
]
