"""The long steps of an attack as files, so that one cut short runs again from its start in little time."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError
from redhanded.lab.attacks.resume import Tensors, Train
from redhanded.lab.training import Checkpoint, State, load_state, save_state

ENDING = ".checkpoint.pt"
"""What the runner drops once a cell is measured."""


@dataclass
class FileJournal:
    """A `Journal` in a folder; each step is a file that appears whole or not at all.

    A training under way saves itself beside them. On a CPU with as many threads the attack ends as it would
    have, to the last digit: whatever is computed again is what it was. Elsewhere only finished steps are.

    Args:
        folder: where the files are.
        machine: what else decides on the outcome (device, threads, versions); steps of another are forgotten.
        deadline: `time.monotonic()` after which a step that has just been remembered ends the attack.
    """

    folder: Path
    machine: str
    deadline: float | None = None
    _steps: int = field(default=0, init=False)

    def step(
        self, compute: Callable[[], Tensors], given: Sequence[Tensor], generator: torch.Generator
    ) -> Tensors:
        """Return what `compute` returns or returned; see `Journal`.

        Raises:
            OutOfTimeError: the deadline came.
        """
        path, of, kept = self._next("step", given, generator)
        kept = kept or self._keep(path, of, compute(), generator)
        generator.set_state(kept["generator"])
        found: Tensors = kept["found"]
        return found

    def training(
        self, model: nn.Module, train: Train, given: Sequence[Tensor], generator: torch.Generator
    ) -> None:
        """Train, go on with a training that was cut short, or take its weights; see `Journal`.

        Raises:
            OutOfTimeError: the deadline came.
        """
        path, of, kept = self._next("trained", given, generator)
        under_way = Checkpoint(path.with_name(f"under-way-{of}{ENDING}"), deadline=self.deadline)
        if not kept:
            train(under_way)
            kept = self._keep(path, of, model.state_dict(), generator)
        under_way.path.unlink(missing_ok=True)
        model.load_state_dict(kept["found"])
        generator.set_state(kept["generator"])
        model.eval()

    def _next(
        self, kind: str, given: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Path, str, State]:
        """Return the next step's file, the digest of what it was given, and what was kept of it."""
        self._steps += 1
        path = self.folder / f"{kind}-{self._steps:06d}{ENDING}"
        digest = hashlib.sha256(f"{path.name} {self.machine}".encode())
        for numbers in (generator.get_state(), *given):
            digest.update(str(tuple(numbers.shape)).encode())
            digest.update(numbers.cpu().contiguous().numpy().tobytes())
        of = digest.hexdigest()[:32]
        kept = load_state(path) if path.is_file() else {}
        if kept and kept["of"] != of:
            self._forget()
            kept = {}
        return path, of, kept

    def _forget(self) -> None:
        """Remove this step and all that followed it: they are of another attack than this one turned out."""
        for path in self.folder.glob(f"*{ENDING}"):
            kind, _, place = path.name.removesuffix(ENDING).rpartition("-")
            if kind == "under-way" or (kind in {"step", "trained"} and int(place) >= self._steps):
                path.unlink()

    def _keep(self, path: Path, of: str, found: State, generator: torch.Generator) -> State:
        save_state(path, {"of": of, "found": found, "generator": generator.get_state()})
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError("time limit: the attack stopped between two steps; run again to go on")
        return load_state(path)
