"""Figures of queries hold what the records say."""

import pytest

from redhanded.experiments.figures.queries import confidence_over_queries, crossed_samples, traits_by_attack


def extraction(attack: str, seed: int = 0, **traits: object) -> dict:
    record = {"attack": attack, "seed": seed, "n_seed": 10, "key": f"{attack}-{seed}", "accuracy": 0.4}
    return record | {"transfer_accuracy": 0.9} | traits


CRAFTED = {
    "traits_crossed_surrogate": [0.5, 0.7],
    "traits_crossed_victim": [0.1, 0.2],
    "traits_reached_surrogate": [0.2, 0.4],
    "traits_reached_victim": [0.0, 0.1],
    "traits_l2": [1.0, 2.0],
}


def test_traits_are_means_over_rounds_and_seeds() -> None:
    records = [
        extraction("jba-pgd", **CRAFTED),
        extraction("jba-pgd", 1, **CRAFTED | {"traits_l2": [3.0, 4.0]}),
        extraction("random"),
    ]
    ranks = [
        {"stream": "jba-pgd-0", "loss": "per-pair", "query_effective_rank": 3.0},
        {"stream": "jba-pgd-0", "loss": "released", "query_effective_rank": 1.0},
        {"stream": "jba-pgd-0", "detector": "vae"},
    ]
    figure = traits_by_attack(records, ranks)
    reached, change, accuracy, directions = figure.axes
    assert [line.get_label() for line in reached.lines] == ["on the surrogate", "on the victim"]
    assert reached.lines[0].get_xdata() == pytest.approx([30.0])
    assert reached.lines[1].get_xdata() == pytest.approx([5.0])
    assert change.lines[0].get_xdata() == pytest.approx([2.5])
    assert accuracy.lines[0].get_xdata() == pytest.approx([90.0, 90.0])
    assert accuracy.lines[1].get_xdata() == pytest.approx([40.0, 40.0])
    assert directions.lines[0].get_xdata() == pytest.approx([3.0])
    assert [label.get_text() for label in reached.get_yticklabels()] == ["jba-pgd", "random"]


def test_a_panel_without_figures_is_left_out() -> None:
    (accuracy,) = traits_by_attack([extraction("random")], []).axes
    assert accuracy.get_title(loc="left") == "clone's accuracy (%)"


def test_crossed_samples_are_drawn_with_their_spread() -> None:
    records = [
        extraction("jba-pgd", **CRAFTED),
        extraction("jba-pgd", 1, **CRAFTED | {"traits_crossed_surrogate": [0.7, 0.7, 0.1]}),
    ]
    surrogate, victim = crossed_samples(records).axes
    assert surrogate.lines[0].get_ydata() == pytest.approx([60, 70, 10])
    assert victim.lines[0].get_ydata() == pytest.approx([10, 20])


def test_the_papers_attacks_look_alike_in_figures_of_others() -> None:
    def looks(*names: str) -> dict[object, tuple[object, object]]:
        axes = crossed_samples([extraction(name, **CRAFTED) for name in names]).axes[0]
        return {line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines}

    full = looks("jb-top3", "jba-bs", "jba-cw", "jba-pgd", "tramer")
    some = looks("jba-cw", "jba-pgd", "dfme")
    assert len(set(full.values())) == 5
    assert [some[name] for name in ("jba-cw", "jba-pgd")] == [full[name] for name in ("jba-cw", "jba-pgd")]
    assert some["dfme"] not in (some["jba-cw"], some["jba-pgd"])


def test_nothing_crafted_is_said() -> None:
    (axes,) = crossed_samples([extraction("random")]).axes
    assert "No attack" in axes.texts[0].get_text()
    (axes,) = confidence_over_queries(extraction("random")).axes
    assert axes.texts[0].get_text() == "Nothing was generated."
