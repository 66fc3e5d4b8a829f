"""A query stream that outlives its run: what was sent, what was answered, and where each query came from."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from redhanded.errors import RedhandedError
from redhanded.lab.types import Round
from redhanded.types import ImageArray, Int, OutputArray

KINDS = ("seed", "augmented", "student", "gradient", "pool")
_FIELDS = ("images", "outputs", "parents", "targets", "kinds", "rounds")


@dataclass(frozen=True)
class QueryLog:
    """All queries of an attack in the order sent; one `.npy` file a field."""

    images: ImageArray
    outputs: OutputArray
    parents: Int[np.ndarray, " n"]
    """Place of the query each was crafted from; -1 for a seed."""
    targets: Int[np.ndarray, " n"]
    kinds: Int[np.ndarray, " n"]
    """Place in `KINDS`."""
    rounds: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """Return the number of queries."""
        return len(self.images)

    @classmethod
    def of(cls, rounds: Iterable[Round]) -> "QueryLog":
        """Gather the rounds of an attack."""
        parts = list(rounds)
        sizes = [len(part.sent) for part in parts]
        return cls(
            torch.cat([part.sent for part in parts]).cpu().numpy(),
            torch.cat([part.labels for part in parts]).cpu().numpy(),
            torch.cat([part.parents for part in parts]).numpy().astype(np.int64),
            torch.cat([part.targets for part in parts]).numpy().astype(np.int64),
            np.repeat([KINDS.index(part.kind) for part in parts], sizes).astype(np.int64),
            np.repeat(np.arange(len(parts)), sizes).astype(np.int64),
        )

    def save(self, directory: Path) -> None:
        """Write the fields; a log without its last file, `rounds.npy`, is unfinished."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in _FIELDS:
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)

    @classmethod
    def load(cls, directory: Path) -> "QueryLog":
        """Read a log, its images mapped from disk; raises `RedhandedError` if it is not whole."""
        try:
            arrays = {
                name: np.load(directory / f"{name}.npy", mmap_mode="r" if name == "images" else None)
                for name in _FIELDS
            }
        except (OSError, ValueError) as error:
            raise RedhandedError(
                f"log: {directory} is not a whole query log ({error}); run the attack again"
            ) from error
        if len({len(array) for array in arrays.values()}) != 1:
            raise RedhandedError(f"log: the files of {directory} differ in length; run the attack again")
        return cls(**arrays)
