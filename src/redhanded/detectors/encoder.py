"""The encoder that is deployed: an ONNX graph run by ONNX Runtime on the CPU."""

import hashlib
import os
from functools import cached_property
from typing import Any

import numpy as np

from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, ImageArray


class OnnxEncoder:
    """Images [n, c, h, w] in [0, 1] to features [n, d]. The graph normalises; callers never do.

    `graph` is a serialised ONNX model with one input, `images` [n, c, h, w], and one output, [n, d], float32
    both and of any n; `digest` is its SHA-256. One run of it embeds at most `chunk` images.
    """

    def __init__(self, graph: bytes, chunk: int = 256) -> None:
        """Load the graph; raises `RedhandedError` if it is not one."""
        self.graph, self.chunk = graph, chunk
        self._session  # noqa: B018 - a broken graph should fail here, not at the first query

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # what numpy and PyTorch ask too: processes side by side should not each take every core
        options.intra_op_num_threads = _threads(os.environ.get("OMP_NUM_THREADS", ""))
        try:
            session = onnxruntime.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise RedhandedError(
                f"encoder: not a graph that ONNX Runtime can load ({str(error).splitlines()[0]})"
            ) from error
        if [i.name for i in session.get_inputs()] != ["images"]:
            raise RedhandedError("encoder: the ONNX graph must have exactly one input, named 'images'")
        for ends, rank in ((session.get_inputs(), 4), (session.get_outputs(), 2)):
            fixed = [isinstance(size, int) for size in ends[0].shape]
            # a fixed batch axis or a free image axis would fail at some later query
            if len(ends) != 1 or fixed != [False] + [True] * (rank - 1):
                raise RedhandedError(
                    "encoder: the ONNX graph must map images [n, c, h, w] to one output [n, d], "
                    f"all sizes but n fixed; found {[e.shape for e in ends]}"
                )
        return session

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.graph).hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self._session.get_inputs()[0].shape[1:]
        return int(channels), int(height), int(width)

    @property
    def dimensions(self) -> int:
        return int(self._session.get_outputs()[0].shape[1])

    def __call__(self, images: ImageArray) -> FeatureArray:
        """Embed images; raises `RedhandedError` if they are of another size than the graph's."""
        if images.shape[1:] != self.image_shape:
            raise RedhandedError(
                f"images: shape {list(images.shape[1:])} does not fit the encoder, which takes "
                f"{list(self.image_shape)} (channels, height, width); resize them"
            )
        parts = [
            self._session.run(None, {"images": images[at : at + self.chunk]})[0]
            for at in range(0, len(images), self.chunk)
        ]
        features = np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)
        if not np.isfinite(features).all():
            raise RedhandedError("encoder: features are not finite; the graph's weights are damaged")
        return features.astype(np.float32, copy=False)


def _threads(wanted: str) -> int:
    """OpenMP takes a list for nested levels; 0 is as many as there are cores."""
    first = wanted.split(",", maxsplit=1)[0].strip()
    return int(first) if first.isdigit() else 0
