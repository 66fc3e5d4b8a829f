"""Exact search for the nearest among an account's own queries.

A float32 matrix product over many queries nominates, with a slack above its rounding, and the float64
distance decides.
"""

import numpy as np

from redhanded.detectors.index import Growing, distances
from redhanded.types import FeatureArray, Float32, Float64, Int

BLOCK = 256
"""Queries whose matrix products are taken at once: enough to reuse the history, 61 MB against 60,000 rows."""


class History:
    """Features in order of arrival, at first a copy of those given, and squared norms for estimates."""

    def __init__(self, features: FeatureArray) -> None:
        self._features = Growing(features)
        self._norms = Growing(np.square(features, dtype=np.float64).sum(axis=1))

    @classmethod
    def empty(cls, dimensions: int) -> "History":
        return cls(np.empty((0, dimensions), np.float32))

    def __len__(self) -> int:
        return len(self._features)

    @property
    def features(self) -> FeatureArray:
        """The features [n, d]; a view."""
        return self._features.rows

    @property
    def norms(self) -> Float64[np.ndarray, " n"]:
        return self._norms.rows

    def append(self, feature: np.ndarray, norm: float) -> None:
        """Add one feature [d] and its squared norm."""
        self._features.append(feature)
        self._norms.append(norm)

    def estimates(self, queries: "History") -> Float32[np.ndarray, "m n"]:
        """Squared distances of queries [m, d] to these [n, d] up to float32's rounding of the norms."""
        estimates = queries.features @ self.features.T
        estimates *= np.float32(-2)
        estimates += self.norms.astype(np.float32)
        estimates += queries.norms.astype(np.float32)[:, None]
        return np.asarray(estimates)


class Search:
    """Queries [m, d] that ask one after the other for the nearest in a history, and join it in their order.

    While it is in use, nothing else may be added to the history.
    """

    def __init__(self, history: History, queries: FeatureArray) -> None:
        self.history, self._queries = history, History(queries)
        self._before = history.estimates(self._queries)
        self._among = self._queries.estimates(self._queries)
        self._joined: list[int] = []
        # With M the largest norm and u = 2^-24, a float32 product of d terms errs by at most d u M^2 in any
        # order of summation, so |q|^2 + |h|^2 - 2 q.h by (2 d + 10) u M^2. A row among the nearest is
        # estimated at most twice that above the last estimate of as many rows; doubled again, to cover d^2
        # terms and the rounding of the bound itself.
        largest = max(self._queries.norms.max(initial=0.0), history.norms.max(initial=0.0))
        dimensions = queries.shape[1]
        self._slack = (8 * dimensions + 64) * (2.0**-24 * float(largest) + float(np.finfo(np.float32).tiny))

    def nearest(self, place: int, count: int) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """Return places and distances of the `count` rows nearest to a query (or all), the nearest first.

        Of equally near rows the earliest come first.
        """
        estimates = np.concatenate([self._before[place], self._among[place][self._joined]])
        if len(estimates) > count:
            last = float(np.partition(estimates, count - 1)[count - 1])
            nominated = np.flatnonzero(estimates <= last + self._slack)
        else:
            nominated = np.arange(len(estimates))
        measured = distances(self._queries.features[place], self.history.features[nominated])
        order = np.argsort(measured, kind="stable")[:count]
        return nominated[order], measured[order]

    def join(self, place: int) -> None:
        self.history.append(self._queries.features[place], float(self._queries.norms[place]))
        self._joined.append(place)
