"""The guard's half of the package runs where PyTorch is not installed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import redhanded


@pytest.mark.parametrize("name", ["redhanded.detectors", "redhanded.guard"])
def test_importing_loads_neither_torch_nor_onnx_runtime(name: str) -> None:
    """ONNX Runtime is needed, but loaded with the first graph."""
    code = f"import sys, json, {name}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert name in loaded
    assert not loaded & {"torch", "onnxruntime", "onnx", "matplotlib", "sklearn"}


ROOMS = ("runner", "measure", "cells", "worlds", "tables", "claims", "figures", "pages")
"""Of experiments/, from the ground up."""
FLOORS = ("errors", "types", "files", "detectors", "guard", "lab", "experiments", "commands", "cli")
"""Of the package, from the ground up."""
SOURCE = Path(redhanded.__file__).parent


def _upward(folder: Path, package: str, floors: tuple[str, ...]) -> list[str]:
    """Return the imports of a package's parts from parts above them."""
    found = []
    for place, floor in enumerate(floors):
        files = (
            [folder / f"{floor}.py"] if (folder / f"{floor}.py").is_file() else (folder / floor).rglob("*.py")
        )
        for path in files:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    part = name.removeprefix(f"{package}.").split(".")[0]
                    if name.startswith(f"{package}.") and part in floors[place + 1 :]:
                        found.append(f"{path.relative_to(folder)}: {name}")
    return found


def test_no_package_imports_one_above_it() -> None:
    # the entry point registers the commands, so `cli` is on top
    assert _upward(SOURCE, "redhanded", FLOORS) == []
    parts = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}
    assert parts == {*FLOORS, "__init__"}


def test_no_room_of_experiments_imports_one_above_it() -> None:
    assert _upward(SOURCE / "experiments", "redhanded.experiments", ROOMS) == []
    assert {path.parent.name for path in (SOURCE / "experiments").glob("*/*.py")} == set(ROOMS)
    assert [path.name for path in (SOURCE / "experiments").glob("*.py")] == ["__init__.py"]
