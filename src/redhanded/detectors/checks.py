"""Settings and features that could never judge: each check raises one `RedhandedError` line."""

import numpy as np

from redhanded.errors import RedhandedError
from redhanded.types import FeatureArray


def threshold(value: float, flags_to_ban: int) -> None:
    """-inf, which never alarms, is what calibration begins with."""
    if np.isnan(value):
        raise RedhandedError("threshold: it is not a number; calibrate the detector")
    least(1, flags_to_ban=flags_to_ban)


def least(bound: int, why: str = "", /, **values: int) -> None:
    for name, value in values.items():
        if value < bound:
            raise RedhandedError(f"{name}: {value} must be at least {bound}{why and '; '}{why}")


def capacity(held: int | None, bound: int, rule: str, why: str = "nothing would ever be tested") -> None:
    if held is not None and held < bound:
        raise RedhandedError(f"capacity: {held} must be {rule}, or None; {why}")


def choice(choices: tuple[str, ...], **values: str) -> None:
    for name, value in values.items():
        if value not in choices:
            raise RedhandedError(f"{name}: {value!r} must be one of {', '.join(choices)}")


def one_each(features: FeatureArray, detector: str, what: str) -> FeatureArray:
    """Return features, or raise `RedhandedError` unless there is one, `what`, an image."""
    if (width := features.shape[1]) != 1:
        raise RedhandedError(
            f"encoder: it gives {width} features an image; the {detector} detector takes one, {what}"
        )
    return features
