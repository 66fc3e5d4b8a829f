"""The paper's figures as data: drawn from what was measured, and from nothing else."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from safetensors.numpy import save_file

from redhanded.detectors import LikelihoodDetector
from redhanded.errors import RedhandedError
from redhanded.experiments.cells import Tune
from redhanded.experiments.cells.datasets import Archived
from redhanded.experiments.cells.detect import VERDICTS
from redhanded.experiments.figures.paper import FIGURES
from redhanded.experiments.figures.picture import NO_ARTEFACTS, NOT_MEASURED, save
from redhanded.experiments.figures.style import HONEST_GREY
from redhanded.experiments.runner.context import Context
from redhanded.experiments.runner.store import Store
from redhanded.experiments.tables import TABLES
from redhanded.experiments.worlds import WORLDS
from redhanded.lab.adaptive.autoencoder import Network
from redhanded.types import FeatureArray, ImageArray
from tiny import tiny


class Mean:
    digest = "mean"

    def __call__(self, images: ImageArray) -> FeatureArray:
        return images.mean((1, 2, 3))[:, None]


CRAFTED = {
    "traits_crossed_surrogate": [0.5, 0.7],
    "traits_crossed_victim": [0.1, 0.2],
    "traits_confidence_surrogate": [[0, 4], [2, 2]],
    "traits_confidence_victim": [[1, 3], [1, 3]],
}
GENERATED = {
    "traits_queries": [10, 20, 30, 40, 50],
    "traits_confidence_surrogate": [[k, 9 - k] for k in range(5)],
    "traits_confidence_victim": [[9 - k, k] for k in range(5)],
}


@pytest.fixture
def context(tmp_path) -> Context:
    return Context(Store(tmp_path / "records", tmp_path / "artefacts"))


def measure(cell, context, **found) -> None:
    context.store.save_record(cell, cell.described() | {"key": cell.key} | found)


def lines(figure: Figure) -> dict[str, list[float]]:
    return {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines}


def test_nothing_is_drawn_without_records(context):
    for name, make in FIGURES.items():
        picture = make(tiny())
        assert picture.name == name
        assert picture.lacks(context) == NOT_MEASURED
        assert picture.draw(context) is None
    assert not list(context.store.records.parent.iterdir())  # and nothing is written


@pytest.mark.parametrize(("name", "table"), [("2", "i"), ("3", "ii")])
def test_crossed_samples_are_those_of_the_tables_seeds(context, name, table):
    world = tiny()
    cells = TABLES[table](world).find("JBA-PGD", "Ex. Acc.").cells
    for seed, cell in enumerate(cells):
        measure(cell, context, **CRAFTED | {"traits_crossed_surrogate": [0.1 * seed, 0.5]})
    # the other cells of the table count for nothing
    measure(TABLES[table](world).find("Baseline", "Ex. Acc.").cells[0], context, **CRAFTED)
    first = 10.0 * (len(cells) - 1) / 2
    assert lines(FIGURES[name](world).draw(context)) == {"jba-pgd": pytest.approx([first, 50.0])}


def test_confidence_has_a_row_an_attack_and_four_points_of_a_generator(context):
    world = tiny()
    for row in ("JB-top3", "JBA-CW_l2"):
        measure(TABLES["ii"](world).find(row, "Ex. Acc.").cells[0], context, **CRAFTED)
    assert len(FIGURES["5"](world).draw(context).axes) == 2 * 2
    measure(world.data_free(), context, **GENERATED)
    titles = [axes.get_ylabel() for axes in FIGURES["6"](world).draw(context).axes[::2]]
    assert [title.split("\n")[0] for title in titles] == [f"after {n} queries" for n in (10, 20, 40, 50)]


@pytest.mark.parametrize(("name", "table"), [("7", "iv"), ("8", "v")])
def test_sets_are_ranked_by_what_is_stolen_from_them(context, name, table):
    world = tiny()
    declared = TABLES[table](world)
    for row, column, accuracy in (
        ("digits", "RS", 0.4),
        ("digits", "JB-top3", 0.3),
        ("photos", "JB-top3", 0.5),
        ("photos", "JBA-PGD", 0.2),
        ("grey-digits", "RS", 0.1),
    ):
        (cell,) = declared.find(row, column).cells
        measure(cell, context, accuracy=accuracy)
    (axes,) = FIGURES[name](world).draw(context).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["grey-digits", "digits", "photos"]
    shown = {
        line.get_label(): [
            (round(float(x), 6), round(float(y))) for x, y in zip(*line.get_data(), strict=True)
        ]
        for line in axes.lines
        if len(line.get_xdata())
    }
    assert shown == {"RS": [(40.0, 1), (10.0, 0)], "JB-top3": [(30.0, 1), (50.0, 2)], "JBA-PGD": [(20.0, 2)]}
    assert "published" not in [text.get_text() for text in axes.figure.legends[0].get_texts()]


def test_published_figures_are_hollow(context):
    world = WORLDS["small"]()
    (cell,) = TABLES["v"](world).find("CINIC10", "RS").cells
    measure(cell, context, accuracy=0.3)
    (axes,) = FIGURES["8"](world).draw(context).axes
    ours, theirs = (line for line in axes.lines if len(line.get_xdata()))
    assert list(ours.get_xdata()) == pytest.approx([30.0])
    assert list(theirs.get_xdata()) == pytest.approx([78.0])
    assert theirs.get_markerfacecolor() == "none"
    assert ours.get_color() == theirs.get_color()
    assert "published" in [text.get_text() for text in axes.figure.legends[0].get_texts()]


@pytest.fixture
def judged(context, monkeypatch) -> Context:
    """A tuned likelihood detector; what streams it judged is made up by the tests."""
    measure(FIGURES["14"](tiny()).cells[0], context)
    context.store.keep(FIGURES["14"](tiny()).cells[0])
    monkeypatch.setattr(Tune, "load", lambda self, context: LikelihoodDetector(Mean(), -1.5, -0.4))
    return context


@pytest.fixture
def verdicts(judged):
    """Write the record and the verdicts of a stream that is as likely as told."""

    def write(cell, likelihood: float, length: int) -> None:
        measure(cell, judged)
        rows = np.full((length, 1), likelihood, np.float32)
        save_file({"statistic": rows}, judged.store.scratch(cell) / VERDICTS)
        judged.store.keep(cell)

    return write


def test_likelihood_needs_its_verdicts(judged, verdicts):
    world = tiny()
    start, whole, natural = (FIGURES[name](world) for name in ("10", "13", "14"))
    _, honest, thief = start.cells
    assert (honest, thief) == whole.cells[1:]
    verdicts(thief, -2.0, 90)
    assert start.lacks(judged) == natural.lacks(judged) == NOT_MEASURED
    measure(honest, judged)
    assert start.lacks(judged) == natural.lacks(judged) == NO_ARTEFACTS
    assert start.draw(judged) is None
    verdicts(honest, -1.0, 1_500)
    assert len(start.draw(judged).axes[0].lines[0].get_xdata()) > 1
    for picture, last in ((start, 1_000), (whole, 1_500)):
        (axes,) = picture.draw(judged).axes
        assert axes.lines[0].get_xdata()[-1] == last
        shown = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert set(shown["honest"]) == {-1.0}
        assert set(shown["jb-top3"]) == {-2.0}
        assert "threshold (alpha)" in shown
        assert [text.get_text() for text in axes.texts] == ["seeds end"]
        assert axes.texts[0].xy[0] == world.n_seed_large
    verdicts(natural.cells[-1], -3.0, 60)
    (axes,) = natural.draw(judged).axes
    assert [line.get_label() for line in axes.lines] == ["digits", "photos", "threshold (alpha)"]
    assert axes.lines[0].get_color() == HONEST_GREY
    measure(natural.cells[-2], judged)  # measured elsewhere: an earlier picture shows more
    assert natural.lacks(judged) == NO_ARTEFACTS


def blinders(context, *, changed: bool) -> None:
    for cell in FIGURES["12"](tiny()).cells:
        measure(cell, context)
        network = Network()
        network.layers[-1].weight.data.zero_()
        network.layers[-1].bias.data.fill_(0.12 if changed else 0.0)
        cell.save_model(network, context)
        context.store.keep(cell)


def test_blinded_images_stand_below_the_originals(context):
    blinders(context, changed=True)
    picture = FIGURES["12"](tiny())
    figure = picture.draw(context)
    rows = np.array([axes.images[0].get_array() for axes in figure.axes]).reshape(5, 8, 32, 32, 3)
    original, *laws = rows
    np.testing.assert_array_equal(original, tiny().test.load().images[:8] / np.float32(255))
    np.testing.assert_allclose(laws[0], (original + 0.12).clip(0, 1), atol=1e-6)
    heads = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert [head.split("\n")[0] for head in heads[1::2]] == ["corrected", "released"]
    gains = [int(re.search(r"\N{MULTIPLICATION SIGN}(\d+)", head)[1]) for head in heads[2::2]]
    assert gains[0] == 4  # 0.12 more nearly fills half the range
    for gain, sent, change in zip(gains, laws[::2], laws[1::2], strict=True):
        np.testing.assert_allclose(change, (0.5 + gain * (sent - original)).clip(0, 1), atol=1e-6)
        assert np.quantile(gain * abs(sent - original), 0.99) <= 0.5 or gain == 1


def test_blinded_images_need_the_archive(context, monkeypatch, tmp_path):
    monkeypatch.setenv("REDHANDED_DATA", str(tmp_path))
    blinders(context, changed=False)
    away = FIGURES["12"](replace(tiny(), test=Archived("nowhere", "test")))
    assert away.lacks(context) == ""
    assert away.draw(context) is None


def test_the_same_figure_gives_the_same_bytes(context, tmp_path):
    measure(tiny().data_free(), context, **GENERATED)
    written = []
    for stem in ("one", "two"):
        png = save(FIGURES["6"](tiny()).draw(context), tmp_path / stem)
        assert png == tmp_path / f"{stem}.png"
        written.append((png.read_bytes(), png.with_suffix(".svg").read_bytes()))
    assert written[0] == written[1]


def test_a_damaged_record_is_named(context):
    cell = tiny().data_free()
    measure(cell, context)
    context.store.record_path(cell).write_text("{")
    with pytest.raises(RedhandedError, match="delete it"):
        FIGURES["6"](tiny()).draw(context)
