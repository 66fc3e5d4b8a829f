"""A trained encoder as what detectors embed with: through PyTorch, or exported to ONNX."""

import contextlib
import hashlib
import logging
import warnings
from functools import cached_property

import numpy as np
import torch
from torch import nn

from redhanded.detectors.encoder import OnnxEncoder
from redhanded.types import FeatureArray, ImageArray


class TorchEncoder:
    """An encoder on any device, in full float32: no autocast, no TF32.

    Batches are padded to `chunk` images, so that a row's features do not depend on how many came with it.
    """

    def __init__(self, network: nn.Module, chunk: int = 256) -> None:
        self.network = network.eval()
        self.chunk = chunk
        self._device = next(network.parameters()).device

    @cached_property
    def digest(self) -> str:
        sha = hashlib.sha256()
        for name, value in sorted(self.network.state_dict().items()):
            sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()

    @torch.no_grad()
    def __call__(self, images: ImageArray) -> FeatureArray:
        """Embed images [n, c, h, w] in [0, 1]."""
        allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        try:
            parts = []
            for at in range(0, max(len(images), 1), self.chunk):
                part = images[at : at + self.chunk]
                padded = np.zeros((self.chunk, *images.shape[1:]), np.float32)
                padded[: len(part)] = part
                features = self.network(torch.from_numpy(padded).to(self._device))
                parts.append(features[: len(part)].cpu().numpy())
            return np.concatenate(parts)
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed


def export_onnx(network: nn.Module, image_shape: tuple[int, int, int] = (3, 32, 32)) -> OnnxEncoder:
    """Return the encoder for ONNX Runtime; needs onnx and onnxscript."""
    network = network.eval().cpu()
    quiet = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = quiet.level
    quiet.setLevel(logging.ERROR)  # it reports every torchvision operator that is not there
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(None):
            warnings.simplefilter("ignore")  # the exporter warns about its own internals
            program = torch.onnx.export(
                network,
                (torch.zeros(2, *image_shape),),
                dynamo=True,
                input_names=["images"],
                output_names=["features"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                verbose=False,
            )
    finally:
        quiet.setLevel(level)
    assert program is not None
    return OnnxEncoder(program.model_proto.SerializeToString(deterministic=True))


def covariance_shares(features: FeatureArray) -> np.ndarray:
    """Shares of the variance along the principal axes, largest first."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    spread = np.linalg.eigvalsh(centred.T @ centred)[::-1].clip(min=0)
    return np.asarray(spread / max(spread.sum(), np.finfo(np.float64).tiny))


def effective_rank(features: FeatureArray) -> float:
    """Exponential of the entropy of the covariance's eigenvalue shares (after Roy and Vetterli 2007).

    1 means that the embedding is a line; d that it fills all d directions evenly.
    """
    shares = covariance_shares(features)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def first_axis_share(features: FeatureArray) -> float:
    """Share of the variance along the first principal axis."""
    return float(covariance_shares(features)[0])
