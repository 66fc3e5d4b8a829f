"""What every detector is: stateless features, and a fold over an account's log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, runtime_checkable

import numpy as np

from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray, Float64, ImageArray, Int, OutputArray

Scope = Literal["account", "global"]
Arrays = dict[str, np.ndarray]


@runtime_checkable
class Encoder(Protocol):
    """Images [n, c, h, w] in [0, 1] to features [n, d], float32, each row independent of the others."""

    @property
    def digest(self) -> str:
        """A hash of the weights: features of two encoders with equal digests may be compared."""
        ...

    def __call__(self, images: ImageArray) -> FeatureArray: ...


@dataclass(frozen=True)
class Verdict:
    """The judgement of the first `judged` queries of a batch, in arrival order.

    These are all, unless a query closes the account: `banned_at` is its place, and no later one is judged.
    """

    counts: Int[np.ndarray, " judged"]
    """What each query added to the account's flags: 0 or 1, or its number of near neighbours."""
    scores: Float64[np.ndarray, " judged"]
    """The statistic behind the flag (similarity: distance to the nearest neighbour; inf if none is near)."""
    nearest: Int[np.ndarray, " judged"]
    """Place in the account's log of the query that made this one suspicious; -1 if none."""
    banned_at: int | None = None

    @classmethod
    def joined(cls, parts: "Sequence[Verdict]") -> "Verdict":
        """Return verdicts that follow one another as one; only the last may hold a ban."""
        judged = sum(part.judged for part in parts)
        banned_at = judged - 1 if parts and parts[-1].banned_at is not None else None
        return cls(
            np.concatenate([*(part.counts for part in parts), np.empty(0, np.int64)]),
            np.concatenate([*(part.scores for part in parts), np.empty(0)]),
            np.concatenate([*(part.nearest for part in parts), np.empty(0, np.int64)]),
            banned_at,
        )

    @property
    def judged(self) -> int:
        return len(self.counts)

    @property
    def flags(self) -> int:
        return int(self.counts.sum())


@runtime_checkable
class Memory(Protocol):
    """What a detector remembers of one account."""

    banned: bool


M = TypeVar("M", bound=Memory)


@runtime_checkable
class Detector(Protocol[M]):
    """A judge that is shared by all accounts and never changes; what it learns lives in the memory.

    A memory is a deterministic fold of `update` over the account's log, however that was batched. One of
    scope "global" is never banned: `banned_at` names the query whose sender is to be closed, and the next
    call goes on judging.
    """

    @property
    def needs_outputs(self) -> bool:
        """Whether `update` wants the victim's answers."""
        ...

    @property
    def scope(self) -> Scope: ...  # whether a memory is of one account or of all

    def features(self, images: np.ndarray) -> FeatureArray:
        """Embed images [n, c, h, w] in [0, 1], each by itself; raises `RedhandedError` for anything else."""
        ...

    def new_memory(self) -> M: ...  # of an account that has sent nothing

    def update(self, memory: M, features: FeatureArray, outputs: OutputArray | None = None) -> Verdict:
        """Judge queries in arrival order, remembering them; stops at a ban, and judges nothing after it."""
        ...

    def dump(self, memory: M) -> Arrays:
        """Return the memory as plain arrays, enough for `restore`."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> M: ...  # from what `dump` returned


def check_images(images: np.ndarray, shape: tuple[int, int, int] | None = None) -> ImageArray:
    """Return images as contiguous float32; raises `RedhandedError` unless they are [n, *shape] in [0, 1]."""
    images = np.asarray(images)
    if images.ndim != 4:
        raise RedhandedError(
            f"images: expected shape [n, channels, height, width], got {list(images.shape)}; "
            "add the batch axis or transpose to channels first"
        )
    if not np.issubdtype(images.dtype, np.floating):
        raise RedhandedError(f"images: expected floats in [0, 1], got {images.dtype}; divide bytes by 255")
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if not np.isfinite([low, high]).all():  # extremes of NaN are NaN
        raise RedhandedError("images: pixels are NaN or infinite; send finite values in [0, 1]")
    if low < 0 or high > 1:
        raise RedhandedError(f"images: pixels run from {low:.3g} to {high:.3g}; scale them to [0, 1]")
    if shape is not None and images.shape[1:] != tuple(shape):
        raise RedhandedError(
            f"images: {list(images.shape[1:])} are not {list(shape)} (channels, height, width)"
            "; resize them, or make the detector with their image_shape"
        )
    return np.ascontiguousarray(images, dtype=np.float32)
