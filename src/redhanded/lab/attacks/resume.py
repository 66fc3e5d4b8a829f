"""An attack that is cut short goes on where it stopped.

A training saves its whole state in a `Checkpoint` (`redhanded.lab.training`). A data-free attack, which is
one long training, does the same by its `Saver`, beside whatever its caller counts. The others run again from
their start, and find what took long in a `Journal`: each crafted batch, each choice, each trained surrogate.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Protocol, runtime_checkable

from torch import Generator, Tensor, nn

from redhanded.lab.training import Checkpoint, State

Tensors = dict[str, Tensor]
Train = Callable[[Checkpoint | None], None]


@runtime_checkable
class Saver(Protocol):
    """Keeps a long attack, and whatever its caller counts beside it, from one process to the next."""

    def load(self) -> State:
        """Return what was kept last; nothing at the start."""

    def offer(self, state: Callable[[], State]) -> None:
        """Take the state if it is time to.

        Called where the attack can go on from, once every round so far was yielded and its caller came back
        for the next. The tensors are the attack's own: they change as it goes on.
        """


@runtime_checkable
class Journal(Protocol):
    """Remembers the long steps of an attack, which takes them in the same order whenever it runs."""

    def step(self, compute: Callable[[], Tensors], given: Sequence[Tensor], generator: Generator) -> Tensors:
        """Return what `compute` returns or, if this step was taken before, returned then.

        `given` are whole numbers (labels, targets, places) that say what is computed: a step that was given
        others is taken anew, and so is all that followed it. `generator` stands afterwards where it stood
        then. What was remembered is on the CPU.
        """

    def training(self, model: nn.Module, train: Train, given: Sequence[Tensor], generator: Generator) -> None:
        """Let `train` train the model or, if it did before, give the model the weights of then.

        `train` is handed where to save itself, if anywhere; `given` is as in `step`.
        """


class Forgetful:
    """The journal of an attack that nobody will have to continue."""

    def step(self, compute: Callable[[], Tensors], given: Sequence[Tensor], generator: Generator) -> Tensors:
        del given, generator
        return compute()

    def training(self, model: nn.Module, train: Train, given: Sequence[Tensor], generator: Generator) -> None:
        del model, given, generator
        train(None)


FORGETFUL = Forgetful()


@runtime_checkable
class Journaled(Protocol):
    """An attack whose `run` takes a `journal`."""

    journaled: ClassVar[Literal[True]]
