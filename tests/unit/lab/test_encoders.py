"""The similarity encoder: its losses, its transforms, its export."""

import numpy as np
import pytest
import torch

from redhanded.lab.encoders.embed import TorchEncoder, effective_rank, export_onnx, first_axis_share
from redhanded.lab.encoders.similarity import Contrastive, contrast, contrastive_loss, pretrain
from redhanded.lab.encoders.transforms import positive, pretraining_view
from redhanded.lab.models import SimNet
from redhanded.lab.training import Training


def test_losses_by_hand():
    """Two triplets: one with a near negative, one with a far one."""
    anchors = torch.zeros(2, 2)
    positives = torch.tensor([[1.0, 0], [0, 0]])
    negatives = torch.tensor([[2.0, 0], [6, 0]])
    # Equation 6: near 1 and 0; hinges 10 - 4 = 6 and 10 - 36 < 0
    assert contrastive_loss(anchors, positives, negatives, "per-pair", 10.0) == pytest.approx((1 + 6 + 0) / 2)
    # released: element means over the batch: near 1/4; apart 40/4 = 10, so the hinge is closed for all
    assert contrastive_loss(anchors, positives, negatives, "released", 10.0) == pytest.approx(0.25)


def test_positives_are_slight_and_pretraining_views_are_not():
    """Each image changes; eight kinds keep the picture, and the draws come from the generator."""
    images = torch.rand(400, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25
    images = torch.nn.functional.avg_pool2d(images, 5, 1, 2)
    near = positive(images, torch.Generator().manual_seed(1))
    far = pretraining_view(images, torch.Generator().manual_seed(1))
    assert torch.equal(near, positive(images, torch.Generator().manual_seed(1)))
    moved = (near - images).square().mean((1, 2, 3)).sqrt()
    assert (moved > 0).all()
    assert moved.median() < (far - images).square().mean((1, 2, 3)).sqrt().median()
    # a brightness change is one factor: an eighth of the images, within 0.09
    change = (near / images - 1).flatten(1)
    flat = change[(change.std(1) < 1e-5)]
    assert 20 < len(flat) < 90
    assert flat.abs().max() <= 0.09 + 1e-6


@pytest.fixture(scope="module")
def trained():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, 3, 32, 32, generator=generator)
    brief = Training(epochs=1, batch=32, optimiser="adam", lr=1e-3, weight_decay=0.0)
    config = Contrastive(pretraining=brief, contrastive=brief)
    encoder = pretrain(images, torch.arange(64) % 4, SimNet(), brief, generator)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    contrast(encoder, images, config, generator)
    assert any(not torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    return encoder, images.numpy()


def test_onnx_equals_torch_and_neither_minds_the_batch(trained):
    """Within 1e-4 of each other; each row bit for bit the same in any batch."""
    network, images = trained
    exported, wrapped = export_onnx(network), TorchEncoder(network)
    assert np.abs(exported(images) - wrapped(images)).max() < 1e-4
    for encoder in (exported, wrapped):
        whole = encoder(images)
        assert whole.shape == (64, 256)
        for size in (1, 7, 33):
            parts = [encoder(images[at : at + size]) for at in range(0, 64, size)]
            np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert encoder(images[:0]).shape == (0, 256)


def test_export_keeps_its_digest(trained):
    """The same weights give the same graph."""
    network, _ = trained
    assert export_onnx(network).digest == export_onnx(network).digest


def test_effective_rank_of_known_shapes():
    """A ball of d directions has rank d, a line has rank 1."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((20000, 6)).astype(np.float32)
    line = ball[:, :1] * np.ones((1, 6), np.float32)
    assert effective_rank(ball) == pytest.approx(6, rel=0.01)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    assert first_axis_share(line) == pytest.approx(1)
