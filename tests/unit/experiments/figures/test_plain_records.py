"""Which records figures are drawn from."""

from redhanded.experiments.figures.queries import plain


def theft(**values):
    usual = {"world": "demo", "attack": "jb-top3", "n_seed": 400, "budget": 2_400, "query_set": "digits"}
    return usual | {"adaptation": "none"} | values


def test_figures_show_attacks_as_they_are():
    kept = [
        theft(seed=0),
        theft(seed=1),
        theft(n_seed=100),
        theft(attack="knockoff", n_seed=0, budget=400, query_set="digits+photos"),
        theft(world="another", query_set="cats"),
    ]
    others = [theft(adaptation="rotate corrected"), theft(query_set="grey-digits"), theft(budget=1_000)]
    assert plain([*others, *kept]) == kept
