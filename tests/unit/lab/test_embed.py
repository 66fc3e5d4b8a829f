"""A trained encoder as detectors call it, and how many directions its features fill."""

import numpy as np
import pytest
import torch
from torch import nn

from redhanded.detectors.encoder import OnnxEncoder
from redhanded.lab.encoders.embed import (
    TorchEncoder,
    covariance_shares,
    effective_rank,
    export_onnx,
    first_axis_share,
)
from redhanded.lab.models import Normalise, SimNet, seeded
from redhanded.types import ImageArray


def simnet(seed: int = 0) -> nn.Sequential:
    with seeded(torch.Generator().manual_seed(seed)):
        return SimNet(features=24).trunk()


def images(count: int, side: int = 32) -> ImageArray:
    return np.random.default_rng(count).random((count, 3, side, side), np.float32)


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    return simnet()


@pytest.fixture(scope="module")
def exported(network: nn.Sequential) -> OnnxEncoder:
    return export_onnx(network.train())


def tiny() -> nn.Sequential:
    with seeded(torch.Generator().manual_seed(1)):
        return nn.Sequential(Normalise(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))


def test_the_export_equals_torch(network: nn.Sequential, exported: OnnxEncoder) -> None:
    batch = images(9)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(batch)).numpy()
    ours = exported(batch)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=0)
    assert np.abs(expected).max() > 1e-2  # which is far above the tolerance
    np.testing.assert_allclose(ours, TorchEncoder(network)(batch), atol=1e-4, rtol=0)


def test_the_export_knows_its_shapes(exported: OnnxEncoder) -> None:
    assert exported.image_shape == (3, 32, 32)
    assert exported.dimensions == 24
    assert exported(images(0)).shape == (0, 24)


def test_the_export_does_not_depend_on_the_batch(exported: OnnxEncoder) -> None:
    batch = images(9)
    whole = exported(batch)
    alone = np.concatenate([exported(batch[at : at + 1]) for at in range(9)])
    parts = np.concatenate([exported(batch[:2]), exported(batch[2:])])
    np.testing.assert_allclose(alone, whole, atol=1e-6, rtol=0)
    np.testing.assert_allclose(parts, whole, atol=1e-6, rtol=0)
    small = OnnxEncoder(exported.graph, chunk=4)
    np.testing.assert_allclose(small(batch), whole, atol=1e-6, rtol=0)


def test_the_export_is_reproducible_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    one = export_onnx(tiny(), (3, 8, 8))
    assert export_onnx(tiny(), (3, 8, 8)).digest == one.digest
    assert capfd.readouterr() == ("", "")
    batch = images(5, 8)
    np.testing.assert_allclose(one(batch), TorchEncoder(tiny())(batch), atol=1e-5, rtol=0)


def test_the_torch_encoder_does_not_depend_on_the_batch(network: nn.Sequential) -> None:
    encoder = TorchEncoder(network.train(), chunk=8)
    batch = images(19)
    whole = encoder(batch)
    assert whole.shape == (19, 24)
    for sizes in ([1] * 19, [8, 8, 3], [5, 11, 3], [18, 1]):
        ends = np.cumsum(sizes)
        parts = [encoder(batch[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert encoder(batch[:0]).shape == (0, 24)
    assert not network.training  # no dropout


def test_the_torch_encoder_names_its_weights() -> None:
    assert TorchEncoder(simnet()).digest == TorchEncoder(simnet()).digest
    assert TorchEncoder(simnet()).digest != TorchEncoder(simnet(1)).digest


def test_the_torch_encoder_forbids_tf32_for_as_long_as_it_embeds() -> None:
    seen = []

    class Looking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            if len(seen) == 2:
                raise ZeroDivisionError
            return batch.flatten(1)

    cudnn, cublas = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cublas.allow_tf32
    try:
        cudnn.allow_tf32 = cublas.allow_tf32 = True
        encoder = TorchEncoder(Looking(), chunk=2)
        encoder(images(1, 8))
        with pytest.raises(ZeroDivisionError):
            encoder(images(1, 8))
        assert seen == [(False, False)] * 2
        assert (cudnn.allow_tf32, cublas.allow_tf32) == (True, True)
    finally:
        cudnn.allow_tf32, cublas.allow_tf32 = before


@pytest.mark.parametrize("dimensions", [1, 2, 7, 40])
def test_effective_rank_of_an_isotropic_cloud_is_its_dimension(dimensions: int) -> None:
    cross = np.concatenate([np.eye(dimensions), -np.eye(dimensions)]).astype(np.float32) + 3
    assert effective_rank(cross) == pytest.approx(dimensions, rel=1e-5)
    assert first_axis_share(cross) == pytest.approx(1 / dimensions, rel=1e-5)


def test_effective_rank_of_a_line_is_one() -> None:
    line = np.outer(np.linspace(-4, 9, 30), [3.0, -1, 2, 0.5]).astype(np.float32)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert first_axis_share(line) == pytest.approx(1, abs=1e-6)


def test_effective_rank_of_known_shares() -> None:
    """Variances 6, 3 and 1 along turned axes."""
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    scales = np.sqrt(np.array([6.0, 3, 1, 0, 0]))
    cross = (np.concatenate([np.diag(scales), -np.diag(scales)]) @ axes).astype(np.float32)
    shares = np.array([0.6, 0.3, 0.1])
    np.testing.assert_allclose(covariance_shares(cross), [*shares, 0, 0], atol=1e-6)
    expected = np.prod(shares**-shares)
    assert effective_rank(cross) == pytest.approx(expected, rel=1e-4)


def test_effective_rank_of_a_point_is_one() -> None:
    assert effective_rank(np.ones((4, 3), np.float32)) == 1
