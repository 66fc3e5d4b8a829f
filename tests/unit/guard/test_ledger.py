"""The ledger in memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from redhanded.guard import Ban, MemoryLedger


def rows(*values: float) -> np.ndarray:
    return np.array(values, np.float32).reshape(-1, 1)


def test_append_returns_its_place_and_what_the_caller_has_not_seen() -> None:
    ledger = MemoryLedger()
    position, unseen = ledger.append("a", rows(1, 2), 0)
    assert (position, unseen.tolist()) == (0, [[1], [2]])
    position, unseen = ledger.append("a", rows(3), 2)
    assert (position, unseen.tolist()) == (2, [[3]])
    position, unseen = ledger.append("a", rows(4), 0)
    assert (position, unseen.tolist()) == (3, [[1], [2], [3], [4]])
    assert ledger.append("b", rows(9), 0)[0] == 0


def test_appending_nothing_returns_what_others_appended() -> None:
    ledger = MemoryLedger()
    assert ledger.append("a", rows(), 0)[1].shape == (0, 1)
    ledger.append("a", rows(1, 2), 0)
    position, unseen = ledger.append("a", rows(), 1)
    assert (position, unseen.tolist()) == (2, [[2]])


def test_the_log_does_not_change_with_the_callers_array() -> None:
    ledger, mine = MemoryLedger(), rows(1, 2)
    _, unseen = ledger.append("a", mine, 0)
    mine[:] = 7
    unseen[:] = 8
    assert ledger.append("a", rows(3), 0)[1].tolist() == [[1], [2], [3]]


def test_the_first_ban_stands_and_concerns_one_account() -> None:
    ledger = MemoryLedger()
    assert ledger.ban("a") is None
    ledger.close("a", Ban(4))
    ledger.close("a", Ban(9))
    assert ledger.ban("a") == Ban(4)
    assert ledger.ban("b") is None


def test_threads_append_whole_batches_without_gaps() -> None:
    ledger = MemoryLedger()

    def append(k: int) -> tuple[int, int]:
        return ledger.append("a", rows(k, k, k), 0)[0], k

    with ThreadPoolExecutor(8) as pool:
        places = sorted(pool.map(append, range(200)))
    assert [place for place, _ in places] == list(range(0, 600, 3))
    _, log = ledger.append("a", rows(), 0)
    assert log[:, 0].tolist() == [float(k) for _, k in places for _ in range(3)]
