"""The cells: what can be measured, each a frozen value that names all it depends on."""

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import nn

from redhanded.detectors import SimilarityDetector
from redhanded.detectors.base import Encoder
from redhanded.detectors.bundle import load_bundle, save_bundle
from redhanded.detectors.calibrate import Replay, calibrate_similarity, rates
from redhanded.detectors.index import principal_axes
from redhanded.detectors.similarity import Count
from redhanded.experiments.canonical import key_of
from redhanded.experiments.context import Cell, Context
from redhanded.experiments.datasets import Data, as_floats, as_tensor
from redhanded.experiments.metrics import accuracy, agreement
from redhanded.experiments.querylog import QueryLog
from redhanded.experiments.replay import Detection, nearest_in_account, replay
from redhanded.experiments.steal import steal
from redhanded.experiments.store import Record
from redhanded.lab.attacks import Jba, RandomSampling
from redhanded.lab.data.seeds import draw_seeds
from redhanded.lab.encoders import (
    Contrastive,
    TorchEncoder,
    contrast,
    effective_rank,
    export_onnx,
    first_axis_share,
    pretrain,
)
from redhanded.lab.models import Architecture, SimNet, build
from redhanded.lab.training import Progress, Training, train_classifier
from redhanded.lab.types import Fidelity
from redhanded.lab.victim import HardLabels
from redhanded.types import FeatureArray

MODEL = "model.safetensors"
KEPT_PAIRS = 24
"""Flagged pairs of images that a detection keeps for the report."""


class _Keyed:
    @property
    def key(self) -> str:
        """Hash of everything that can move the result."""
        return key_of(self)


@dataclass(frozen=True)
class TrainVictim(_Keyed):
    """Train the model that will be stolen, or guarded."""

    world: str
    data: Data
    test: Data
    architecture: Architecture
    training: Training
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"victim-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "victim",
            "architecture": type(self.architecture).__name__,
            "query_set": self.data.name,
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure the test accuracy."""
        data, test = self.data.load(), self.test.load()
        classes = len(data.classes)
        generator = context.generator(self)
        model = build(self.architecture, classes, generator, context.device)
        with context.reporter(f"{self.label}: training") as progress:
            train_classifier(
                model,
                as_tensor(data.images, context.device),
                _one_hot(data.labels, classes, context.device),
                self.training,
                generator,
                progress=progress,
                checkpoint=context.checkpoint(self, "training"),
            )
        _save_model(model, context, self)
        found = accuracy(
            model, as_tensor(test.images, context.device), torch.from_numpy(test.labels).to(context.device)
        )
        return {"accuracy": found, "images": len(data), "classes": classes}

    def load(self, context: Context) -> nn.Module:
        """Return the trained victim."""
        return _load_model(self.architecture, int(context.record(self)["classes"]), context, self)


@dataclass(frozen=True)
class PretrainEncoder(_Keyed):
    """Train the similarity encoder as a classifier: the first stage, which both losses share."""

    world: str
    data: Data
    architecture: SimNet
    training: Training
    seed: int = 0

    version: ClassVar[int] = 2
    resumes: ClassVar[bool] = True
    needs: ClassVar[tuple[Cell, ...]] = ()

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"pretraining-{self.world}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "encoder",
            "stage": "pretraining",
            "architecture": type(self.architecture).__name__,
            "query_set": self.data.name,
            "epochs": self.training.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train and save the weights."""
        data = self.data.load()
        with context.reporter(f"{self.label}: training") as progress:
            encoder = pretrain(
                as_tensor(data.images, context.device),
                torch.from_numpy(data.labels).to(context.device),
                self.architecture,
                self.training,
                context.generator(self),
                progress=progress,
                checkpoint=context.checkpoint(self, "pretraining"),
            )
        _save_model(encoder, context, self)
        return {"images": len(data)}

    def load(self, context: Context) -> nn.Module:
        """Return the pre-trained encoder."""
        return _load_encoder(self.architecture, context, self)


@dataclass(frozen=True)
class TrainEncoder(_Keyed):
    """Teach the pre-trained encoder that slight changes do not matter: the second stage."""

    world: str
    data: Data
    probe: Data
    config: Contrastive
    seed: int = 0

    version: ClassVar[int] = 2
    resumes: ClassVar[bool] = True

    @property
    def pretraining(self) -> PretrainEncoder:
        """The first stage."""
        return PretrainEncoder(
            self.world, self.data, self.config.architecture, self.config.pretraining, self.seed
        )

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The first stage."""
        return (self.pretraining,)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"encoder-{self.world}-{self.config.loss}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "training",
            "world": self.world,
            "model": "encoder",
            "stage": "contrastive",
            "architecture": type(self.config.architecture).__name__,
            "loss": self.config.loss,
            "query_set": self.data.name,
            "epochs": self.config.contrastive.epochs,
            "pretraining_epochs": self.config.pretraining.epochs,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Train, save the weights, and measure how many directions the embedding uses."""
        data = self.data.load()
        encoder = self.pretraining.load(context)
        with context.reporter(f"{self.label}: training") as progress:
            contrast(
                encoder,
                as_tensor(data.images, context.device),
                self.config,
                context.generator(self),
                progress=progress,
                checkpoint=context.checkpoint(self, "contrastive"),
            )
        _save_model(encoder, context, self)
        features = TorchEncoder(encoder)(as_floats(self.probe.load().images))
        return {
            "images": len(data),
            "effective_rank": effective_rank(features),
            "first_axis_share": first_axis_share(features),
            "feature_spread": float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())),
        }

    def load(self, context: Context) -> Encoder:
        """Return the encoder: ONNX Runtime on a CPU that has the exporter, PyTorch elsewhere."""
        network = _load_encoder(self.config.architecture, context, self)
        if context.device.type == "cpu" and _has_exporter():
            return export_onnx(network)
        return TorchEncoder(network)


@dataclass(frozen=True)
class Calibrate(_Keyed):
    """Tune the similarity detector's threshold to a false-positive rate on benign images."""

    world: str
    encoder: TrainEncoder
    stream: tuple[Data, ...]
    fpr: float = 1e-4
    count: Count = "queries"
    flags_to_ban: int = 50
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The encoder."""
        return (self.encoder,)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"calibration-{self.world}-{self.encoder.config.loss}-{self.count}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "calibration",
            "world": self.world,
            "detector": "similarity",
            "loss": self.encoder.config.loss,
            "count": self.count,
            "flags_to_ban": self.flags_to_ban,
            "stream": "+".join(f"{part.name}/{_split(part)}" for part in self.stream),
            "target": self.fpr,
            "seed": self.seed,
            "encoder_key": self.encoder.key,
        }

    def run(self, context: Context) -> Record:
        """Embed the stream once, find δ, and write the bundle."""
        encoder = self.encoder.load(context)
        with context.reporter(f"{self.label}: embedding") as progress:
            features = embed_stream(encoder, self.stream, self.seed, progress)
        calibration, _ = calibrate_similarity(
            features, fpr=self.fpr, count=self.count, flags_to_ban=self.flags_to_ban
        )
        axes = principal_axes(features)
        detector = SimilarityDetector(encoder, calibration.delta, self.count, self.flags_to_ban, axes=axes)
        scratch = context.store.scratch(self)
        save_arrays({"axes": axes}, scratch / "detector.safetensors")
        if isinstance(encoder, TorchEncoder):  # no exporter here: `load` puts the parts together again
            (scratch / "detector.json").write_text(json.dumps({"delta": calibration.delta}), encoding="utf-8")
        else:
            provenance = {k: v for k, v in self.described().items() if k != "kind"}
            save_bundle(scratch / "bundle", detector, calibration, provenance)
        found = {**vars(calibration)}
        del found["count"], found["target"], found["flags_to_ban"]
        return found | {"encoder_digest": encoder.digest}

    def load(self, context: Context) -> SimilarityDetector:
        """Return the calibrated detector."""
        folder = context.artefact(self)
        if (folder / "bundle").is_dir():
            try:
                return load_bundle(folder / "bundle")
            except ModuleNotFoundError:  # a machine without ONNX Runtime goes through PyTorch
                pass
        return SimilarityDetector(
            self.encoder.load(context),
            float(context.record(self)["delta"]),
            self.count,
            self.flags_to_ban,
            axes=load_arrays(folder / "detector.safetensors")["axes"],
        )


@dataclass(frozen=True)
class Extract(_Keyed):
    """Steal the victim: run an attack from seeds of a query set, log its queries, measure the clone."""

    victim: TrainVictim
    attack: Jba | RandomSampling
    name: str
    query_set: Data
    n_seed: int
    surrogate: Architecture
    seed: int = 0
    balanced: bool = True
    fidelity: Fidelity = "corrected"

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False

    @property
    def world(self) -> str:
        """The victim's world."""
        return self.victim.world

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The victim."""
        return (self.victim,)

    @property
    def label(self) -> str:
        """A readable file name."""
        return f"extraction-{self.world}-{self.name}-{self.query_set.name}-{self.n_seed}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return {
            "kind": "extraction",
            "world": self.world,
            "attack": self.name,
            "query_set": self.query_set.name,
            "n_seed": self.n_seed,
            "budget": self.attack.budget,
            "order": self.attack.order,
            "fidelity": self.fidelity,
            "adaptation": "none",
            "surrogate": type(self.surrogate).__name__,
            "balanced": self.balanced,
            "seed": self.seed,
            "victim_key": self.victim.key,
        }

    def run(self, context: Context) -> Record:
        """Attack the unguarded victim; detection cells replay the log."""
        victim = self.victim.load(context)
        test = self.victim.test.load()
        images = as_tensor(test.images, context.device)
        labels = torch.from_numpy(test.labels).to(context.device)
        with context.reporter(f"{self.label}: queries") as progress:
            loot = steal(
                self.attack,
                HardLabels(victim),
                self.seeds(context),
                self.surrogate,
                int(context.record(self.victim)["classes"]),
                context.generator(self),
                score=lambda clone: accuracy(clone, images, labels),
                progress=progress,
            )
        loot.log.save(context.store.scratch(self) / "log")
        _save_model(loot.clone, context, self)
        return {
            "accuracy": loot.round_scores[-1],
            "agreement": agreement(loot.clone, victim, images),
            "victim_accuracy": float(context.record(self.victim)["accuracy"]),
            "queries": loot.queries,
            "round_queries": list(loot.round_queries),
            "round_accuracy": list(loot.round_scores),
        }

    def seeds(self, context: Context) -> torch.Tensor:
        """Draw the seeds; equal for all attacks of one query set, size and seed, so that they compare."""
        data = self.query_set.load()
        places = draw_seeds(
            data.labels, self.n_seed, self.seed, balanced=self.balanced, classes=len(data.classes)
        )
        return as_tensor(data.images[places], context.device)

    def log(self, context: Context) -> QueryLog:
        """Return the stream of queries."""
        return QueryLog.load(context.artefact(self) / "log")


@dataclass(frozen=True)
class Honest(_Keyed):
    """An honest user sends every image of some natural sets: what the guard does to it is its cost."""

    calibration: Calibrate
    stream: tuple[Data, ...]
    seed: int = 0

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False
    kind: ClassVar[Literal["detection"]] = "detection"

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The detector."""
        return (self.calibration,)

    @property
    def stream_name(self) -> str:
        """The sets sent."""
        return "+".join(f"{part.name}/{_split(part)}" for part in self.stream)

    @property
    def label(self) -> str:
        """A readable file name."""
        names = "+".join(part.name for part in self.stream)
        loss = self.calibration.encoder.config.loss
        return f"honest-{self.calibration.world}-{loss}-{self.calibration.count}-{names}-{self.seed}"

    def described(self) -> Record:
        """Return every varied field, flat."""
        return _detection_fields(self.calibration) | {
            "attack": "none",
            "stream": self.stream_name,
            "seed": self.seed,
        }

    def run(self, context: Context) -> Record:
        """Send the stream as one user whose account is replaced at bans."""
        images = benign_stream(self.stream, self.seed)
        stream, detector = as_floats(images), self.calibration.load(context)
        found = replay(detector, stream)
        _save_detection(found, detector, stream, context, self)
        return _detection_metrics(found, self.calibration.flags_to_ban)


@dataclass(frozen=True)
class Detect(_Keyed):
    """Replay an attack's queries before the guard, and price them."""

    calibration: Calibrate
    extraction: Extract
    honest: Honest
    """A held-out natural stream: what an honest user would have been charged."""

    version: ClassVar[int] = 1
    resumes: ClassVar[bool] = False

    @property
    def needs(self) -> tuple[Cell, ...]:
        """The detector, the stream, and the honest user beside it."""
        return (self.calibration, self.extraction, self.honest)

    @property
    def label(self) -> str:
        """A readable file name."""
        loss, count = self.calibration.encoder.config.loss, self.calibration.count
        return f"detection-{loss}-{count}-" + self.extraction.label.removeprefix("extraction-")

    def described(self) -> Record:
        """Return every varied field, flat."""
        thief = self.extraction.described()
        del thief["kind"]
        return (
            thief
            | _detection_fields(self.calibration)
            | {
                "stream": self.extraction.key,
                "seed": self.extraction.seed,
            }
        )

    def run(self, context: Context) -> Record:
        """Replay the log."""
        log = self.extraction.log(context)
        detector = self.calibration.load(context)
        found = replay(detector, log.images, log.outputs)
        _save_detection(found, detector, log.images, context, self)
        honest = context.record(self.honest)
        stolen = context.record(self.extraction)
        floor = honest["flags"] / honest["queries"] * len(log) / self.calibration.flags_to_ban
        kept = {name: stolen[name] for name in ("accuracy", "agreement", "victim_accuracy")}
        measured = _detection_metrics(found, self.calibration.flags_to_ban)
        # the rate at which an attack is banned is no false-positive rate; that one is the honest user's
        charged = {name: honest[name] for name in ("fpr", "fpr_low", "fpr_high")}
        return kept | measured | charged | {"benign_floor": floor}


def benign_stream(stream: tuple[Data, ...], seed: int) -> np.ndarray:
    """Return the images of all sets as bytes [n, h, w, c]: one set after the other, each in a seeded order.

    So the reference sends them (CIFAR-10 train, test, then CINIC-10, each shuffled): it decides which images
    share an account.
    """
    parts = []
    for part in stream:
        images = part.load().images
        parts.append(images[np.random.default_rng([seed, len(images)]).permutation(len(images))])
    return np.concatenate(parts)


def embed_stream(encoder: Encoder, stream: tuple[Data, ...], seed: int, progress: Progress) -> FeatureArray:
    """Embed a benign stream in chunks: features [n, d]."""
    images = benign_stream(stream, seed)
    parts = []
    for at in range(0, len(images), 1024):
        parts.append(encoder(as_floats(images[at : at + 1024])))
        progress(min(at + 1024, len(images)), len(images))
    return np.concatenate(parts)


def _split(data: Data) -> str:
    return data.owner if hasattr(data, "owner") else data.split


def _detection_fields(calibration: Calibrate) -> Record:
    return {
        "kind": "detection",
        "world": calibration.world,
        "detector": "similarity",
        "loss": calibration.encoder.config.loss,
        "count": calibration.count,
        "flags_to_ban": calibration.flags_to_ban,
        "calibration_key": calibration.key,
    }


def _detection_metrics(found: Detection, flags_to_ban: int) -> Record:
    measured = rates(Replay(found.counts, found.bans), flags_to_ban)
    return measured | {
        "queries": len(found.counts),
        "flags": found.flags,
        "bans": len(found.bans),
        "accounts_used": found.accounts_used,
    }


def _save_detection(
    found: Detection, detector: SimilarityDetector, images: np.ndarray, context: Context, cell: Cell
) -> None:
    """Keep the per-query verdicts, and some flagged pairs as bytes for the report's pictures."""
    features = np.concatenate(
        [
            detector.features(np.ascontiguousarray(images[at : at + 1024]))
            for at in range(0, len(images), 1024)
        ]
    )
    flagged = np.flatnonzero(found.neighbours >= 0)
    shown = flagged[np.linspace(0, len(flagged) - 1, min(KEPT_PAIRS, len(flagged))).astype(int)]
    pairs = np.stack([images[shown], images[found.neighbours[shown]]], 1)
    save_arrays(
        {
            "counts": found.counts,
            "nearest": nearest_in_account(features, found.bans),
            "scores": found.nearest,
            "neighbours": found.neighbours,
            "bans": found.bans,
            "shown": shown,
            "pairs": np.ascontiguousarray((pairs * 255).round().astype(np.uint8).transpose(0, 1, 3, 4, 2)),
        },
        context.store.scratch(cell) / "detection.safetensors",
    )


def _one_hot(labels: np.ndarray, classes: int, device: torch.device) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels), classes).float().to(device)


def _save_model(model: nn.Module, context: Context, cell: Cell) -> None:
    weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(weights, context.store.scratch(cell) / MODEL)


def _load_model(architecture: Architecture, classes: int, context: Context, cell: Cell) -> nn.Module:
    model = architecture.build(classes)
    model.load_state_dict(load_file(context.artefact(cell) / MODEL))
    return model.to(context.device).eval()


def _load_encoder(architecture: SimNet, context: Context, cell: Cell) -> nn.Module:
    network = architecture.trunk()
    network.load_state_dict(load_file(context.artefact(cell) / MODEL))
    return network.to(context.device)


def _has_exporter() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))
