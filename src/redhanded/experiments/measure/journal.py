"""The long steps of an attack as files, so that one cut short runs again from its start in little time."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from redhanded.errors import OutOfTimeError
from redhanded.files import whole
from redhanded.lab.attacks.resume import Tensors, pack, unpack
from redhanded.lab.training import Checkpoint

ENDING = ".checkpoint.safetensors"
"""What the runner drops once a cell is measured."""
OF = "of"
"""Name in a file's metadata of what its step was given."""


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
        path, of = self._next("step", given, generator)
        if not path.is_file():
            found = compute()
            self._keep(path, found | {"generator": generator.get_state()}, of)
        found = load_file(path)
        generator.set_state(found.pop("generator"))
        return found

    def training(
        self,
        model: nn.Module,
        train: Callable[[Checkpoint | None], None],
        given: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        """Train, go on with a training that was cut short, or take its weights; see `Journal`.

        Raises:
            OutOfTimeError: the deadline came.
        """
        path, of = self._next("trained", given, generator)
        under_way = Checkpoint(path.with_name(f"under-way-{of}{ENDING}"), deadline=self.deadline)
        if not path.is_file():
            train(under_way)
            self._keep(path, pack({"model": model}, generator), of)
        under_way.path.unlink(missing_ok=True)
        unpack({"model": model}, generator, load_file(path))
        model.eval()

    def _next(self, kind: str, given: Sequence[Tensor], generator: torch.Generator) -> tuple[Path, str]:
        """Return the file of the next step, of which none is there that was given something else."""
        self._steps += 1
        path = self.folder / f"{kind}-{self._steps:06d}{ENDING}"
        digest = hashlib.sha256(f"{path.name} {self.machine}".encode())
        for numbers in (generator.get_state(), *given):
            digest.update(str(tuple(numbers.shape)).encode())
            digest.update(numbers.cpu().contiguous().numpy().tobytes())
        of = digest.hexdigest()[:32]
        if path.is_file() and _of(path) != of:
            self._forget()
        return path, of

    def _forget(self) -> None:
        """Remove this step and all that followed it: they are of another attack than this one turned out."""
        for path in self.folder.glob(f"*{ENDING}"):
            kind, _, place = path.name.removesuffix(ENDING).rpartition("-")
            if kind == "under-way" or (kind in {"step", "trained"} and int(place) >= self._steps):
                path.unlink()

    def _keep(self, path: Path, tensors: Tensors, of: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        with whole(path) as partial:
            save_file(kept, partial, {OF: of})
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise OutOfTimeError("time limit: the attack stopped between two steps; run again to go on")


def _of(path: Path) -> str | None:
    with safe_open(path, "pt") as stored:
        return (stored.metadata() or {}).get(OF)
