"""An extraction too long to log: detectors judge it as it goes, and it resumes where it was cut short."""

from dataclasses import dataclass
from typing import Any

import torch

from redhanded.errors import RedhandedError
from redhanded.experiments.cells.adapt import Chained
from redhanded.experiments.cells.base import Keyed
from redhanded.experiments.cells.calibrate import Calibrate
from redhanded.experiments.cells.detect import Honest
from redhanded.experiments.cells.extract import Extract
from redhanded.experiments.cells.tune import Tune
from redhanded.experiments.cells.tuned import digest_of
from redhanded.experiments.measure.live import Bench, Remembering, SaveFile
from redhanded.experiments.measure.steal import Tally
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.lab.adaptive.filtering import QueryFilter, chain
from redhanded.lab.attacks import Dfme
from redhanded.lab.types import Adaptation, Round


@dataclass(frozen=True)
class Watched(Keyed):
    """Steal as `extraction` does, before detectors that judge each query when it is sent.

    Its queries, clone and verdicts are those of the extraction and of its replays by `Detect`, query for
    query, but no image outlives its round: an account's memory is all that is kept. The first judge's
    figures stand in the record as a detection's; further ones' begin with their title.
    """

    extraction: Extract
    judges: tuple[Calibrate | Tune, ...]
    honest: tuple[Honest, ...]
    """For each judge, a held-out natural stream: what an honest user would have been charged."""

    def __post_init__(self) -> None:
        titles = [judge.title for judge in self.judges]
        if len(set(titles)) < len(titles):
            raise RedhandedError(f"judges: two of {', '.join(titles)} have one title; watch with each alone")
        if tuple(honest.calibration for honest in self.honest) != self.judges:
            raise RedhandedError("honest: not the judges' own; give an honest user of each, in their order")

    @property
    def resumes(self) -> bool:
        """Only data-free extraction says what it consists of; other attacks start again."""
        return isinstance(self.extraction.attack, Dfme)

    @property
    def needs(self) -> tuple[Cell, ...]:
        return (*self.extraction.needs, *self.judges, *self.honest)

    @property
    def label(self) -> str:
        return f"watched-{self._titles}-" + self.extraction.label.removeprefix("extraction-")

    @property
    def _titles(self) -> str:
        return "+".join(judge.title for judge in self.judges) or "nobody"

    def described(self) -> Record:
        found = self.extraction.described()
        for judge in reversed(self.judges):
            found |= self._named(judge, judge.detector_fields())
        return found | {
            "kind": "detection",
            "detectors": self._titles,
            "stream": self.extraction.key,
            "seed": self.extraction.seed,
        }

    def _named(self, judge: Calibrate | Tune, values: Record) -> Record:
        """Tell the figures of all judges but the first by their title."""
        before = "" if judge == self.judges[0] else f"{judge.title}_"
        return {before + name: value for name, value in values.items()}

    def seen_by(self, judge: Calibrate | Tune, record: Record) -> Record:
        """Return what a record of it says of the theft and of one judge, as a detection's record does."""
        mine, named = f"{judge.title}_", tuple(f"{further.title}_" for further in self.judges[1:])
        found = {name: value for name, value in record.items() if not name.startswith(named)}
        return found | {name.removeprefix(mine): record[name] for name in record if name.startswith(mine)}

    def run(self, context: Context) -> Record:
        """Attack, judge each round, and price what was judged."""
        generator = context.generator(self.extraction)  # its queries, whoever watches
        adapt, history = self._adaptation(context, generator)
        benches = {judge.title: Bench(judge.load(context)) for judge in self.judges}
        further: dict[str, Any] = {} if adapt is None else {"adapt": adapt}
        watch, tally = self.extraction.characteriser(context), Tally()
        if self.resumes:
            memories: dict[str, Remembering] = dict(benches)
            if history is not None:
                memories["filter"] = history
            further["saver"] = SaveFile(context.checkpoint(self, "attack"), tally, watch, memories)
            further["saver"].restore()

        def judged(part: Round) -> None:
            for bench in benches.values():
                bench(part)

        clone, found = self.extraction.carry_out(
            context, generator, watch, log=judged, tally=tally, **further
        )
        self.save_model(clone, context)
        for judge, honest, bench in zip(self.judges, self.honest, benches.values(), strict=True):
            by = digest_of(context.artefact(judge))
            beside = honest.price(bench.detector, bench.queries, context) | honest.rates(context)
            found |= self._named(judge, by | bench.found() | beside)
        return found

    def _adaptation(
        self, context: Context, generator: torch.Generator
    ) -> tuple[Adaptation | None, QueryFilter | None]:
        """Return what the thief does to its queries, and what of it remembers them."""
        adapted = self.extraction.adaptation
        if isinstance(adapted, Chained):
            first = adapted.first.make(context, generator)
            return chain(first, adapted.second.make(context, generator)), first
        made = None if adapted is None else adapted.make(context, generator)
        return made, made if isinstance(made, QueryFilter) else None
