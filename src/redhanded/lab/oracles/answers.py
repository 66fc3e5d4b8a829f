"""What an oracle of the user's own may answer: labels or probabilities, checked at every call."""

import json

import numpy as np

from redhanded.errors import RedhandedError
from redhanded.types import Float32

PROBABILITY_SLACK = 1e-3
"""A probability may exceed 1 by rounding, not by more."""


def check_answer(answer: np.ndarray, n: int, classes: int, name: str) -> Float32[np.ndarray, "n classes"]:
    """Return labels [n] as one-hot rows, or probabilities [n, classes] as they are.

    Raises `RedhandedError` naming what is wrong with the answer of the oracle called `name`.
    """
    if answer.ndim not in {1, 2}:
        raise RedhandedError(
            f"oracle: {name} answered an array of shape {list(answer.shape)}; "
            f"expected labels [{n}] or probabilities [{n}, {classes}]"
        )
    if len(answer) != n:
        raise RedhandedError(
            f"oracle: {name} gave {len(answer)} answers to {n} images; expected one for each"
        )
    return _one_hot(answer, classes, name) if answer.ndim == 1 else _probabilities(answer, classes, name)


def _one_hot(labels: np.ndarray, classes: int, name: str) -> np.ndarray:
    if labels.dtype.kind not in "iu":
        raise RedhandedError(f"oracle: labels of {name} are not all integers; expected 0 to {classes - 1}")
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise RedhandedError(
            f"oracle: {name} answered label {outside[0]}; with {classes} classes, labels run from 0 to "
            f"{classes - 1}"
        )
    rows = np.zeros((len(labels), classes), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _probabilities(rows: np.ndarray, classes: int, name: str) -> np.ndarray:
    if rows.dtype.kind not in "iuf":
        raise RedhandedError(f"oracle: probabilities of {name} are not all numbers")
    if rows.shape[1] != classes:
        raise RedhandedError(
            f"oracle: {name} answered {rows.shape[1]} probabilities an image; expected {classes}, one a class"
        )
    if not np.isfinite(rows).all():
        raise RedhandedError(f"oracle: probabilities of {name} are NaN or infinite")
    if rows.min() < 0 or rows.max() > 1 + PROBABILITY_SLACK:
        raise RedhandedError(
            f"oracle: probabilities of {name} run from {rows.min():.3g} to {rows.max():.3g}; "
            "expected 0 to 1, not logits or percentages"
        )
    if not rows.any(axis=1).all():
        raise RedhandedError(
            f"oracle: {name} answered a row of zeros; expected a probability above 0 in each"
        )
    return rows.astype(np.float32)


def unpack(content: bytes, name: str) -> np.ndarray:
    """Return the array in the JSON that an endpoint sent; raises `RedhandedError` if there is none."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RedhandedError(f"oracle: the answer of {name} is not JSON") from error
    fields = [key for key in ("labels", "probabilities") if isinstance(answer, dict) and key in answer]
    if len(fields) != 1:
        raise RedhandedError(
            f'oracle: {name} answered {"both" if fields else "neither"} "labels" and "probabilities"; '
            "expected an object with exactly one of them"
        )
    try:
        array = np.asarray(answer[fields[0]])
    except ValueError as error:
        raise RedhandedError(f'oracle: "{fields[0]}" of {name} has rows of different lengths') from error
    if array.ndim != (1 if fields[0] == "labels" else 2):
        wanted = "a list of integers" if fields[0] == "labels" else "a list of lists of numbers"
        raise RedhandedError(f'oracle: "{fields[0]}" of {name} is not {wanted}')
    return array


def one_line(text: str, length: int = 300) -> str:
    """Return foreign text without line breaks or terminal escapes, cut to `length`."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= length else f"{text[: length - 3]}..."
