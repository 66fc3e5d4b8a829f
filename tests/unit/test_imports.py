"""The guard's half of the package runs where PyTorch is not installed."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["redhanded.detectors", "redhanded.guard"])
def test_importing_loads_neither_torch_nor_onnx_runtime(name: str) -> None:
    """ONNX Runtime is needed, but loaded with the first graph."""
    code = f"import sys, json, {name}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert name in loaded
    assert not loaded & {"torch", "onnxruntime", "onnx", "matplotlib", "sklearn"}
