"""A tiny encoder as an ONNX graph."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 4, 4)
MakeGraph = Callable[..., bytes]


def make_graph(
    *,
    seed: int = 0,
    dimensions: int = 6,
    images: tuple[int | str, ...] = ("n", *SHAPE),
    features: tuple[int | str, ...] | None = None,
    name: str = "images",
    scale: float = 1.0,
    extra_output: bool = False,
) -> bytes:
    """Flatten, then a random Gemm; `images` and `features` are the declared shapes."""
    weights = np.random.default_rng(seed).normal(size=(16, dimensions)).astype(np.float32) * np.float32(scale)
    nodes = [
        helper.make_node("Flatten", [name], ["flat"]),
        helper.make_node("Gemm", ["flat", "weights"], ["features"]),
    ]
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, features or ("n", dimensions))]
    if extra_output:
        outputs.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, ("n", 16)))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, images)],
        outputs,
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def graph() -> MakeGraph:
    return make_graph
