"""Tables XIV and XV, Figures 13 and 14: the likelihood detector (§VIII-B)."""

from redhanded.experiments.claims.base import Claim, Found
from redhanded.experiments.claims.reader import NEAR_FLOOR, Reader, bans, doubt, exceeds, listed
from redhanded.experiments.claims.similarity import beside_floor
from redhanded.experiments.tables.base import ACCOUNTS, FPR
from redhanded.experiments.tables.extraction import JB_TOP3
from redhanded.experiments.world import World

UNLIKELIER = 0.52
"""Area under the ROC curve above which an attack's images are the less likely: chance is 0.5, and three
standard errors of 2,400 images beside 5,000 are 0.02."""
MULTIPLE = 1.5
"""Of the similarity detector's accounts; the paper says twice."""
UNSEEN = ("ImageNet1k", "SVHN", "CUBS200", "Caltech256")
"""Sets whose theft the paper's likelihood detector overlooks."""
ALARMING = 0.001
"""Ten times the target: below the least that the paper calls unacceptable, CINIC10's 0.17%."""


def _falls(read: Reader) -> Found:
    own = read.rows("xiv", ACCOUNTS)[0]
    (area,) = read.fields("auroc", "xiv", own, ACCOUNTS)
    return exceeds(area, UNLIKELIER), f"AUROC {area:.3f} of honest images above JB-top3's queries"


def _outperforms(read: Reader) -> Found:
    own = read.rows("xiv", ACCOUNTS)[0]
    likelihood, similarity = read.price("xiv", own), read.price("viii", own, f"{ACCOUNTS}, {JB_TOP3}")
    floor = read.floor("xiv", own)
    figures = f"likelihood {beside_floor(likelihood.mean, floor)}, similarity {bans(similarity)}"
    holds = exceeds(likelihood.mean, 0.0) and not exceeds(MULTIPLE * similarity.mean, likelihood.mean)
    return holds, f"{figures}{doubt(likelihood, similarity, NEAR_FLOOR)}"


def _unseen(world: World) -> list[str]:
    seeds = world.n_seed_large
    return [row for row, found in world.query_sets.items() if row in UNSEEN and not found.lacks(seeds)]


def _overlooks(read: Reader) -> Found:
    found = {row: read.price("xiv", row).mean for row in _unseen(read.world)}
    figures = listed(f"{row} {bans(price)}" for row, price in found.items())
    return not any(found.values()), f"bans: {figures}"


def _has_unseen(world: World) -> str:
    return "" if _unseen(world) else f"none of {', '.join(UNSEEN)} holds {world.n_seed_large:,} images here"


def _rates(read: Reader) -> dict[str, float]:
    """The FPR of every set at hand but the victim's own."""
    own = next(iter(read.world.query_sets))
    return {row: read.figure("xv", row, FPR).mean for row in read.rows("xv", FPR) if row != own}


def _false_alarms(read: Reader) -> Found:
    found = _rates(read)
    alarming = [row for row, rate in found.items() if not exceeds(ALARMING, rate)]
    return bool(alarming), listed(f"{row} {rate:.3%}" for row, rate in found.items())


def _either_or(read: Reader) -> Found:
    rates = _rates(read)
    rows = [row for row in read.rows("xiv", ACCOUNTS) if row in rates]
    found = {row: (read.price("xiv", row).mean, rates[row]) for row in rows}
    useful = [row for row, (price, rate) in found.items() if price > 0 and exceeds(ALARMING, rate)]
    shown = listed(f"{row} {bans(price)} at {rate:.3%}" for row, (price, rate) in found.items())
    return not useful, f"bans and FPR: {shown}"


CLAIMS = (
    Claim(
        "likelihood-falls",
        "JB-top3's queries are less likely than honest images (AUROC above 0.52).",
        "Figure 13, §VIII-B1",
        _falls,
    ),
    Claim(
        "likelihood-outperforms",
        "On the victim's own set the likelihood detector asks JB-top3 twice the similarity detector's "
        "accounts (at least 1.5 times).",
        "Tables VII and XIV, §VIII-B3",
        _outperforms,
    ),
    Claim(
        "likelihood-overlooks",
        "With seeds of SVHN, ImageNet1k, CUBS200 or Caltech256 it bans JB-top3 not once.",
        "Table XIV",
        _overlooks,
        _has_unseen,
    ),
    Claim(
        "likelihood-false-alarms",
        "Of some other set it bans honest users ten times too often or more (0.1%).",
        "Table XV, §VIII-B3, §IX",
        _false_alarms,
    ),
    Claim(
        "likelihood-either-or",
        "On every other set it either overlooks JB-top3 or bans honest users ten times too often.",
        "Tables XIV and XV, §I",
        _either_or,
    ),
)
