"""The long steps of an attack as files, so that one cut short runs again from its start in little time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from redhanded.errors import OutOfTimeError
from redhanded.lab.attacks.resume import Tensors, pack, unpack
from redhanded.lab.training import Checkpoint

ENDING = ".checkpoint.safetensors"
"""What the runner drops once a cell is measured."""


@dataclass
class FileJournal:
    """A `Journal` in a folder; each step is a file that appears whole or not at all.

    A training under way saves itself beside them. Equal steps on one device give an equal attack to the last
    digit, since whatever is computed again is what it was.

    Args:
        folder: where the files are.
        deadline: `time.monotonic()` after which a step that has just been remembered ends the attack.
    """

    folder: Path
    deadline: float | None = None
    _steps: int = field(default=0, init=False)

    def step(self, compute: Callable[[], Tensors], generator: torch.Generator) -> Tensors:
        """Return what `compute` returns or returned; see `Journal`.

        Raises:
            OutOfTimeError: the deadline came.
        """
        path = self._next("step")
        if not path.is_file():
            self._keep(path, compute() | {"generator": generator.get_state()})
        found = load_file(path)
        generator.set_state(found.pop("generator"))
        return found

    def training(
        self, model: nn.Module, train: Callable[[Checkpoint | None], None], generator: torch.Generator
    ) -> None:
        """Train, go on with a training that was cut short, or take its weights; see `Journal`.

        Raises:
            OutOfTimeError: the deadline came.
        """
        path = self._next("trained")
        under_way = Checkpoint(path.with_name(f"under-way-{path.name}"), deadline=self.deadline)
        if not path.is_file():
            train(under_way)
            self._keep(path, pack({"model": model}, generator))
        under_way.path.unlink(missing_ok=True)
        unpack({"model": model}, generator, load_file(path))
        model.eval()

    def _next(self, kind: str) -> Path:
        self._steps += 1
        return self.folder / f"{kind}-{self._steps:06d}{ENDING}"

    def _keep(self, path: Path, tensors: Tensors) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        save_file(kept, partial)
        partial.replace(path)
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError("time limit: the attack stopped between two steps; run again to go on")
