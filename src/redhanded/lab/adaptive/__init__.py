"""What a thief who knows the detector does to its queries: it blinds them (§VII-A)."""

from redhanded.lab.adaptive.autoencoder import AutoEncoder, Blinding, train_autoencoder
from redhanded.lab.adaptive.blinding import PARAMETERS, TRANSFORMS, Blinder, Law, Transform, blind, transform

__all__ = [
    "PARAMETERS",
    "TRANSFORMS",
    "AutoEncoder",
    "Blinder",
    "Blinding",
    "Law",
    "Transform",
    "blind",
    "train_autoencoder",
    "transform",
]
