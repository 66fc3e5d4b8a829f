"""Query filtering (§VII-B): the thief's own detector drops what the victim's might flag."""

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from redhanded.detectors.base import Arrays, Detector
from redhanded.detectors.similarity import SimilarityDetector
from redhanded.errors import RedhandedError
from redhanded.lab.types import Adaptation, Adapted, Images, Kind
from redhanded.types import Bool, FeatureArray, ImageArray, OutputArray

D = TypeVar("D", bound=Detector[Any])
Guess = Callable[[ImageArray], OutputArray]
"""The thief's own guess of the answers, by a model of its own."""

BLOCK = 256
"""Most queries judged ahead at once; it changes no decision."""
COUNTS = ("held", "passed", "dropped")


@dataclass(frozen=True)
class Filtering:
    """What is filtered, and what the substitute remembers.

    Defaults are the released settings. Source: paper §VII-B and the authors' `detector_adv.py`.
    """

    everywhere: bool = False
    """Filter a gradient's queries too; DFME needs them, so by default they pass unremembered (§VII-B)."""
    seeds_in_history: bool = False
    """Compare queries with the seeds too, which are always sent."""
    capacity: int | None = None
    """Forget the whole history when it holds so many, as the detectors do; None never forgets."""

    def __post_init__(self) -> None:
        if self.capacity is not None and self.capacity < 2:
            raise RedhandedError(f"capacity: {self.capacity} must be at least 2, or None to never forget")

    @property
    def kinds(self) -> frozenset[Kind]:
        chosen: frozenset[Kind] = frozenset({"augmented", "student", "pool"})
        return chosen | {"gradient"} if self.everywhere else chosen


class QueryFilter:
    """An adaptation that keeps only queries which its substitute would not flag; made anew for each attack.

    Queries are judged one after the other, as they will be sent (in [0, 1]), against the history of those
    that passed. One that would be flagged, or would close an account, is dropped for good: not sent, not
    counted, not remembered. The others join the history.
    """

    def __init__(
        self, substitute: Detector[Any], config: Filtering = Filtering(), guess: Guess | None = None
    ) -> None:
        """Raise `RedhandedError` if the substitute judges by answers, not given yet, and `guess` is None."""
        if substitute.needs_outputs and guess is None:
            raise RedhandedError(
                f"guess: {type(substitute).__name__} judges by answers, and filtering comes before them; "
                "give a model of the thief's own that guesses them"
            )
        self.config = config
        self._guess = guess if substitute.needs_outputs else None
        self._detector = _unbanning(substitute)
        self._memory = self._detector.new_memory()
        self.held = 0
        """Queries in the history."""
        self.passed = 0
        """Queries of the filtered kinds that were kept."""
        self.dropped = 0
        self._block = BLOCK

    def __call__(self, images: Images, kind: Kind) -> Adapted:
        """Return which of images [n, c, h, w] are kept, and those as they came."""
        keep = np.ones(len(images), bool)
        filtered = kind in self.config.kinds
        if len(images) and (filtered or (kind == "seed" and self.config.seeds_in_history)):
            asked = images.detach().clamp(0, 1).cpu().numpy()
            rows = self._detector.features(asked)
            outputs = None if self._guess is None else self._guess(asked)
            if filtered:
                keep = self._filter(rows, outputs)
                self.passed += int(keep.sum())
                self.dropped += int((~keep).sum())
            else:
                self._remember(rows, outputs)
        kept = torch.from_numpy(keep).to(images.device)
        return Adapted(kept, images[kept])

    def dump(self) -> tuple[Arrays, dict[str, int]]:
        return self._detector.dump(self._memory), {name: getattr(self, name) for name in COUNTS}

    def restore(self, memory: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> None:
        self._memory = self._detector.restore(memory)
        for name in COUNTS:
            setattr(self, name, counts[name])

    def _filter(self, rows: FeatureArray, outputs: OutputArray | None) -> Bool[np.ndarray, " n"]:
        if isinstance(self._detector, SimilarityDetector):
            return self._filter_near(self._detector, rows)
        keep = np.ones(len(rows), bool)
        at = 0
        while at < len(rows):
            stop = min(len(rows), at + self._block, at + self._room)
            passed = self._passing(rows[at:stop], None if outputs is None else outputs[at:stop])
            at += passed
            if at < stop:
                keep[at] = False
                at += 1
            # after a refusal, which costs a copy of the history, look less far ahead
            self._block = min(BLOCK, 2 * self._block) if at == stop else max(1, self._block // 2)
        return keep

    def _filter_near(self, detector: SimilarityDetector, rows: FeatureArray) -> Bool[np.ndarray, " n"]:
        """Look before remembering: the index answers without taking the query in."""
        keep = np.ones(len(rows), bool)
        for place, row in enumerate(rows):
            index = self._memory.index
            keep[place] = not (len(index) and len(index.near(row)[0]))
            if keep[place]:
                detector.update(self._memory, rows[place : place + 1])
                self._joined(1)
        return keep

    def _passing(self, rows: FeatureArray, outputs: OutputArray | None) -> int:
        """Return how many queries pass before the first that would not; remember those, and only those.

        For any detector: all are folded into the memory, and if one is flagged the copy from before them is
        folded again as far as that one. A memory is a fold, so batches do not matter.
        """
        before = deepcopy(self._memory)
        verdict = self._detector.update(self._memory, rows, outputs)
        suspicious = verdict.counts > 0
        if verdict.banned_at is not None:
            suspicious[verdict.banned_at] = True
        passed = int(suspicious.argmax()) if suspicious.any() else len(rows)
        if passed < len(rows):
            self._memory = before
            self._detector.update(before, rows[:passed], None if outputs is None else outputs[:passed])
        self._joined(passed)
        return passed

    def _remember(self, rows: FeatureArray, outputs: OutputArray | None) -> None:
        """Take queries into the history whatever the substitute thinks of them."""
        at = 0
        while at < len(rows):
            stop = min(len(rows), at + self._room)
            verdict = self._detector.update(
                self._memory, rows[at:stop], None if outputs is None else outputs[at:stop]
            )
            self._memory.banned = False  # of a detector that knows no quota
            at += verdict.judged
            self._joined(verdict.judged)

    @property
    def _room(self) -> int:
        return sys.maxsize if self.config.capacity is None else self.config.capacity - self.held

    def _joined(self, count: int) -> None:
        self.held += count
        if self.held == self.config.capacity:
            self._memory, self.held = self._detector.new_memory(), 0


def _unbanning(detector: Any) -> Any:
    """Return the detector with a quota that no seed's flags can reach, where it has one."""
    if is_dataclass(detector) and not isinstance(detector, type) and hasattr(detector, "flags_to_ban"):
        unbanning: Any = replace(detector, flags_to_ban=sys.maxsize)
        return unbanning
    return detector


def chain(first: Adaptation, second: Adaptation) -> Adaptation:
    """Return the adaptation that hands what `first` sends to `second`: a filter, then a blinder."""

    def adapt(images: Images, kind: Kind) -> Adapted:
        keep, sent = first(images, kind)
        if len(sent) == 0:
            return Adapted(keep, sent)
        again, sent = second(sent, kind)
        both = keep.clone()
        both[keep] = again.to(keep.device)
        return Adapted(both, sent)

    return adapt
