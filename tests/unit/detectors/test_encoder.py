"""The deployed encoder, on a tiny graph."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from redhanded.detectors.encoder import OnnxEncoder
from redhanded.errors import RedhandedError

MakeGraph = Callable[..., bytes]
IMAGES = np.random.default_rng(1).random((23, 1, 4, 4), dtype=np.float32)


def test_it_embeds(graph: MakeGraph) -> None:
    encoder = OnnxEncoder(graph())
    weights = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)
    np.testing.assert_allclose(encoder(IMAGES), IMAGES.reshape(23, 16) @ weights, rtol=1e-5, atol=1e-5)
    assert (encoder.image_shape, encoder.dimensions) == ((1, 4, 4), 6)
    assert encoder.digest == hashlib.sha256(graph()).hexdigest()
    assert encoder.digest != OnnxEncoder(graph(seed=1)).digest


@pytest.mark.parametrize("chunk", [1, 2, 7, 23, 256])
def test_no_chunk_and_no_batch_changes_a_bit(graph: MakeGraph, chunk: int) -> None:
    whole = OnnxEncoder(graph())(IMAGES)
    chunked = OnnxEncoder(graph(), chunk)
    np.testing.assert_array_equal(chunked(IMAGES), whole)
    np.testing.assert_array_equal(np.concatenate([chunked(IMAGES[k : k + 1]) for k in range(23)]), whole)


def test_no_images_are_no_features(graph: MakeGraph) -> None:
    assert OnnxEncoder(graph())(IMAGES[:0]).shape == (0, 6)


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x00" * 100])
def test_what_is_no_graph_is_named(content: bytes) -> None:
    with pytest.raises(RedhandedError, match=r"^encoder: not a graph that ONNX Runtime can load [^\n]+$"):
        OnnxEncoder(content)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "pixels"}, "named 'images'"),
        ({"images": (1, 1, 4, 4)}, "all sizes but n fixed"),
        ({"images": ("n", 1, "h", "w")}, "all sizes but n fixed"),
        ({"images": ("n", 16)}, "all sizes but n fixed"),
        ({"extra_output": True}, "one output"),
    ],
    ids=str,
)
def test_a_graph_that_would_fail_later_is_refused_at_once(
    graph: MakeGraph, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(RedhandedError, match=rf"^encoder: [^\n]*{message}[^\n]*$"):
        OnnxEncoder(graph(**changed))


def test_images_of_another_size_are_refused(graph: MakeGraph) -> None:
    with pytest.raises(
        RedhandedError, match=r"^images: shape \[3, 4, 4\] [^\n]*\[1, 4, 4\][^\n]*resize them$"
    ):
        OnnxEncoder(graph())(np.zeros((2, 3, 4, 4), np.float32))


def test_features_that_are_not_finite_are_refused(graph: MakeGraph) -> None:
    with pytest.raises(RedhandedError, match=r"^encoder: features are not finite"):
        OnnxEncoder(graph(scale=1e38))(np.ones((1, 1, 4, 4), np.float32))


@pytest.mark.parametrize(("wanted", "threads"), [("", 0), ("3", 3), ("2,1", 2), ("many", 0)])
def test_threads_are_those_that_openmp_is_told(
    wanted: str, threads: int, graph: MakeGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes side by side share the cores by one variable."""
    asked: list[int] = []
    real = onnxruntime.InferenceSession

    def watched(graph: bytes, options: Any, **further: Any) -> Any:
        asked.append(options.intra_op_num_threads)
        return real(graph, options, **further)

    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    OnnxEncoder(graph())
    assert asked == [threads]
