"""The adaptations by the names that arrive from outside, at the size of a world (§VII)."""

from collections.abc import Callable, Mapping

from redhanded.experiments.cells import adapt
from redhanded.experiments.worlds.world import World
from redhanded.lab.adaptive.autoencoder import Blinding
from redhanded.lab.adaptive.blinding import TRANSFORMS, transform
from redhanded.lab.adaptive.filtering import Filtering
from redhanded.lab.types import Fidelity


def _filtered(world: World, *, with_seeds: bool = False) -> adapt.Filtered:
    substitute = adapt.TrainSubstitute(world.name, world.thief, world.substitute)
    return adapt.Filtered(substitute, Filtering(seeds_in_history=with_seeds))


def adapted(world: World, name: str, law: Fidelity) -> adapt.Adapted | None:
    """Return an adaptation of `ADAPTATIONS`; where blinding has two readings, the one asked for."""
    if name in TRANSFORMS:
        return adapt.Blinded(transform(name, law))
    return _auto_encoded(world, law) if name == "auto-encoder" else ADAPTATIONS[name](world)


def _auto_encoded(world: World, law: Fidelity = "corrected") -> adapt.AutoEncoded:
    own, blinding = world.scale.final_training, Blinding(training=world.blinder_training, fidelity=law)
    return adapt.AutoEncoded(adapt.TrainBlinder(world.name, world.thief, world.surrogate, own, blinding))


ADAPTATIONS: Mapping[str, Callable[[World], adapt.Adapted | None]] = {
    "none": lambda world: None,  # noqa: ARG005 - nothing depends on the world
    "filtering": _filtered,
    "filtering-with-seeds": lambda world: _filtered(world, with_seeds=True),
    **{kind: lambda world, kind=kind: adapt.Blinded(transform(kind)) for kind in TRANSFORMS},  # type: ignore[misc]  # noqa: ARG005
    "auto-encoder": _auto_encoded,
}
"""Adaptations by the names that arrive from outside."""
