"""Whatever a record prints, found again by other means: plain loops over the log, the weights and the images.

One tiny theft is carried out once. Its rounds are kept as the attack hands them over, so that what was
crafted, what was sent and who crafted it are known without the code that is judged here.
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from scipy.stats import binomtest, mannwhitneyu

from redhanded.experiments.cells import Calibrate, Detect, Distinct, Extract, Honest, TrainVqVae, Tune, base
from redhanded.experiments.cells.adapt import Blinded
from redhanded.experiments.cells.base import MODEL
from redhanded.experiments.cells.calibrate import benign_stream
from redhanded.experiments.cells.datasets import Composed
from redhanded.experiments.cells.detect import KEPT_PAIRS, VERDICTS
from redhanded.experiments.cells.judges import Blacklight, Likelihood
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.run import run_cells
from redhanded.experiments.runner.store import Store
from redhanded.lab.adaptive.blinding import Transform
from redhanded.lab.attacks.jba import Jba
from redhanded.lab.data.seeds import draw_seeds
from redhanded.lab.encoders.similarity import contrast, pretrain
from redhanded.lab.models import CIFAR10_STD, build
from redhanded.lab.training import train_classifier
from redhanded.lab.types import Adapted, Round
from tiny import ONCE, tiny

LEARNING = replace(ONCE, epochs=12, lr=1e-2)
"""Enough for clones that agree with the victim on some images and not on others."""
WORLD = replace(
    tiny(),
    query_set=Composed("digits", "thief", 400),
    victim_training=LEARNING,
    scale=replace(tiny().scale, round_training=LEARNING, final_training=LEARNING),
)
BENIGN = (Composed("digits", "honest", 70), Composed("grey-digits", "honest", 50))
REPEATING = (*BENIGN, BENIGN[1])
"""With near-duplicates, for what is tuned without them."""
HELD_OUT = (Composed("digits", "test", 100, seed=1),)
OTHERS = (Composed("photos", "test", 55),)
TEST = WORLD.test.load()
FLAGS_TO_BAN = 5
WARMUP = 50
"""Queries before the likelihood is tested."""

VICTIM = WORLD.train_victim()
THEFT = replace(
    WORLD.extract("jba-pgd", 30, budget=130), adaptation=Blinded(Transform("gaussian", "corrected", 0.1))
)


@dataclass(frozen=True)
class Lazy:
    """Sends no crafted query once fifty were sent, so that its budget is not spent."""

    title: ClassVar[str] = "lazy"
    needs: ClassVar[tuple[()]] = ()

    def make(self, context: Context, generator: torch.Generator):
        sent = 30

        def adapt(images: torch.Tensor, kind: str) -> Adapted:
            nonlocal sent
            keep = torch.arange(len(images)) < (50 - sent if kind == "augmented" else len(images))
            sent += int(keep.sum()) if kind == "augmented" else 0
            return Adapted(keep, images[keep])

        return adapt


IDLE = replace(WORLD.extract("jb-top3", 30, budget=130), adaptation=Lazy())
SAMPLING = WORLD.random_sampling(25)
BY_QUERIES, BY_PAIRS = (
    Calibrate("tiny", WORLD.train_encoder(), BENIGN, 0.02, count, FLAGS_TO_BAN, seed)
    for seed, count in enumerate(("queries", "pairs"))
)
VQVAE = TrainVqVae("tiny", WORLD.victim_data, WORLD.test, WORLD.judging.vqvae, 40, 8)
LIKELIHOOD = Tune("tiny", Likelihood(VQVAE), REPEATING, fpr=0.01)
BLACKLIGHT = Tune("tiny", Blacklight(), REPEATING, fpr=0.01, seed=1)


def honest_user(judge) -> Honest:
    """The held-out stream, in an order of the judge's own seed."""
    return Honest(judge, HELD_OUT, judge.seed)


SIMILARITIES = (BY_QUERIES, BY_PAIRS)
TUNED = (LIKELIHOOD, BLACKLIGHT)
DETECTIONS = [
    Detect(judge, theft, honest_user(judge))
    for judge in (*SIMILARITIES, *TUNED)
    for theft in (THEFT, SAMPLING)
]
every_similarity = pytest.mark.parametrize("judge", SIMILARITIES, ids=lambda judge: judge.title)
every_detection = pytest.mark.parametrize("cell", DETECTIONS, ids=lambda cell: cell.label)
INTERVAL = ("flag_rate", "flag_rate_low", "flag_rate_high", "fpr", "fpr_low", "fpr_high")


def pixels(images: np.ndarray) -> np.ndarray:
    """Bytes [n, h, w, c] to floats [n, c, h, w]."""
    return np.ascontiguousarray(np.moveaxis(images, 3, 1)).astype(np.float32) / np.float32(255)


def digits_of(data) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of a set."""
    found = data.load()
    return torch.from_numpy(pixels(found.images)), torch.from_numpy(found.labels)


@dataclass
class Measured:
    """Everything that was measured once for all tests of this module."""

    context: Context
    rounds: list[Round]

    def record(self, cell):
        return self.context.record(cell)

    def log(self, theft: Extract, name: str) -> np.ndarray:
        return np.load(self.context.artefact(theft) / "log" / f"{name}.npy")

    def verdicts(self, cell):
        return load_arrays(self.context.artefact(cell) / VERDICTS)

    def network(self, cell, architecture, *, trunk: bool = False) -> torch.nn.Module:
        """Return the cell's weights in a network of their architecture."""
        network = architecture.trunk() if trunk else architecture.build(10)
        network.load_state_dict(load_file(self.context.artefact(cell) / MODEL))
        return network.eval()

    def embedded(self, images: np.ndarray) -> np.ndarray:
        """Features by the weights of the encoder."""
        encoder = self.network(WORLD.train_encoder(), WORLD.encoder.architecture, trunk=True)
        with torch.no_grad():
            return encoder(torch.from_numpy(images)).numpy()


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Measured:
    root = tmp_path_factory.mktemp("measured")
    context = Context(Store(root / "records", root / "artefacts"))
    rounds: list[Round] = []
    run = Jba.run

    def kept(self, *given, **named):
        for part in run(self, *given, **named):
            rounds.append(part)
            yield part

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jba, "run", kept)
        patch.setattr(base, "has_exporter", lambda: False)  # an export takes seconds
        cells = [*DETECTIONS, Honest(LIKELIHOOD, OTHERS, beside=honest_user(LIKELIHOOD))]
        run_cells([THEFT], context)
        patch.setattr(Jba, "run", run)
        run_cells([IDLE, *cells], context)
        yield Measured(context, rounds)


def logits(model: torch.nn.Module, images) -> torch.Tensor:
    """Ask about one image after the other."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model(image[None]) for image in torch.as_tensor(images)])


def share(one, other) -> float:
    """Share of places at which two sequences agree."""
    pairs = list(zip(list(one), list(other), strict=True))
    return sum(int(a) == int(b) for a, b in pairs) / len(pairs)


def bins(confidences) -> list[int]:
    """Count in twentieths."""
    counted = Counter(min(int(float(value) * 20), 19) for value in confidences)
    return [counted[place] for place in range(20)]


def exactly(found, expected, tolerance=1e-5) -> None:
    assert found == pytest.approx(expected, rel=tolerance, abs=1e-6)


# training


def seeded_by(cell) -> torch.Generator:
    """The cell's key is its only source of randomness."""
    return torch.Generator().manual_seed(int(cell.key, 16) >> 4 * (64 - 15))


def trained_alike(measured, cell, model: torch.nn.Module) -> bool:
    weights = load_file(measured.context.artefact(cell) / MODEL)
    ours = model.state_dict()
    return weights.keys() == ours.keys() and all(torch.equal(weights[name], ours[name]) for name in ours)


def test_the_victim_is_trained_on_its_own_images_and_tested_on_others(measured):
    """The same training by hand gives the same weights; each test image is asked about alone."""
    images, labels = digits_of(WORLD.victim_data)
    generator = seeded_by(VICTIM)
    model = build(WORLD.victim, 10, generator)
    train_classifier(model, images, torch.eye(10)[labels], LEARNING, generator)
    assert trained_alike(measured, VICTIM, model)
    record = measured.record(VICTIM)
    asked = logits(measured.network(VICTIM, WORLD.victim), pixels(TEST.images)).argmax(1)
    exactly(record["accuracy"], share(asked, TEST.labels))
    assert (record["images"], record["classes"]) == (240, 10)


def test_the_encoder_is_trained_on_the_victims_images_alone(measured):
    """Both stages by hand give the same weights; the probe's covariance is taken apart by an SVD."""
    cell, config = WORLD.train_encoder(), WORLD.encoder
    images, labels = digits_of(WORLD.victim_data)
    generator = seeded_by(cell.pretraining)
    encoder = pretrain(images, labels, config.architecture, config.pretraining, generator)
    assert trained_alike(measured, cell.pretraining, encoder)
    contrast(encoder, images, config, seeded_by(cell))
    assert trained_alike(measured, cell, encoder)
    record, features = measured.record(cell), measured.embedded(pixels(TEST.images)).astype(np.float64)
    assert record["images"] == measured.record(cell.pretraining)["images"] == 240
    directions(record, features, "effective_rank", "feature_spread")
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)
    exactly(record["first_axis_share"], singular[0] ** 2 / (singular**2).sum(), 1e-4)


def directions(record, features, rank: str, spread: str) -> None:
    """Check how many directions features fill, and how far they spread."""
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    shares = np.linalg.svd(centred, compute_uv=False) ** 2
    shares = shares[shares > 0] / shares.sum()
    exactly(record[rank], math.exp(-sum(part * math.log(part) for part in shares)), 1e-4)
    exactly(
        record[spread],
        math.sqrt(sum(centred.T[axis] @ centred.T[axis] for axis in range(centred.shape[1])) / len(centred)),
        1e-4,
    )


def test_the_likelihood_model_is_measured_on_the_test_set(measured):
    """Errors image by image; the variance is that of the victim's pixels."""
    record, network = measured.record(VQVAE), VQVAE.network(measured.context)
    with torch.no_grad():
        coded = [network(image[None]) for image in torch.from_numpy(pixels(TEST.images))]
    errors = [float(part.errors) for part in coded]
    variance = digits_of(WORLD.victim_data)[0].double().var(correction=0)
    exactly(record["reconstruction_mse"], sum(errors) / len(errors), 1e-4)
    exactly(record["data_variance"], float(variance), 1e-4)
    exactly(record["mean_log_likelihood"], -sum(errors) / len(errors) / float(variance), 1e-4)
    used = Counter(code for part in coded for code in part.codes.flatten().tolist())
    shares = [count / sum(used.values()) for count in used.values()]
    exactly(record["codebook_perplexity"], math.exp(-sum(part * math.log(part) for part in shares)), 1e-4)


# thefts


def test_the_theft_tells_wrong_figures_from_right_ones(measured):
    """What is confused with something else would not be noticed if both were equal."""
    record = measured.record(THEFT)
    assert record["agreement"] not in (record["accuracy"], 1.0)
    assert record["accuracy"] not in (record["round_accuracy"][0], record["victim_accuracy"])
    assert record["transfer_accuracy"] not in (record["accuracy"], 1.0)
    assert record["traits_confidence_victim"] != record["traits_confidence_surrogate"]
    assert len(measured.rounds) == 3
    assert any(not torch.equal(part.crafted, part.sent) for part in measured.rounds)


def test_the_log_is_what_the_attack_sent(measured):
    """Round by round, and the answers are the victim's."""
    assert [part.kind for part in measured.rounds] == ["seed", "augmented", "augmented"]
    for name in ("sent", "labels", "parents", "targets"):
        sent = torch.cat([getattr(part, name) for part in measured.rounds])
        field = {"sent": "images", "labels": "outputs"}.get(name, name)
        assert torch.equal(torch.from_numpy(measured.log(THEFT, field)), sent)
    assert measured.log(THEFT, "rounds").tolist() == [0] * 30 + [1] * 90 + [2] * 10
    victim = measured.network(VICTIM, WORLD.victim)
    answers = logits(victim, measured.log(THEFT, "images")).argmax(1)
    assert torch.equal(torch.from_numpy(measured.log(THEFT, "outputs")), torch.eye(10)[answers])


@pytest.mark.parametrize("theft", [THEFT, SAMPLING, IDLE], ids=lambda theft: theft.name)
def test_a_clone_is_as_good_as_its_answers(measured, theft):
    """The saved clone, the victim and the labels, image by image."""
    record = measured.record(theft)
    clone = logits(measured.network(theft, WORLD.surrogate), pixels(TEST.images)).argmax(1)
    victim = logits(measured.network(VICTIM, WORLD.victim), pixels(TEST.images)).argmax(1)
    exactly(record["accuracy"], share(clone, TEST.labels))
    exactly(record["agreement"], share(clone, victim))
    exactly(record["victim_accuracy"], share(victim, TEST.labels))
    assert record["queries"] == len(measured.log(theft, "images"))
    assert record["round_queries"][-1] == record["queries"]
    exactly(record["round_accuracy"][-1], record["accuracy"])


def test_a_theft_may_end_within_its_budget(measured):
    """Queries are those that were sent, not those that might have been."""
    assert measured.record(IDLE)["queries"] == len(measured.log(IDLE, "images")) == 50
    assert measured.record(IDLE)["budget"] == 130


def test_rounds_are_scored_one_by_one(measured):
    """Each with the surrogate that came out of it; the last is the clone."""
    record = measured.record(THEFT)
    images = pixels(TEST.images)
    exactly(
        record["round_accuracy"],
        [share(logits(part.surrogate, images).argmax(1), TEST.labels) for part in measured.rounds],
    )
    assert record["round_queries"] == [30, 120, 130]
    assert trained_alike(measured, THEFT, measured.rounds[-1].surrogate)
    assert record["failures"] == sum(part.failures for part in measured.rounds)
    crafted = torch.cat([part.crafted for part in measured.rounds])
    answers = measured.log(THEFT, "outputs").argmax(1)
    exactly(
        record["transfer_accuracy"], share(logits(measured.rounds[-1].surrogate, crafted).argmax(1), answers)
    )


def test_traits_are_those_of_the_queries(measured):
    """Query by query: with its parent, who crafted it, what the victim said, and what was really sent."""
    record, victim = measured.record(THEFT), measured.network(VICTIM, WORLD.victim)
    crafted = torch.cat([part.crafted for part in measured.rounds])
    answers = measured.log(THEFT, "outputs").argmax(1)
    parents, targets, rounds = (measured.log(THEFT, name) for name in ("parents", "targets", "rounds"))
    assert record["traits_queries"] == [120, 130]
    for place, number in enumerate((1, 2)):
        crafter = measured.rounds[number - 1].surrogate
        guessed = logits(crafter, crafted)
        label = guessed.argmax(1).tolist()
        here = np.flatnonzero(rounds == number).tolist()
        ours = [label[q] != label[parents[q]] for q in here]
        theirs = [answers[q] != answers[parents[q]] for q in here]
        aimed = [q for q in here if targets[q] >= 0]
        moves = [(crafted[q] - crafted[parents[q]]).double() for q in here]
        scaled = [move / torch.tensor(CIFAR10_STD).double()[:, None, None] for move in moves]
        sent = torch.from_numpy(measured.log(THEFT, "images")[here])
        expected = {
            "crossed_surrogate": np.mean(ours),
            "crossed_victim": np.mean(theirs),
            "crossed_both": np.mean([a and b for a, b in zip(ours, theirs, strict=True)]),
            "reached_surrogate": np.mean([label[q] == targets[q] for q in aimed]),
            "reached_victim": np.mean([answers[q] == targets[q] for q in aimed]),
            "l2": np.mean([float(move.square().sum()) ** 0.5 for move in moves]),
            "linf": max(float(move.abs().max()) for move in moves),
            "l2_standardised": np.mean([float(move.square().sum()) ** 0.5 for move in scaled]),
            "linf_standardised": max(float(move.abs().max()) for move in scaled),
        }
        for name, value in expected.items():
            exactly(record[f"traits_{name}"][place], value, 1e-4)
        confidences = guessed.softmax(1).amax(1)[here]
        assert record["traits_confidence_surrogate"][place] == bins(confidences)
        assert record["traits_confidence_victim"][place] == bins(logits(victim, sent).softmax(1).amax(1))
    assert {name for name in record if name.startswith("traits_")} == {
        f"traits_{name}" for name in (*expected, "queries", "confidence_surrogate", "confidence_victim")
    }


@pytest.mark.parametrize("balanced", [True, False])
def test_seeds_are_drawn_from_the_query_set_by_the_seed(measured, balanced):
    """Each is another image of the set; another seed draws others, in another order."""
    pool, labels = digits_of(WORLD.query_set)
    place_of = {image.numpy().tobytes(): place for place, image in enumerate(pool)}
    drawn = {}
    for seed in (0, 1, 2):
        cell = replace(WORLD.extract("random", 30, seed, budget=30), balanced=balanced)
        assert cell.seed == seed
        images, further = cell.start(measured.context)
        places = [place_of[image.numpy().tobytes()] for image in images]
        assert len(places) == len(set(places)) == 30
        assert further == {}
        counts = Counter(labels[places].tolist())
        assert (set(counts.values()) == {3}) == balanced
        drawn[seed] = places
        again = draw_seeds(labels.numpy(), 30, seed, balanced=balanced, classes=10)
        assert again.tolist() == places
    assert len({frozenset(places) for places in drawn.values()}) == 3


def test_the_theft_starts_from_its_seeds(measured):
    """Unaltered, since seeds are not blinded, and those that any attack of its size and seed gets."""
    seeds, _ = WORLD.extract("jb-top3", 30).start(measured.context)
    assert torch.equal(measured.rounds[0].crafted, seeds)
    assert np.array_equal(measured.log(THEFT, "images")[:30], seeds.numpy())


# streams


def test_a_benign_stream_is_shuffled_set_by_set():
    """Every image once, each set in its own place; the order depends on the seed alone."""
    sets = [part.load().images for part in BENIGN]
    for seed in (0, 1):
        stream = benign_stream(BENIGN, seed)
        for images, sent in zip(sets, (stream[:70], stream[70:]), strict=True):
            rows, sent_rows = ([image.tobytes() for image in part] for part in (images, sent))
            assert sorted(rows) == sorted(sent_rows)
            kept = sum(one == other for one, other in zip(rows, sent_rows, strict=True))
            assert kept < len(rows) / 4
    assert np.array_equal(benign_stream(BENIGN, 0), benign_stream(BENIGN, 0))
    assert not np.array_equal(benign_stream(BENIGN, 0), benign_stream(BENIGN, 1))


def test_near_duplicates_are_left_out_by_their_pixels(tmp_path):
    """Two copies of a set, and one image changed a little: pairs are compared one by one."""
    context = Context(Store(tmp_path / "records", tmp_path / "artefacts"))
    cell = Distinct(
        "tiny", (Composed("digits", "honest", 40), Composed("photos", "test", 30)) * 2, radius=9.0
    )
    run_cells([cell], context)
    stream = benign_stream(cell.stream, 0)
    rows = pixels(stream).astype(np.float64).reshape(len(stream), -1)
    seen, kept, equal, near = set(), [], 0, 0
    for place, row in enumerate(rows):
        if row.tobytes() in seen:
            equal += 1
        elif any(np.linalg.norm(row - rows[other]) < 9.0 for other in kept):
            near += 1
        else:
            kept.append(place)
        seen.add(row.tobytes())
    record = context.record(cell)
    assert (equal, len(stream)) == (70, 140)
    assert near > 0
    expected = {"images": 140, "kept": len(kept), "equal": equal, "near": near, "radius": 9.0}
    assert {name: record[name] for name in expected} == expected
    assert np.array_equal(cell.load(context), stream[kept])
    for sets, length in enumerate((0, 40, 70, 110, 140)):
        assert cell.leading(sets, context) == sum(place < length for place in kept)


# detectors


@dataclass
class Judged:
    """A stream before a detector, as loops judge it."""

    counts: list[int]
    bans: list[int]
    scores: list[float]
    neighbours: list[int]
    nearest: list[float]
    """Distance to the nearest query of the account, however far."""

    def __init__(self) -> None:
        self.counts, self.bans, self.scores, self.neighbours, self.nearest = [], [], [], [], []

    @property
    def flags(self) -> int:
        return sum(self.counts)


def by_similarity(features, delta: float, count: str, flags_to_ban: int = FLAGS_TO_BAN) -> Judged:
    """Compare each query with all of its account."""
    rows, found = np.asarray(features, np.float64), Judged()
    account: list[int] = []
    flags = 0
    for place, row in enumerate(rows):
        apart = {other: float(np.linalg.norm(row - rows[other])) for other in account}
        near = {other: distance for other, distance in apart.items() if distance < delta}
        found.counts.append(len(near) if count == "pairs" else min(len(near), 1))
        found.nearest.append(min(apart.values(), default=np.inf))
        found.scores.append(min(near.values(), default=np.inf))
        found.neighbours.append(min(near, key=lambda other: near[other], default=-1))
        account.append(place)
        flags += found.counts[-1]
        if flags >= flags_to_ban:
            found.bans.append(place)
            account, flags = [], 0
    return found


def by_statistic(statistics, threshold: float) -> Judged:
    """Close the account at its first alarm; `statistics` gives those of an account's queries so far."""
    found = Judged()
    opened = 0
    for place in range(len(statistics)):
        value = statistics(opened, place)
        found.scores.append(value)
        found.counts.append(int(value < threshold))
        if value < threshold:
            found.bans.append(place)
            opened = place + 1
    return found


class RunningMean:
    """The likelihood's statistic: mean of an account's so far, in deviations of its running means."""

    def __init__(self, likelihoods, alpha: float) -> None:
        self.values, self.alpha = np.asarray(likelihoods, np.float64).ravel(), alpha

    def __len__(self) -> int:
        return len(self.values)

    def __call__(self, opened: int, place: int) -> float:
        own = self.values[opened : place + 1]
        if len(own) < WARMUP:
            return math.inf
        means = [own[: stop + 1].mean() for stop in range(len(own))]
        return float((means[-1] - self.alpha) / np.std(means))


class Fingerprints:
    """Blacklight's statistic: hashes shared with any earlier query, whoever sent it."""

    def __init__(self, prints) -> None:
        self.sets = [{tuple(half) for half in row.reshape(-1, 2) if half[0] >= 0} for row in prints]

    def __len__(self) -> int:
        return len(self.sets)

    def __call__(self, opened: int, place: int) -> float:
        del opened
        if place == 0:
            return math.inf
        return 1 - max(len(self.sets[place] & earlier) for earlier in self.sets[:place]) / 50


def judged(measured: Measured, judge, images: np.ndarray) -> Judged:
    """Judge a stream by loops, with the threshold of the record."""
    record = measured.record(judge)
    if isinstance(judge, Calibrate):
        return by_similarity(measured.embedded(images), record["delta"], judge.count)
    return by_statistic(statistic_of(measured, judge, images), record["threshold"])


def statistic_of(measured: Measured, judge, images: np.ndarray):
    detector = judge.judge.make(measured.context)
    features = detector.features(images)
    if judge is BLACKLIGHT:
        return Fingerprints(features)
    own = detector.features(pixels(judge.distinct.load(measured.context)))
    return RunningMean(features, own.astype(np.float64).mean())


def flags_to_ban_of(judge) -> int:
    return FLAGS_TO_BAN if isinstance(judge, Calibrate) else 1


def charged(found: Judged, flags_to_ban: int) -> dict[str, float]:
    """Rates of what was judged, with SciPy's exact interval and a bootstrap drawn block by block."""
    n, flagged = len(found.counts), sum(count > 0 for count in found.counts)
    exact = binomtest(flagged, n).proportion_ci(0.95, method="exact")
    fpr = len(found.bans) / n
    low, high = exact.low, exact.high
    if flags_to_ban > 1 and flagged:
        block = max(1, min(500, n // 50))
        starts = np.random.default_rng(0).integers(0, n, (2000, round(n / block)))
        totals = [
            sum(found.counts[(start + step) % n] for start in draw for step in range(block))
            for draw in starts.tolist()
        ]
        low, high = np.quantile(np.array(totals) / (starts.shape[1] * block * flags_to_ban), [0.025, 0.975])
    elif flags_to_ban > 1:
        low, high = 0.0, exact.high / flags_to_ban
    return {
        "flag_rate": flagged / n,
        "flag_rate_low": exact.low,
        "flag_rate_high": exact.high,
        "fpr": fpr,
        "fpr_low": min(low, fpr),
        "fpr_high": max(high, fpr),
    }


def check_counts(record, found: Judged) -> None:
    assert record["queries"] == len(found.counts)
    assert record["flags"] == found.flags
    assert record["bans"] == len(found.bans)
    closed_last = found.bans[-1:] == [len(found.counts) - 1]
    assert record["accounts_used"] == len(found.bans) + (not closed_last)


@every_similarity
def test_delta_is_the_largest_that_the_benign_stream_bears(measured, judge):
    """Halfway between two distances that occur; beyond the larger one, flags pass the allowance."""
    record = measured.record(judge)
    features = measured.embedded(pixels(benign_stream(BENIGN, judge.seed))).astype(np.float64)
    apart = np.linalg.norm(features[:, None] - features[None], axis=2)[np.triu_indices(120, 1)]
    below, above = apart[apart < record["delta"]].max(), apart[apart >= record["delta"]].min()
    exactly(record["delta"], (below + above) / 2)
    allowed = 0.02 * 120 * FLAGS_TO_BAN
    found = by_similarity(features, record["delta"], judge.count)
    assert 0 < found.flags <= allowed < by_similarity(features, above + 1e-6, judge.count).flags
    assert (record["length"], record["flags"], record["bans"]) == (120, found.flags, len(found.bans))
    assert (record["target"], record["flags_to_ban"], record["count"]) == (0.02, FLAGS_TO_BAN, judge.count)
    exactly({name: record[name] for name in INTERVAL}, charged(found, FLAGS_TO_BAN))
    assert record["encoder_digest"] == judge.encoder.load(measured.context).digest
    loaded = judge.load(measured.context)
    assert (loaded.delta, loaded.count, loaded.flags_to_ban) == (record["delta"], judge.count, FLAGS_TO_BAN)


@pytest.mark.parametrize("judge", TUNED, ids=lambda judge: judge.title)
def test_a_threshold_is_the_loosest_that_the_benign_stream_bears(measured, judge):
    """The next statistic that occurs would alarm too often."""
    record, stream = measured.record(judge), pixels(judge.distinct.load(measured.context))
    statistics = statistic_of(measured, judge, stream)
    found = by_statistic(statistics, record["threshold"])
    allowed = math.floor(0.01 * len(stream))
    unbanned = [statistics(0, place) for place in range(len(stream))]
    above, *larger = sorted({value for value in unbanned if value >= record["threshold"] - 1e-9})
    assert 0 < found.flags <= allowed < by_statistic(statistics, larger[0]).flags
    below = max((value for value in unbanned if value < record["threshold"] - 1e-9), default=above)
    exactly(record["threshold"], (below + above) / 2, 1e-4)
    assert (record["length"], record["flags"], record["bans"]) == (len(stream), found.flags, len(found.bans))
    exactly({name: record[name] for name in INTERVAL}, charged(found, 1))
    assert record["settings"]["threshold"] == record["threshold"] == judge.load(measured.context).threshold
    assert record["settings"]["flags_to_ban"] == record["flags_to_ban"] == 1
    if judge is LIKELIHOOD:
        exactly(record["settings"]["alpha"], statistics.alpha)


@every_detection
def test_a_detection_is_what_loops_make_of_the_log(measured, cell):
    """Every verdict, every count and every interval; the theft's own figures are carried over."""
    record, images = measured.record(cell), measured.log(cell.extraction, "images")
    found = judged(measured, cell.calibration, images)
    verdicts = measured.verdicts(cell)
    assert verdicts["counts"].tolist() == found.counts
    assert verdicts["bans"].tolist() == found.bans
    check_counts(record, found)
    expected = charged(found, flags_to_ban_of(cell.calibration))
    honest = measured.record(cell.honest)
    # the rate at which an attack is banned is no false-positive rate: that one is the honest user's
    expected |= {name: honest[name] for name in ("fpr", "fpr_low", "fpr_high")}
    exactly({name: record[name] for name in INTERVAL}, expected)
    for name in ("accuracy", "agreement", "victim_accuracy"):
        assert record[name] == measured.record(cell.extraction)[name]
    if isinstance(cell.calibration, Calibrate):
        exactly(verdicts["scores"].tolist(), found.scores, 1e-3)
        assert verdicts["neighbours"].tolist() == found.neighbours
        features = measured.embedded(images)
        exactly(verdicts["nearest"].tolist(), found.nearest, 1e-2)
        directions(record, features, "query_effective_rank", "query_spread")


@every_detection
def test_an_honest_user_pays_for_as_many_queries(measured, cell):
    """Held-out images in accounts of the theft's length, each fresh; scaled up where they are too few."""
    record, length = measured.record(cell), len(measured.log(cell.extraction, "images"))
    stream = pixels(benign_stream(HELD_OUT, cell.honest.seed))
    size = min(length, len(stream))
    pieces = [stream[at : at + size] for at in range(0, len(stream) - size + 1, size)]
    assert len(pieces) == (1 if cell.extraction is THEFT else 4)
    flags = [judged(measured, cell.calibration, piece).flags for piece in pieces]
    if cell.calibration is BY_QUERIES and cell.extraction is SAMPLING:
        assert len(set(flags)) > 1  # or one account would do for all
    per_query = sum(flags) / (len(pieces) * size)
    exactly(record["benign_floor"], per_query * length / flags_to_ban_of(cell.calibration))
    assert record["benign_floor_extrapolated"] == (cell.extraction is THEFT)


@pytest.mark.parametrize("judge", [*SIMILARITIES, *TUNED], ids=lambda judge: judge.title)
def test_an_honest_user_is_judged_like_a_thief(measured, judge):
    """Query by query, and its own false-positive rate."""
    cell = honest_user(judge)
    record, images = measured.record(cell), pixels(benign_stream(HELD_OUT, judge.seed))
    found = judged(measured, judge, images)
    check_counts(record, found)
    exactly({name: record[name] for name in INTERVAL}, charged(found, flags_to_ban_of(judge)))
    kept = measured.verdicts(cell)
    assert kept["counts"].tolist() == found.counts
    if isinstance(judge, Calibrate):
        features = measured.embedded(images)
        assert kept["features"] == pytest.approx(features, abs=1e-5)
        directions(record, features, "query_effective_rank", "query_spread")


@every_similarity
def test_the_ceiling_counts_kin(measured, judge):
    """Queries with an ancestor in common with an earlier one of the account."""
    parents = measured.log(THEFT, "parents").tolist()

    def founder(place: int) -> int:
        return place if parents[place] < 0 else founder(parents[place])

    flags = bans = 0
    account: list[int] = []
    charged_to = 0
    for place in range(len(parents)):
        kin = founder(place) in account
        account.append(founder(place))
        flags += kin
        charged_to += kin
        if charged_to == FLAGS_TO_BAN:
            bans += 1
            account, charged_to = [], 0
    record = measured.record(Detect(judge, THEFT, honest_user(judge)))
    assert (record["ceiling_flags"], record["ceiling_bans"]) == (flags, bans)
    assert flags > FLAGS_TO_BAN
    alone = measured.record(Detect(judge, SAMPLING, honest_user(judge)))
    assert (alone["ceiling_flags"], alone["ceiling_bans"]) == (0, 0)


@every_similarity
def test_pairs_are_kept_for_the_report(measured, judge):
    """Flagged queries, spread over the stream, beside what they were near to."""
    kept = measured.verdicts(Detect(judge, THEFT, honest_user(judge)))
    images = measured.log(THEFT, "images")
    flagged = [place for place, count in enumerate(kept["counts"]) if count]
    assert len(kept["shown"]) == min(KEPT_PAIRS, len(flagged))
    assert (kept["shown"][0], kept["shown"][-1]) == (flagged[0], flagged[-1])
    assert set(kept["shown"].tolist()) <= set(flagged)
    for place, (query, near) in zip(kept["shown"].tolist(), kept["pairs"], strict=True):
        for drawn, image in ((query, images[place]), (near, images[kept["neighbours"][place]])):
            assert np.array_equal(drawn, np.rint(np.moveaxis(image, 0, 2) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    "cell",
    [
        *(cell for cell in DETECTIONS if cell.calibration is LIKELIHOOD),
        Honest(LIKELIHOOD, OTHERS, beside=honest_user(LIKELIHOOD)),
    ],
    ids=lambda cell: cell.label,
)
def test_auroc_is_the_share_of_pairs_in_the_right_order(measured, cell):
    """SciPy's U statistic over all pairs of an honest query and one of the stream."""
    record = measured.record(cell)
    of_theft = isinstance(cell, Detect)
    images = measured.log(cell.extraction, "images") if of_theft else pixels(benign_stream(OTHERS, 0))
    likelihood = VQVAE.load(measured.context)
    ours, theirs = likelihood(images).ravel(), likelihood(pixels(benign_stream(HELD_OUT, 0))).ravel()
    exactly(record["auroc"], mannwhitneyu(theirs, ours).statistic / (len(ours) * len(theirs)), 1e-4)
    assert record["auroc"] != pytest.approx(0.5, abs=1e-3)  # or the sides might be confused
    assert ("accuracy" in record) == of_theft
    assert record["benign_floor_extrapolated"] == (of_theft and cell.extraction is THEFT)
