"""Answers that were paid for are kept: an attack that breaks off goes on from them."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from redhanded.errors import RedhandedError
from redhanded.files import whole
from redhanded.lab.types import Images, Oracle, Outputs

EVERY = 30.0
"""Seconds between two saves."""


@dataclass
class Recorded:
    """An oracle that asks `chunk` images at a time and writes down what it was told, in one `.npz` file.

    What the file already holds is answered from it, as long as the order is the same: an attack with the
    same seed asks the same again, so it resumes where it broke off, for free.
    """

    oracle: Oracle
    path: Path
    chunk: int = 64
    reused: int = 0
    """Answers that came from the file."""
    _asked: list[np.ndarray] = field(default_factory=list)
    _told: list[np.ndarray] = field(default_factory=list)
    _at: int = 0
    _saved: float = 0.0

    def __post_init__(self) -> None:
        """Read what an earlier run was told; raises `RedhandedError` if the file is damaged."""
        self._saved = time.monotonic()
        if not self.path.is_file():
            return
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                self._asked, self._told = list(stored["images"]), list(stored["outputs"])
        except (OSError, ValueError, KeyError) as error:
            raise RedhandedError(f"out: {self.path} is damaged ({error}); delete it to start anew") from error

    def __call__(self, images: Images) -> Outputs:
        known = self._known(images)
        parts = [torch.from_numpy(np.stack(self._told[self._at - known : self._at]))] if known else []
        for at in range(known, len(images), self.chunk):
            part = images[at : at + self.chunk]
            answers = self.oracle(part).cpu()
            self._asked += list(part.detach().cpu().numpy())
            self._told += list(answers.numpy())
            self._at += len(part)
            parts.append(answers)
            if time.monotonic() - self._saved > EVERY:
                self.save()
        return torch.cat(parts).to(images.device)

    def _known(self, images: Images) -> int:
        """Count the leading images that were asked before; questions that differ are another attack's."""
        rows = images.detach().cpu().numpy()
        known = 0
        while known < len(rows) and self._at < len(self._asked):
            if not np.array_equal(self._asked[self._at], rows[known]):
                raise RedhandedError(
                    f"out: {self.path} holds the answers of another attack; give another --out, or delete it"
                )
            known, self._at = known + 1, self._at + 1
        self.reused += known
        return known

    def save(self) -> None:
        """Write everything told so far, atomically."""
        self._saved = time.monotonic()
        if not self._told:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole(self.path) as partial, partial.open("wb") as file:
            np.savez(file, images=np.stack(self._asked), outputs=np.stack(self._told))
