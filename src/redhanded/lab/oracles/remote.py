"""A user's own target as an oracle: an HTTP endpoint, or a Python callable. See docs/oracle.md."""

import base64
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from operator import attrgetter
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch

from redhanded.errors import RedhandedError
from redhanded.lab.oracles.answers import check_answer, one_line, unpack
from redhanded.lab.types import Images, Oracle, Outputs
from redhanded.types import ImageArray

RETRIED = (429, *range(500, 600))


@dataclass
class Pace:
    """At most `rate` images a second on average: whatever is sent delays what follows it."""

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    ready: float = field(default=-math.inf, init=False)
    """When the next batch may leave."""

    def take(self, images: int) -> None:
        wait = self.ready - self.clock()
        if wait > 0:
            self.sleep(wait)
        self.ready = max(self.ready, self.clock())
        self.charge(images)

    def charge(self, images: int) -> None:
        """Account for `images` that have left, without waiting."""
        self.ready += images / self.rate


@dataclass
class HttpOracle:
    """An oracle behind HTTP: images [n, 3, h, w] in [0, 1] to one-hot labels or probabilities [n, classes].

    A batch is sent again after a lost connection, a time-out, a 429 or a 5xx, waiting as long as the server's
    Retry-After says or else 0, 2, 4, 8, ... times `backoff`; never once a 2xx has arrived. Whatever else goes
    wrong raises `RedhandedError`. One oracle serves one thread.
    """

    url: str
    classes: int
    _: KW_ONLY
    batch: int = 64
    """Images a request."""
    timeout: float = 30.0
    """Seconds to connect, and seconds between two bytes of an answer."""
    retries: int = 5
    """Further attempts a request."""
    rate: float | None = None
    """Images a second, retried ones included; None sends as fast as the server answers."""
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    backoff: float = 0.5
    """Seconds."""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    resent: int = field(default=0, init=False)
    """Images sent again so far; the far side may have counted them twice."""

    def __post_init__(self) -> None:
        _check_classes(self.classes)
        self.name = _shown(self.url)
        for option in ("batch", "timeout", "rate"):
            value = getattr(self, option)
            if value is not None and not 0 < value < math.inf:
                raise RedhandedError(f"{option}: expected a number above 0, got {value}")
        for option in ("retries", "backoff"):
            value = getattr(self, option)
            if value < 0:
                raise RedhandedError(f"{option}: expected 0 or more, got {value}")
        self._session = _open_session(self.retries, self.backoff, self.headers or {})
        self._pace = None if self.rate is None else Pace(self.rate, self.clock, self.sleep)

    def __call__(self, images: Images) -> Outputs:
        pixels = _pixels(images)
        answers = [np.zeros((0, self.classes), np.float32)]  # no images, no request
        for start in range(0, len(pixels), self.batch):
            part = pixels[start : start + self.batch]
            answer = unpack(self._post(part), self.name)
            answers.append(check_answer(answer, len(part), self.classes, self.name))
        return torch.from_numpy(np.concatenate(answers)).to(images.device)

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._session.close()

    def _post(self, pixels: ImageArray) -> bytes:
        import requests

        if self._pace is not None:
            self._pace.take(len(pixels))
        body = {
            "images": base64.b64encode(pixels.astype("<f4").tobytes()).decode("ascii"),
            "shape": list(pixels.shape),
        }
        try:
            # `stream` parts the head of the answer, up to which urllib3 retries, from the body.
            response = self._session.post(
                self.url, json=body, timeout=self.timeout, allow_redirects=False, stream=True
            )
        except requests.RequestException as error:
            reason = getattr(error.args[0] if error.args else error, "reason", error)
            raise RedhandedError(
                f"oracle: no answer from {self.name} after {self.retries} retries: {one_line(str(reason))}"
            ) from error
        again = len(pixels) * len(response.raw.retries.history)
        self.resent += again
        if self._pace is not None:
            self._pace.charge(again)
        try:
            content: bytes = response.content
        except requests.RequestException as error:
            raise RedhandedError(
                f"oracle: the answer of {self.name} broke off after HTTP {response.status_code}; "
                "the batch is not sent again, as it may have been counted"
            ) from error
        finally:
            response.close()
        if not 200 <= response.status_code < 300:
            raise RedhandedError(self._refusal(response.status_code, response.headers, content))
        return content

    def _refusal(self, status: int, headers: Mapping[str, str], content: bytes) -> str:
        detail = _problem(headers.get("Content-Type", ""), content)
        if status < 400:
            to = one_line(headers.get("Location", "elsewhere"))
            return f"oracle: HTTP {status} from {self.name} redirects to {to}; give the final URL"
        if status == 403:
            return f"oracle: HTTP 403 from {self.name}: the account was closed{detail}"
        again = f" after {self.retries} retries" if status in RETRIED else ""
        return f"oracle: HTTP {status} from {self.name}{again}{detail}"


def callable_oracle(spec: str, classes: int) -> Oracle:
    """Return the oracle "module:callable"; the working directory is searched last.

    The callable takes float32 [n, 3, h, w] in [0, 1] (its own copy) and returns integer labels [n] or
    probabilities [n, classes]. Raises `RedhandedError` if it cannot be found; so does the oracle if the
    callable raises or its answer is malformed.
    """
    _check_classes(classes)
    predict = _load(spec)

    def ask(images: Images) -> Outputs:
        if not len(images):
            return torch.zeros((0, classes), device=images.device)
        pixels = _pixels(images)
        try:
            answer = np.asarray(predict(pixels))
        except Exception as error:
            raise RedhandedError(
                f"oracle: {spec} raised {type(error).__name__}: {one_line(str(error))}"
            ) from error
        return torch.from_numpy(check_answer(answer, len(images), classes, spec)).to(images.device)

    return ask


def oracle_from(spec: str, classes: int, rate: float | None = None) -> Oracle:
    """Return the oracle that a URL or "module:callable" names; only a URL takes a rate."""
    if spec.lower().startswith(("http://", "https://")):
        return HttpOracle(spec, classes, rate=rate)
    if rate is not None:
        raise RedhandedError(f"rate: only an oracle behind HTTP takes this; {spec} is a callable")
    return callable_oracle(spec, classes)


def _open_session(retries: int, backoff: float, headers: Mapping[str, str]) -> Any:
    try:
        from requests import Session
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry
    except ModuleNotFoundError as error:
        raise RedhandedError(
            "oracle: an oracle behind HTTP needs requests; install redhanded[lab]"
        ) from error
    policy = Retry(
        total=retries,
        allowed_methods=None,  # POST too: a query changes nothing but a counter
        status_forcelist=RETRIED,
        backoff_factor=backoff,
        raise_on_status=False,  # the last refusal says why
    )
    session = Session()
    session.headers.update({"Accept": "application/json", **headers})
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=policy))
    return session


def _load(spec: str) -> Callable[[np.ndarray], Any]:
    module, colon, path = spec.partition(":")
    if not (module and colon and path) or "/" in spec:
        raise RedhandedError(
            f"oracle: {spec!r} is neither a URL (https://host/path) nor module:callable (model:predict)"
        )
    if os.getcwd() not in sys.path:  # noqa: PTH109 -- sys.path holds strings
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise RedhandedError(
            f"oracle: cannot import {module}: {type(error).__name__}: {one_line(str(error))}"
        ) from error
    try:
        predict = attrgetter(path)(found)
    except AttributeError as error:
        raise RedhandedError(f"oracle: module {module} has no {path}") from error
    if not callable(predict):
        raise RedhandedError(f"oracle: {spec} is {type(predict).__name__}, not a callable")
    return predict  # type: ignore[no-any-return]  # what it takes and returns is checked at each call


def _pixels(images: Images) -> ImageArray:
    """Return a copy in main memory, so that nobody can write into the thief's own images."""
    return np.array(images.detach().cpu().float().numpy(), np.float32, order="C")


def _check_classes(classes: int) -> None:
    if classes < 2:
        raise RedhandedError(f"classes: expected 2 or more, got {classes}")


def _shown(url: str) -> str:
    """Return the URL as errors show it: without password and query, where keys live."""
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError as error:
        raise RedhandedError(f"oracle: {url!r} is not a URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise RedhandedError(f"oracle: {url!r} is not a URL; expected http://host/path or https://host/path")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _problem(content_type: str, content: bytes) -> str:
    """Return ": detail" of an RFC 9457 problem, or of another JSON object alike; else nothing."""
    if "json" not in content_type:
        return ""
    try:
        problem = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    texts = [problem.get(key) for key in ("detail", "title")] if isinstance(problem, dict) else []
    return next((f": {one_line(text)}" for text in texts if isinstance(text, str) and text), "")
