"""An attack that is cut short goes on where it stopped.

By one of two ways: a data-free attack says what it consists of, as tensors by name (`Saver`); the others run
again from their start, and find what took long in a journal (`Journal`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from redhanded.lab.training import Checkpoint

Tensors = dict[str, Tensor]
Parts = Mapping[str, nn.Module | torch.optim.Optimizer]


@runtime_checkable
class Saver(Protocol):
    """Keeps a long attack, and whatever its caller counts beside it, from one process to the next."""

    def load(self) -> Tensors:
        """Return what was kept last; nothing at the start."""
        ...

    def offer(self, state: Callable[[], Tensors]) -> None:
        """Take the state if it is time to.

        Called where the attack can go on from, once every round so far was yielded and its caller came back
        for the next.
        """
        ...


@runtime_checkable
class Journal(Protocol):
    """Remembers the long steps of an attack, which takes them in the same order whenever it runs."""

    def step(
        self, compute: Callable[[], Tensors], given: Sequence[Tensor], generator: torch.Generator
    ) -> Tensors:
        """Return what `compute` returns or, if this step was taken before, returned then.

        `given` are whole numbers (labels, targets, places) that say what is computed: a step that was given
        others is taken anew, and so is all that followed it. `generator` stands afterwards where it stood
        then. What was remembered is on the CPU.
        """
        ...

    def training(
        self,
        model: nn.Module,
        train: Callable[[Checkpoint | None], None],
        given: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        """Let `train` train the model or, if it did before, give the model the weights of then.

        `train` is handed where to save itself, if anywhere; `given` is as in `step`.
        """
        ...


class Forgetful:
    """The journal of an attack that nobody will have to continue."""

    def step(
        self, compute: Callable[[], Tensors], given: Sequence[Tensor], generator: torch.Generator
    ) -> Tensors:
        """Take the step."""
        del given, generator
        return compute()

    def training(
        self,
        model: nn.Module,
        train: Callable[[Checkpoint | None], None],
        given: Sequence[Tensor],
        generator: torch.Generator,
    ) -> None:
        """Train."""
        del model, given, generator
        train(None)


FORGETFUL = Forgetful()


@runtime_checkable
class Journaled(Protocol):
    """An attack whose `run` takes a `journal`."""

    journaled: ClassVar[Literal[True]]


def pack(parts: Parts, generator: torch.Generator) -> Tensors:
    """Return the weights, what the optimisers remember, and where the generator stands; copies on the CPU.

    Rates are not among it: who resumes sets them anyway.
    """
    found = {"generator": generator.get_state()}
    for name, part in parts.items():
        state = part.state_dict()
        if isinstance(part, torch.optim.Optimizer):
            state = {
                f"{n}.{field}": value for n, kept in state["state"].items() for field, value in kept.items()
            }
        found |= {
            f"{name}.{field}": value.detach().cpu().contiguous().clone()
            for field, value in state.items()
            if isinstance(value, Tensor)
        }
    return found


def unpack(parts: Parts, generator: torch.Generator, stored: Mapping[str, Tensor]) -> None:
    """Bring equally built parts and the generator to where `pack` found them."""
    generator.set_state(stored["generator"])
    for name, part in parts.items():
        state = {
            field.removeprefix(f"{name}."): value
            for field, value in stored.items()
            if field.startswith(f"{name}.")
        }
        if isinstance(part, nn.Module):
            part.load_state_dict(state)
        else:
            part.load_state_dict(
                {"state": _remembered(part, state), "param_groups": part.state_dict()["param_groups"]}
            )


def _remembered(optimiser: torch.optim.Optimizer, stored: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
    """Sort by parameter, in its layout: kernels for another layout may round otherwise."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for name, value in stored.items():
        place, field = name.split(".", 1)
        like = parameters[int(place)]
        beside = value.ndim > 0 and value.shape == like.shape
        state.setdefault(int(place), {})[field] = (
            torch.empty_like(like, requires_grad=False).copy_(value) if beside else value
        )
    return state
