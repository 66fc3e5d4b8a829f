"""The paper's claims: its own figures confirm them, turned figures refute them, missing ones do neither."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from redhanded.commands.claims import claims as command
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Detect
from redhanded.experiments.claims import CLAIMS
from redhanded.experiments.claims.reader import NotMeasuredError, Reader, Sample, doubt, exceeds, within
from redhanded.experiments.datasets import Archived
from redhanded.experiments.query_sets import QuerySet
from redhanded.experiments.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.worlds import WORLDS, demo, paper

from .tiny import tiny

ACCURACY, ACCOUNTS, FPR = "Ex. Acc.", "# Accounts", "FPR"
TOP3, PGD, CW, BS = JBAS = ("JB-top3", "JBA-PGD", "JBA-CW_l2", "JBA-BinarySearch")
BY_NAME = {claim.name: claim for claim in CLAIMS}


def complete():
    """The paper's world with every set at hand, as large as the authors had it or larger."""
    world = paper()
    sets = {
        name: QuerySet(Archived(name.lower(), "train"), 23_380 if name == "Caltech256" else 50_000)
        for name in world.query_sets
    }
    own = replace(sets["CIFAR10"], data=world.query_set)
    return replace(world, query_sets={**sets, "CIFAR10": own})


def table_x(world):
    """Table X with the row that there are no data for."""
    table = TABLE_X(world)
    cells = (Detect(world.calibrate(), world.extract("jb-self", 5_000), world.honest_user()),)
    entries = [
        replace(entry, cells=cells) if entry.row == "filtering, full CINIC-10" else entry
        for entry in table.entries
    ]
    return replace(table, entries=tuple(entries))


TABLE_X = TABLES["x"]


class Bench(dict):
    """Records by cell, and a way to change those behind a place of a table."""

    def __init__(self, world):
        super().__init__()
        self.world = world
        self.made = {}

    def table(self, name):
        if name not in self.made:
            self.made[name] = TABLES[name](self.world)
        return self.made[name]

    def cells(self, table, row, column=ACCURACY):
        return self.table(table).find(row, column).cells

    def put(self, table, row, column=ACCURACY, **fields):
        for cell in self.cells(table, row, column):
            self[cell] = self.get(cell, {}) | fields

    def pay(self, table, row, bans, column=ACCOUNTS):
        self.put(table, row, column, bans=bans, flags=50 * bans)

    def judge(self, name):
        return BY_NAME[name].judge_by(Reader(self.world, self.get, self.made))


def fields(entry):
    """What a record would say if it had found what the paper prints."""
    match entry.metric, entry.published:
        case "bans", bans:
            return {"bans": bans, "flags": 50 * bans, "flags_to_ban": 50, "benign_floor": 5.0}
        case "accounts_used", used:
            return {"accounts_used": used, "flags": used - 1, "flags_to_ban": 1, "benign_floor": 5.0}
        case "fpr", rate:
            return {"fpr": rate, "flag_rate": 50 * rate, "flags_to_ban": 50}
        case metric, figure:
            return {metric: figure}


def confident(share):
    """A histogram of 100 predicted confidences, `share` of them the highest."""
    return [0] * 9 + [100 - share] + [0] * 9 + [share]


EVEN, PEAK = [5] * 20, [100] + [0] * 19


@pytest.fixture(scope="module")
def published():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TABLES, "x", table_x)
        return as_printed(complete())


@pytest.fixture
def bench(published, monkeypatch):
    """The same for every test, whatever the one before turned."""
    monkeypatch.setitem(TABLES, "x", table_x)
    bench = Bench(published.world)
    bench.made = published.made
    bench.update(published)
    return bench


def as_printed(world):
    """The paper's own figures; what it shows in pictures is made up to agree with its words."""
    bench = Bench(world)
    for name in ("i", "ii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv"):
        for entry in bench.table(name).entries:
            if entry.published is not None:
                bench.put(name, entry.row, entry.column, **fields(entry))
    victim = {"i": (0.2, 0.3, 0.04, 0.06), "ii": (0.3, 0.4, 0.05, 0.08)}
    for table, shares in victim.items():
        for row, crossed, surrogate, sure in zip(
            JBAS, shares, (0.8, 0.9, 0.99, 0.5), (70, 80, 5, 5), strict=True
        ):
            bench.put(
                table,
                row,
                queries=50_000,
                n_seed=500 if table == "i" else 5_000,
                traits_crossed_victim=[crossed, crossed],
                traits_crossed_surrogate=[surrogate, surrogate],
                traits_confidence_surrogate=[confident(sure)] * 2,
                traits_confidence_victim=[confident(80)] * 2,
                traits_l2_standardised=[1.8, 1.8] if row == CW else [5.5, 5.5],
                transfer_accuracy=0.92 if row == PGD and table == "i" else 0.98,
            )
    looked_at = {
        "round_queries": [1_000, 50_000, 500_000, 5_000_000, 20_000_000],
        "round_accuracy": [0.1, 0.1, 0.14, 0.71, 0.88],
        "traits_queries": [1_000, 2_000_000, 6_000_000, 20_000_000],
        "traits_confidence_victim": [EVEN] * 4,
        "traits_confidence_surrogate": [PEAK, PEAK, EVEN, EVEN],
    }
    bench[world.data_free()] = bench.get(world.data_free(), {}) | looked_at
    bench.put("xiii", "filtering", ACCOUNTS, bans=126_674.0)
    bench.put("xiv", "CIFAR10", ACCOUNTS, auroc=0.6)
    return bench


def dfme(bench, **fields):
    bench.put("iii", "20,000,000 queries", **fields)


def every(bench, table, column, **fields):
    for entry in bench.table(table).entries:
        if entry.column == column:
            bench.put(table, entry.row, column, **fields)


FLIPS = {
    "pgd-best-few": lambda b: b.put("i", TOP3, accuracy=0.711),
    "cw-bs-below-baseline-few": lambda b: b.put("i", BS, accuracy=0.655),
    "gain-few": lambda b: b.put("i", PGD, accuracy=0.731),
    "gain-many": lambda b: b.put("ii", CW, accuracy=0.881),
    "marginal-effect": lambda b: b.put("i", PGD, accuracy=0.69),
    "dfme-starts-at-chance": lambda b: dfme(b, round_accuracy=[0.1, 0.121, 0.14, 0.71, 0.88]),
    "dfme-ends-far-above-chance": lambda b: dfme(b, round_accuracy=[0.1, 0.1, 0.1, 0.1, 0.2]),
    "dfme-behind-jba": lambda b: dfme(b, round_accuracy=[0.1, 0.84, 0.85, 0.86, 0.88]),
    "dfme-400-times": lambda b: dfme(b, round_accuracy=[0.1, 0.1, 0.14, 0.71, 0.83]),
    "pgd-crosses-most": lambda b: b.put("i", TOP3, traits_crossed_victim=[0.2, 0.31]),
    "cw-crosses-surrogate": lambda b: b.put("i", CW, traits_crossed_surrogate=[0.99, 0.9]),
    "cw-stays-on-victim": lambda b: b.put("i", CW, traits_crossed_victim=[0.04, 0.07]),
    "many-seeds-cross-more": lambda b: b.put("ii", PGD, traits_crossed_victim=[0.1, 0.1]),
    "most-do-not-cross": lambda b: b.put("ii", PGD, traits_crossed_victim=[0.4, 0.7]),
    "crossing-transfers-badly": lambda b: b.put("ii", BS, traits_crossed_victim=[0.26, 0.26]),
    "cw-bs-uncertain": lambda b: b.put("ii", BS, traits_confidence_surrogate=[confident(75)]),
    "victim-stays-confident": lambda b: b.put("ii", CW, traits_confidence_victim=[confident(49)]),
    "dfme-confidence-even": lambda b: dfme(b, traits_confidence_victim=[PEAK] * 4),
    "dfme-synchronises": lambda b: dfme(b, traits_confidence_surrogate=[EVEN, EVEN, PEAK, PEAK]),
    "cw-closer-than-pgd": lambda b: b.put("ii", CW, traits_l2_standardised=[5.4, 5.8]),
    "clones-overfit": lambda b: b.put("ii", TOP3, transfer_accuracy=0.899),
    "cw-overfits-more": lambda b: b.put("i", CW, transfer_accuracy=0.93),
    "pgd-beats-seeds-few": lambda b: b.put("iv", "CUBS200", PGD, accuracy=0.21),
    "pgd-beats-seeds-many": lambda b: b.put("v", "SVHN", PGD, accuracy=0.24),
    "gain-by-set": lambda b: b.put("v", "CUBS200", PGD, accuracy=0.551),
    "gain-larger-with-few": lambda b: b.put("v", "SVHN", PGD, accuracy=0.60),
    "likeness-ranks-few": lambda b: b.put("iv", "ImageNet1k", PGD, accuracy=0.685),
    "likeness-ranks-many": lambda b: b.put("v", "CIFAR10", PGD, accuracy=0.85),
    "least-like-lowest": lambda b: b.put("iv", "SVHN", TOP3, accuracy=0.241),
    "low-quality-jba-wins": lambda b: b.put("vi", "SVHN", "RS", accuracy=0.395),
    "decent-quality-rs-wins": lambda b: b.put("vi", "CIFAR100", "RS", accuracy=0.785),
    "jbas-caught": lambda b: b.pay("vii", f"{PGD}, per-pair loss", 14.9),
    "jbas-caught-released": lambda b: b.pay("vii", f"{TOP3}, released loss", 6),
    "pgd-fewer-than-top3": lambda b: b.pay("vii", f"{PGD}, per-pair loss", 60),
    "cw-bs-more-than-top3": lambda b: b.pay("vii", f"{BS}, per-pair loss", 58),
    "every-set-caught": lambda b: b.pay("viii", "Indoor67", 15, f"{ACCOUNTS}, {PGD}"),
    "pgd-fewer-every-set": lambda b: b.pay("viii", "SVHN", 222, f"{ACCOUNTS}, {PGD}"),
    "other-sets-dearer": lambda b: b.pay("viii", "CIFAR10", 94, f"{ACCOUNTS}, {TOP3}"),
    "fpr-held": lambda b: b.put("ix", "CUBS200", FPR, flag_rate=0.0066),
    "svhn-fpr-higher": lambda b: b.put("ix", "SVHN", FPR, flag_rate=0.0064),
    "filtering-best-x": lambda b: b.pay("x", "scale, corrected", 10),
    "filtering-best-xi": lambda b: b.put("xi", "filtering", accuracy=0.83),
    "filtering-best-xii": lambda b: b.put("xii", "auto-encoder, corrected", accuracy=0.81),
    "noise-and-colour-raise": lambda b: b.pay("x", "gaussian, corrected", 58),
    "scale-translate-lower": lambda b: b.put("x", "translate, corrected", accuracy=0.839),
    "auto-encoder-costs": lambda b: b.put("x", "auto-encoder, corrected", accuracy=0.84),
    "contrast-costs": lambda b: b.put("x", "contrast, corrected", accuracy=0.84),
    "robust-x": lambda b: b.pay("x", "translate, corrected", 4.9),
    "robust-xi": lambda b: b.put("xi", "auto-encoder, corrected", accuracy=0.85),
    "eight-accounts": lambda b: b.pay("xii", "filtering", 7.9),
    "foreign-filter-fails": lambda b: b.pay("x", "filtering, full CINIC-10", 53),
    "dfme-caught": lambda b: b.put("xiii", "none", ACCOUNTS, benign_floor=20_000.0),
    "dfme-filtering-fails": lambda b: b.pay("xiii", "filtering", 51_000.0),
    "dfme-blinding-fails": lambda b: b.pay("xiii", "scale", 51_000.0),
    "likelihood-falls": lambda b: b.put("xiv", "CIFAR10", ACCOUNTS, auroc=0.51),
    "likelihood-outperforms": lambda b: b.put("xiv", "CIFAR10", ACCOUNTS, flags=88),
    "likelihood-overlooks": lambda b: b.put("xiv", "SVHN", ACCOUNTS, flags=1),
    "likelihood-false-alarms": lambda b: every(b, "xv", FPR, fpr=0.0009),
    "likelihood-either-or": lambda b: b.put("xv", "CIFAR100", FPR, fpr=0.0009),
}


def test_the_table_of_flips_is_complete():
    assert list(FLIPS) == [claim.name for claim in CLAIMS]


@pytest.mark.parametrize("name", FLIPS)
def test_the_papers_own_figures_confirm_a_claim_and_turned_ones_refute_it(bench, name):
    verdict = bench.judge(name)
    assert verdict.ruling == "holds", verdict.figures
    FLIPS[name](bench)
    turned = bench.judge(name)
    assert turned.ruling == "fails", turned.figures
    assert turned.figures != verdict.figures
    assert "\n" not in turned.figures


@pytest.mark.parametrize(
    ("name", "flip"),
    [
        ("gain-few", lambda b: [b.put("i", row, accuracy=0.65) for row in JBAS]),
        ("cw-bs-uncertain", lambda b: b.put("ii", CW, traits_confidence_surrogate=[confident(51)])),
        ("clones-overfit", lambda b: b.put("ii", PGD, transfer_accuracy=0.91, accuracy=0.885)),
        ("gain-by-set", lambda b: [b.put("v", "CIFAR10", row, accuracy=0.855) for row in (TOP3, PGD)]),
        ("likeness-ranks-few", lambda b: b.put("iv", "CIFAR10", PGD, accuracy=0.695)),
        ("low-quality-jba-wins", lambda b: b.put("v", "Indoor67", TOP3, accuracy=0.63)),
        ("fpr-held", lambda b: b.put("ix", "CUBS200", FPR, flag_rate=0.0034)),
        ("filtering-best-x", lambda b: b.pay("x", "filtering", 19)),
        ("scale-translate-lower", lambda b: b.pay("x", "scale, corrected", 59)),
        ("auto-encoder-costs", lambda b: b.pay("x", "auto-encoder, corrected", 59)),
    ],
)
def test_claims_of_two_parts_fail_by_either(bench, name, flip):
    flip(bench)
    assert bench.judge(name).ruling == "fails"


@pytest.mark.parametrize("name", WORLDS)
def test_without_records_nothing_holds_or_fails(name):
    read = Reader(WORLDS[name](), lambda cell: None)
    for claim in CLAIMS:
        verdict = claim.judge_by(read)
        assert verdict.ruling in {"not measured", "cannot be judged"}, claim.name
        assert verdict.figures


def test_a_premise_decides_whatever_the_records_say():
    """What a world lacks is named before anything is read."""

    def look(cell):
        raise AssertionError("a record was read")

    world = demo()
    without = [claim for claim in CLAIMS if claim.premise(world)]
    reasons = {claim.name: claim.judge(world, look).figures for claim in without}
    assert reasons == {
        "dfme-400-times": "DFME may send 25 times a JBA's queries here, not 400",
        "svhn-fpr-higher": "there is no SVHN in this world",
        "eight-accounts": "8 accounts belong to 50,000 queries; of 2,400 they would be 0.4",
        "foreign-filter-fails": "filtering, full CINIC-10: no full CINIC-10 at hand",
        "likelihood-overlooks": "none of ImageNet1k, SVHN, CUBS200, Caltech256 holds 400 images here",
    }
    few = BY_NAME["likeness-ranks-many"].judge(paper(), look)
    assert (few.ruling, few.figures) == ("cannot be judged", "CINIC10: 2,000 of 5,000 images at hand")


def test_small_worlds_are_judged_by_what_they_have():
    """Three of the nine sets are nowhere at hand: the six others decide."""
    small = Bench(WORLDS["small"]())
    for entry in small.table("iv").entries:
        if entry.available:
            small.put("iv", entry.row, entry.column, accuracy=entry.published)
    verdict = small.judge("pgd-beats-seeds-few")
    assert verdict.ruling == "holds"
    assert verdict.figures.startswith("6 sets, least +6.0 with CIFAR10")


def test_one_missing_row_leaves_a_claim_of_every_row_open(bench):
    for cell in bench.cells("viii", "Indoor67", f"{ACCOUNTS}, {PGD}"):
        del bench[cell]
    verdict = bench.judge("every-set-caught")
    assert verdict.ruling == "not measured"
    assert "Indoor67" in verdict.figures


def test_a_record_without_a_field_has_not_measured_it(bench):
    (cell,) = bench.cells("ii", CW)
    bench[cell] = {name: value for name, value in bench[cell].items() if name != "traits_confidence_victim"}
    verdict = bench.judge("victim-stays-confident")
    assert verdict.ruling == "not measured"
    assert "traits_confidence_victim" in verdict.figures
    bench[cell] = {}
    assert "accuracy" in bench.judge("gain-many").figures


def test_an_attack_that_could_craft_nothing_crosses_nothing(bench):
    """Nothing is no share of anything: the others are compared."""
    (cell,) = bench.cells("i", BS)
    bench[cell] = {"queries": 500, "n_seed": 500, "accuracy": 0.1}
    verdict = bench.judge("pgd-crosses-most")
    assert verdict.ruling == "holds"
    assert verdict.figures.endswith("; JBA-BinarySearch could craft nothing")
    verdict = bench.judge("many-seeds-cross-more")  # (20 + 30 + 4) / 3 and (30 + 40 + 5) / 3
    assert verdict.figures == "18.0% with few seeds, 25.0% with many; JBA-BinarySearch could craft nothing"
    (cell,) = bench.cells("i", CW)
    bench[cell] = {"queries": 500, "n_seed": 500}
    verdict = bench.judge("cw-stays-on-victim")
    assert (verdict.ruling, verdict.figures) == ("not measured", "Table I: JBA-CW_l2 could craft nothing")


def test_means_are_over_the_seeds_there_are_and_ties_are_named(bench):
    first, second, third = bench.cells("i", PGD)
    bench[first] = bench[first] | {"accuracy": 0.76}
    bench[second] = bench[second] | {"accuracy": 0.60}
    del bench[third]
    verdict = bench.judge("pgd-best-few")
    assert verdict.ruling == "fails"
    assert verdict.figures == "JBA-PGD 68.0%, next JB-top3 67.0% (within the spread)"


def test_bans_near_the_floor_are_named(bench):
    bench.pay("x", "filtering", 6.5)
    verdict = bench.judge("robust-x")
    assert verdict.ruling == "holds"
    assert verdict.figures == "least filtering 6.5 (floor 5, within 2 bans of it)"


def test_short_streams_are_compared_by_flags(bench):
    """One ban each, but 99 and 51 flags."""
    bench.put("vii", f"{TOP3}, per-pair loss", ACCOUNTS, bans=1, flags=99)
    bench.put("vii", f"{PGD}, per-pair loss", ACCOUNTS, bans=1, flags=51)
    verdict = bench.judge("pgd-fewer-than-top3")
    assert (verdict.ruling, verdict.figures) == ("holds", "JBA-PGD 1.02, JB-top3 1.98 (within the spread)")


def test_nobody_who_keeps_accuracy_evades_nobody(bench):
    for entry in bench.table("xi").entries:
        if entry.column == ACCURACY and entry.cells and entry.row != "none":
            bench.put("xi", entry.row, accuracy=0.5)
    assert bench.judge("robust-xi").figures == "no adaptation keeps its accuracy"


def test_tolerances_are_exact_where_binary_fractions_are_not():
    assert not exceeds(0.87, 0.86, 0.01)
    assert exceeds(0.8701, 0.86, 0.01)
    assert within(0.1, 0.12, 0.02)
    assert not within(0.1, 0.1201, 0.02)
    assert doubt(Sample((0.5, 0.7)), Sample((0.75,))) == " (within the spread)"
    assert doubt(Sample((0.6, 0.6)), Sample((0.75,))) == ""


def test_a_table_that_is_not_declared_is_not_measured():
    with pytest.raises(NotMeasuredError, match="Table XX is not measured"):
        Reader(tiny(), lambda cell: None).entry("xx", "none", ACCOUNTS)


def test_sentences_are_distinct_and_cited():
    for words in ("name", "sentence"):
        assert len({getattr(claim, words) for claim in CLAIMS}) == len(CLAIMS) >= 30
    assert all("Table" in claim.source or "§" in claim.source for claim in CLAIMS)
    assert all(claim.sentence.endswith(".") for claim in CLAIMS)


SHOWN = ("gain-few", "gain-many", "eight-accounts")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command as if there were three claims."""
    monkeypatch.setattr("redhanded.commands.claims.CLAIMS", tuple(BY_NAME[name] for name in SHOWN))
    app = typer.Typer()
    app.command()(command)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def write(folder, accuracy):
    """Table II of the demo world: all alike but the best, JBA-PGD."""
    bench = Bench(demo())
    for entry in bench.table("ii").entries:
        bench.put("ii", entry.row, accuracy=accuracy if entry.row == PGD else 0.4)
    for cell, record in bench.items():
        Store(folder, folder / "artefacts").save_record(cell, record)


def test_the_command_reads_committed_records_first_and_then_own_ones(call, tmp_path):
    write(tmp_path / "runs" / "demo", 0.5)
    verdicts = {one["name"]: one for one in json.loads(call("--json").stdout)}
    assert tuple(verdicts) == SHOWN
    assert verdicts["gain-many"]["verdict"] == "fails"
    assert verdicts["gain-many"]["figures"] == "+10.0 by JBA-PGD"
    assert verdicts["gain-few"]["verdict"] == "not measured"
    write(tmp_path / "results" / "demo", 0.42)
    verdicts = {one["name"]: one for one in json.loads(call("--json").stdout)}
    assert verdicts["gain-many"]["verdict"] == "holds"


def test_only_strict_makes_a_failing_claim_an_error(call, tmp_path):
    write(tmp_path / "own", 0.5)
    shown = call("--records", tmp_path / "own")
    assert shown.exit_code == 0
    assert "3 claims: 0 holds, 1 fails, 1 not measured, 1 cannot be judged" in shown.stdout
    assert "Not a reproduction" in shown.stdout
    assert call("--records", tmp_path / "own", "--strict").exit_code == 1
    write(tmp_path / "own", 0.42)
    assert call("--records", tmp_path / "own", "--strict").exit_code == 0


def test_a_folder_that_is_not_there_is_one_line(call, tmp_path):
    failed = call("--world", "small")
    assert isinstance(failed.exception, RedhandedError)
    assert "records: runs/small is no folder" in str(failed.exception)
    assert not (tmp_path / "runs").exists()


def test_the_command_line_knows_it(tmp_path):
    words = [sys.executable, "-m", "redhanded.cli", "claims", "--records", "nowhere"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("redhanded: records: nowhere is no folder")
    assert len(done.stderr.splitlines()) == 1
