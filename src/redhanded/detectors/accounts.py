"""Ban, then a new account: a stream before a detector, account by account."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from redhanded.detectors.base import Arrays, Detector, Verdict
from redhanded.types import FeatureArray, OutputArray


class Accounts:
    """A sender who opens a new account at every ban, as the paper's thief does and an honest user must.

    Verdicts are those of mode `paper`: the query that closes an account is the last that it sends.
    """

    def __init__(self, detector: Detector[Any]) -> None:
        self.detector, self.memory = detector, detector.new_memory()

    def judge(self, features: FeatureArray, outputs: OutputArray | None = None) -> Iterator[Verdict]:
        """Judge queries [n, d], with the victim's answers [n, classes] for a detector that wants them.

        Yields a verdict for each account that sends some of them; all but the last end in a ban.
        """
        at = 0
        while at < len(features):
            rest = None if outputs is None or not self.detector.needs_outputs else outputs[at:]
            verdict = self.detector.update(self.memory, features[at:], rest)
            at += verdict.judged
            if verdict.banned_at is not None and self.detector.scope == "account":
                self.memory = self.detector.new_memory()
            yield verdict

    def dump(self) -> Arrays:
        return self.detector.dump(self.memory)

    def restore(self, memory: Mapping[str, np.ndarray]) -> None:
        self.memory = self.detector.restore(memory)


def benign_floor(
    detector: Detector[Any], features: FeatureArray, answers: OutputArray | None, length: int
) -> dict[str, float | bool]:
    """The bans that an honest stream of `length` queries makes, in fractions: its flags over the quota.

    The honest queries [n, d] are cut into streams of that length, each of a fresh account: an account's
    first queries have little to be near to. If they are fewer, their flags are scaled up, and
    `benign_floor_extrapolated` says so.
    """
    n = len(features)
    size = min(length, n)
    pieces = max(1, n // max(length, 1))
    flags = 0
    for at in range(0, pieces * size, max(size, 1)):
        piece = slice(at, at + size)
        verdicts = Accounts(detector).judge(features[piece], None if answers is None else answers[piece])
        flags += sum(verdict.flags for verdict in verdicts)
    quota = getattr(detector, "flags_to_ban", 1)
    return {
        "benign_floor": flags / max(pieces * size, 1) * length / quota,
        "benign_floor_extrapolated": length > n,
    }
