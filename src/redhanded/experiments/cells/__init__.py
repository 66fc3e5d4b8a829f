"""The cells: what can be measured, each a frozen value that names all it depends on."""

from redhanded.experiments.cells.calibrate import Calibrate
from redhanded.experiments.cells.detect import Detect, Honest
from redhanded.experiments.cells.encoder import PretrainEncoder, TrainEncoder
from redhanded.experiments.cells.extract import Extract
from redhanded.experiments.cells.initial import ImagenetWeights, PublicWeights
from redhanded.experiments.cells.networks import TrainHardness, TrainOutlierClassifier, TrainSeat
from redhanded.experiments.cells.tune import Distinct, Tune
from redhanded.experiments.cells.victim import TrainVictim
from redhanded.experiments.cells.vqvae import TrainPrior, TrainVqVae
from redhanded.experiments.cells.watched import Watched

__all__ = [
    "Calibrate",
    "Detect",
    "Distinct",
    "Extract",
    "Honest",
    "ImagenetWeights",
    "PretrainEncoder",
    "PublicWeights",
    "TrainEncoder",
    "TrainHardness",
    "TrainOutlierClassifier",
    "TrainPrior",
    "TrainSeat",
    "TrainVictim",
    "TrainVqVae",
    "Tune",
    "Watched",
]
