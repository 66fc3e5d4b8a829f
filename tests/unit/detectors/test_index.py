"""Exact near-pair search against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redhanded.detectors.index import SLACK, NearPairIndex, distances, near_pairs, principal_axes

DETERMINISTIC = settings(derandomize=True, deadline=None, max_examples=60)


def clustered(seed: int, n: int, d: int, spread: float, norm: float = 1.0) -> np.ndarray:
    """Rows around a few far centres, with some exact repeats."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(1, n // 6), d)) * norm / np.sqrt(d)
    rows = centres[rng.integers(0, len(centres), n)] + rng.normal(size=(n, d)) * spread / np.sqrt(d)
    rows[rng.random(n) < 0.1] = rows[0] if n else 0
    return rows.astype(np.float32)


def brute(rows: np.ndarray, radius: float) -> list[tuple[int, int, float]]:
    """Every pair (later, earlier, distance), by the definition."""
    wide = rows.astype(np.float64)
    return [
        (i, j, measured)
        for i in range(len(rows))
        for j in range(i)
        if (measured := float(np.sqrt(((wide[j] - wide[i]) ** 2).sum()))) < radius
    ]


def found(rows: np.ndarray, radius: float, **how: int) -> list[tuple[int, int, float]]:
    blocks = list(near_pairs(rows, radius, **how))
    return [pair for block in blocks for pair in zip(*(part.tolist() for part in block), strict=True)]


def asked(rows: np.ndarray, radius: float, axes: np.ndarray | None) -> list[tuple[int, int, float]]:
    """The same pairs from a growing index, one query after the other."""
    index, pairs = NearPairIndex(rows.shape[1], radius, axes), []
    for i, row in enumerate(rows):
        places, measured = index.near(row)
        pairs += [(i, j, m) for j, m in zip(places.tolist(), measured.tolist(), strict=True)]
        index.append(row)
    np.testing.assert_array_equal(index.rows, rows)
    assert len(index) == len(rows)
    return pairs


SCENES = {
    "seed": st.integers(0, 10**6),
    "n": st.integers(0, 70),
    "d": st.sampled_from([1, 2, 3, 5, 16, 130]),
    "norm": st.sampled_from([0.0, 1.0, 50.0, 1000.0]),
    "spread": st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
    "factor": st.sampled_from([0.3, 1.0, 1.4, 3.0]),
}


@DETERMINISTIC
@given(**SCENES, axes=st.sampled_from([0, 1, 2, 8]), block=st.sampled_from([1, 7, 2048]))
def test_near_pairs_are_the_pairs_by_definition(
    seed: int, n: int, d: int, norm: float, spread: float, factor: float, axes: int, block: int
) -> None:
    rows, radius = clustered(seed, n, d, spread, norm), factor * max(spread, 0.01)
    assert found(rows, radius, axes=axes, block=block) == brute(rows, radius)  # order and last bit included


@DETERMINISTIC
@given(**SCENES, axes=st.sampled_from([None, 0, 1, 2, 3, 4]))
def test_a_growing_index_answers_by_definition(
    seed: int, n: int, d: int, norm: float, spread: float, factor: float, axes: int | None
) -> None:
    rows, radius = clustered(seed, n, d, spread, norm), factor * max(spread, 0.01)
    kept = None if axes is None else principal_axes(rows, axes)
    assert asked(rows, radius, kept) == brute(rows, radius)


@pytest.mark.parametrize("count", [0, 1, 2, 9])
def test_equal_rows_are_pairs_at_distance_zero(count: int) -> None:
    rows = np.full((count, 5), 3.7, np.float32)
    pairs = [(i, j, 0.0) for i in range(count) for j in range(i)]
    assert found(rows, 1e-9) == pairs
    assert asked(rows, 1e-9, principal_axes(rows)) == pairs
    assert found(rows, 0.0) == []


def test_nearer_is_strict() -> None:
    rows = np.array([[0, 0], [3, 4]], np.float32)
    for radius, expected in ((5.0, []), (np.nextafter(5.0, 6), [(1, 0, 5.0)])):
        assert found(rows, float(radius)) == expected
        assert asked(rows, float(radius), np.eye(2, dtype=np.float32)) == expected


@pytest.mark.parametrize("order", ["C", "F"])
def test_one_pair_has_one_distance_whoever_asks(order: str) -> None:
    """Summed in another order, a distance differs in its last bits, and a verdict may differ at the edge."""
    rows = np.asarray(np.random.default_rng(0).normal(size=(400, 256)), np.float32, order=order)
    among = {(i, j): measured for i, j, measured in found(rows, 1e9)}
    for i in (1, 7, 399):
        one_by_one = [float(distances(rows[i], rows[j : j + 1])[0]) for j in range(i)]
        assert distances(rows[i], rows[:i]).tolist() == one_by_one == [among[i, j] for j in range(i)]
        assert distances(np.ascontiguousarray(rows[i]), np.ascontiguousarray(rows[:i])).tolist() == one_by_one
    assert [len(set(among)), len(among)] == [400 * 399 // 2] * 2


@DETERMINISTIC
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40), d=st.integers(1, 20), count=st.integers(0, 8))
def test_principal_axes_are_orthonormal_and_sorted_by_spread(seed: int, n: int, d: int, count: int) -> None:
    rows = clustered(seed, n, d, 0.3, 40.0)
    axes = principal_axes(rows, count)
    assert axes.dtype == np.float32
    assert axes.shape[0] <= min(count, d)
    wide = axes.astype(np.float64)
    np.testing.assert_allclose(wide @ wide.T, np.eye(len(axes)), atol=3e-7)
    if n < 2:
        assert len(axes) == 0
        return
    spread = (rows.astype(np.float64) @ wide.T).var(axis=0)
    assert (np.diff(spread) <= 1e-6 * max(spread.max(initial=0), 1)).all()


def test_principal_axes_find_the_plane_that_rows_lie_in() -> None:
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(50, 2)))[0]
    rows = (rng.normal(size=(300, 2)) * [9, 3] @ plane.T + 5).astype(np.float32)
    axes = principal_axes(rows, 2).astype(np.float64)
    np.testing.assert_allclose(np.linalg.svd(axes @ plane)[1], 1, atol=1e-6)
    assert principal_axes(np.ones((9, 4), np.float32)).shape == (0, 4)
    assert principal_axes(np.ones((1, 4), np.float32)).shape == (0, 4)


@pytest.mark.parametrize("d", [2, 16, 256])
@pytest.mark.parametrize("count", [1, 3, 4, 8])
@pytest.mark.parametrize("norm", [1.0, 1e3])
def test_slack_covers_float32_axes_at_large_norms(d: int, count: int, norm: float) -> None:
    """Pairs along the axes, where a projection is as long as its difference, a hair below the radius."""
    rng, radius = np.random.default_rng(d + count), 1e-2
    base = rng.normal(size=(400, d)) * norm / np.sqrt(d)
    axes = principal_axes(base.astype(np.float32), count)
    wide = axes.astype(np.float64)
    # a direction in the axes' span is stretched by at most their largest singular value
    assert np.linalg.norm(wide, 2) < 1 + 0.5 * (SLACK - 1)
    directions = rng.normal(size=(400, len(axes))) @ wide
    directions[: len(axes)] = wide
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    moved = (base + radius * directions).astype(np.float32)
    rows = np.stack([base.astype(np.float32), moved], axis=1).reshape(-1, d)
    apart = distances(rows[1::2], rows[::2])
    # rounding to float32 moved the pairs to both sides of the radius: ask at each pair's own distance
    for k in range(0, 400, 40 if count == 8 else 4):  # 3^8 cells are slow to make
        two = rows[2 * k : 2 * k + 2]
        for edge, near in ((np.nextafter(apart[k], np.inf), 1), (apart[k], 0)):
            index = NearPairIndex(d, float(edge), axes)
            index.append(two[0])
            assert len(index.near(two[1])[0]) == near
    edge = float(np.median(apart))
    assert {i // 2 for i, j, _ in found(rows, edge, axes=count) if i - j == 1 and i % 2} == set(
        np.flatnonzero(apart < edge).tolist()
    )


def test_projections_of_float32_axes_err_far_less_than_the_slack() -> None:
    """The rounding of a float64 projection grows with the norm, the slack only with the radius."""
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(500, 256)) * 1e3 / 16).astype(np.float32)
    axes = principal_axes(rows, 4).astype(np.float64)
    exact = rows.astype(np.longdouble) @ axes.T.astype(np.longdouble)
    error = float(np.abs(rows.astype(np.float64) @ axes.T - exact).max())
    assert 2 * error < 1e-2 * (SLACK - 1) / 1e3
