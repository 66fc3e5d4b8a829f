"""The main job end to end: a thief clones a model, the guard watches, and the bill is shown."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors.numpy import load_file

from redhanded.experiments.cells import Detect, Honest, TrainEncoder, TrainVictim
from redhanded.experiments.pages.demo_view import (
    HONEST,
    BenignRow,
    EncoderRow,
    FlaggedPair,
    Row,
    Stream,
    View,
)
from redhanded.experiments.runner.context import Cell, Context
from redhanded.experiments.runner.store import Record
from redhanded.experiments.worlds.world import World
from redhanded.lab.encoders.similarity import Loss

T = TypeVar("T", Row, BenignRow, EncoderRow)


@dataclass(frozen=True)
class Demo:
    """The cells of the demonstration in one world."""

    world: World
    victim: TrainVictim
    encoders: tuple[TrainEncoder, ...]
    honest: tuple[Honest, ...]
    """Held-out natural streams; the first is of the victim's kind and sets the benign floor."""
    detections: tuple[Detect, ...]
    """Random sampling, the baseline, and the attacks, replayed before the detector."""

    @classmethod
    def of(cls, world: World, losses: tuple[Loss, ...] = ("per-pair",), seed: int = 0) -> "Demo":
        """Declare: a victim, an encoder a loss, random sampling, JB-top3 and JBA-PGD from many seeds."""
        calibration, honest = world.calibrate(), world.honest_user()
        heldout = (stream for stream in world.natural.values() if not set(stream) & set(world.tuning))
        streams = (honest, *(Honest(calibration, stream) for stream in heldout))
        n_seed = world.n_seed_large
        stolen = (
            world.random_sampling(n_seed, seed),
            *(world.extract(name, n_seed, seed) for name in ("jb-top3", "jba-pgd")),
        )
        return cls(
            world,
            world.train_victim(),
            tuple(world.train_encoder(loss) for loss in losses),
            streams,
            tuple(Detect(calibration, extraction, honest) for extraction in stolen),
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All of them, in the order of the story."""
        honest, *others = self.honest
        first: tuple[Cell, ...] = (self.victim, self.encoders[0], honest)
        more = self.encoders[1:]
        tuned = (self.world.calibrate(encoder.config.loss) for encoder in more)
        return (*first, *self.detections, *others, *more, *tuned)

    def view(self, context: Context) -> View:
        """Gather the finished cells into what the page shows."""
        calibration = context.record(self.detections[0].calibration)
        records = [context.record(cell) for cell in everything(self.cells)]
        return View(
            title="A thief clones a model, and is caught",
            world=f"{self.world.name}: {self.world.title}",
            victim_accuracy=records[0]["accuracy"],
            rows=tuple(_of(Row, context.record(cell)) for cell in self.detections),
            streams=(
                *(self._stream(cell, context) for cell in self.detections),
                _stream(HONEST, context.artefact(self.honest[0]), ()),
            ),
            delta=calibration["delta"],
            fpr_target=calibration["target"],
            calibration_length=calibration["length"],
            heldout=tuple(
                _of(BenignRow, record | {"name": record["stream"], "length": record["queries"]})
                for record in map(context.record, self.honest)
            ),
            encoders=tuple(self._encoder(cell, context) for cell in self.encoders),
            seconds=sum(record["seconds"] for record in records),
            provenance={
                **{
                    name: ", ".join(dict.fromkeys(str(record[name]) for record in records))
                    for name in ("revision", "redhanded", "torch", "python", "device")
                },
                "machine": platform.platform(terse=True),
            },
        )

    def _stream(self, cell: Detect, context: Context) -> Stream:
        stolen = context.record(cell.extraction)
        curve = zip(stolen["round_queries"], stolen["round_accuracy"], strict=True)
        return _stream(cell.extraction.name, context.artefact(cell), tuple(curve))

    def _encoder(self, cell: TrainEncoder, context: Context) -> EncoderRow:
        tuned = context.record(self.world.calibrate(cell.config.loss))
        named = {"loss": cell.config.loss, "delta": tuned["delta"]}
        return _of(EncoderRow, context.record(cell) | named)


def everything(cells: Iterable[Cell]) -> list[Cell]:
    """Return cells and all they need, each once, in the order given."""
    found: dict[Cell, None] = {}
    for cell in cells:
        found.setdefault(cell)
        for need in everything(cell.needs):
            found.setdefault(need)
    return list(found)


def _stream(name: str, folder: Path, accuracy: tuple[tuple[int, float], ...]) -> Stream:
    kept = load_file(folder / "detection.safetensors")
    pairs = tuple(
        FlaggedPair(query, neighbour, float(kept["scores"][place]))
        for place, (query, neighbour) in zip(kept["shown"], kept["pairs"], strict=True)
    )
    return Stream(name, kept["counts"], kept["bans"], kept["nearest"].astype(np.float64), pairs, accuracy)


def _of(kind: type[T], record: Record) -> T:
    """A row, whose fields are named like a record's."""
    return kind(**{name: record[name] for name in kind.__annotations__})
