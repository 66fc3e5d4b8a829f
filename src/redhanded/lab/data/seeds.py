"""Which images of a query set become the thief's seeds."""

import numpy as np

from redhanded.errors import RedhandedError
from redhanded.types import Int, Int64


def draw_seeds(
    labels: Int[np.ndarray, " images"], n: int, seed: int, *, balanced: bool, classes: int
) -> Int64[np.ndarray, " seeds"]:
    """Draw a thief's `n` seeds: equal arguments draw equal seeds, so that attacks compare.

    Raises `RedhandedError` if the set has too few images, or too few of a class.
    """
    rng = np.random.default_rng([seed, n])
    return balanced_indices(labels, n, rng, classes) if balanced else uniform_indices(len(labels), n, rng)


def balanced_indices(
    labels: Int[np.ndarray, " images"], n: int, rng: np.random.Generator, classes: int
) -> Int64[np.ndarray, " seeds"]:
    """Draw `n` different indices, equally many of each class, in random order.

    What does not divide evenly goes, one each, to randomly drawn classes. Raises `RedhandedError` if there
    are fewer seeds than classes, or too few images of a class.
    """
    if n < classes:
        raise RedhandedError(f"n_seed: {n} seeds for {classes} classes; ask for at least {classes}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise RedhandedError(
            f"labels: {labels.min()}..{labels.max()} for {classes} classes; give all classes"
        )
    counts = np.bincount(labels, minlength=classes)
    share, rest = divmod(n, classes)
    able = np.flatnonzero(counts > share)
    if counts.min() < share or len(able) < rest:
        scarcest = int(counts.argmin())
        raise RedhandedError(
            f"n_seed: {n} seeds need {share + (rest > 0)} images of each class, class {scarcest} has "
            f"{counts[scarcest]}; ask for at most {classes * counts[scarcest]} or draw without balance"
        )
    quota = np.full(classes, share)
    quota[rng.choice(able, rest, replace=False)] += 1
    drawn = [
        rng.choice(np.flatnonzero(labels == label), size, replace=False) for label, size in enumerate(quota)
    ]
    return rng.permutation(np.concatenate(drawn)).astype(np.int64)


def uniform_indices(images: int, n: int, rng: np.random.Generator) -> Int64[np.ndarray, " seeds"]:
    """Draw `n` different indices of `images` without regard to class, as the released code does."""
    if not 0 < n <= images:
        raise RedhandedError(f"n_seed: {n} seeds of {images} images; ask for 1 to {images}")
    return rng.choice(images, n, replace=False).astype(np.int64)
