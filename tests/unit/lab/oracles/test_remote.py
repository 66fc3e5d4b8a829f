"""The user's own target, against a real server on loopback."""

import base64
import importlib.util
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from redhanded.errors import RedhandedError
from redhanded.lab.oracles.remote import HttpOracle, Pace, callable_oracle, oracle_from

ROOT = Path(__file__).parents[4]
PROBLEM = "application/problem+json"


class Step(NamedTuple):
    """One scripted answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012
    length: int | None = None  # what Content-Length claims


class Script:
    """A server that answers step by step, repeats the last step, and keeps what it was sent."""

    def __init__(self, *steps: Step) -> None:
        self.steps, self.requests, self.heads = list(steps), [], []

    def next(self, request: dict[str, Any], head: dict[str, str]) -> Step:
        self.requests.append(request)
        self.heads.append(head)
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def scripted(*steps: Step) -> Iterator[tuple[str, Script]]:
    script = Script(*steps)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            step = script.next(json.loads(body), dict(self.headers))
            self.send_response(step.status)
            for name, value in step.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(step.body) if step.length is None else step.length))
            self.end_headers()
            self.wfile.write(step.body)

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url, script


def ok(**answer: Any) -> Step:
    return Step(200, json.dumps(answer).encode())


def problem(status: int, **members: str) -> Step:
    return Step(status, json.dumps(members).encode(), {"Content-Type": PROBLEM})


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((n, 3, 4, 5), generator=torch.Generator().manual_seed(seed))


def quick(url: str, classes: int = 3, **options: Any) -> HttpOracle:
    return HttpOracle(url, classes, **{"backoff": 0.001, "retries": 2, "timeout": 5.0, **options})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("oracle_server", ROOT / "examples" / "oracle_server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the working directory and return its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = "redhanded_test_target"

    def write(source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    sys.modules.pop(name, None)


def test_labels_become_one_hot_rows() -> None:
    with scripted(ok(labels=[2, 0])) as (url, _):
        outputs = quick(url)(images(2))
    assert outputs.dtype == torch.float32
    assert outputs.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_probabilities_pass_as_they_are() -> None:
    rows = [[0.25, 0.5, 0.25], [0, 0.125, 0]]
    with scripted(ok(probabilities=rows, model="ignored")) as (url, _):
        assert quick(url)(images(2)).tolist() == rows


def test_the_request_is_the_documented_one_to_the_bit() -> None:
    sent = images(2)
    with scripted(ok(labels=[0, 0])) as (url, script):
        quick(url, headers={"Authorization": "Bearer s3cret"})(sent.permute(0, 1, 3, 2))
    (request,) = script.requests
    assert set(request) == {"images", "shape"}
    assert request["shape"] == [2, 3, 5, 4]
    pixels = np.frombuffer(base64.b64decode(request["images"]), "<f4").reshape(request["shape"])
    assert np.array_equal(pixels, sent.permute(0, 1, 3, 2).numpy())
    assert script.heads[0]["Authorization"] == "Bearer s3cret"
    assert script.heads[0]["Content-Type"] == "application/json"


def test_batches_keep_the_order_and_the_last_is_short() -> None:
    with scripted(ok(labels=[0, 1]), ok(labels=[2, 0]), ok(labels=[1])) as (url, script):
        outputs = quick(url, batch=2)(images(5))
    assert outputs.argmax(1).tolist() == [0, 1, 2, 0, 1]
    assert [request["shape"][0] for request in script.requests] == [2, 2, 1]


def test_no_images_no_request() -> None:
    with scripted(ok(labels=[])) as (url, script):
        assert quick(url)(images(0)).shape == (0, 3)
    assert script.requests == []


def test_documented_exchange() -> None:
    """The request and the response printed in docs/oracle.md are real ones."""
    text = (ROOT / "docs" / "oracle.md").read_text()
    request, labels, rows = (json.loads(block.split("```")[0]) for block in text.split("```json\n")[1:4])
    pixels = np.frombuffer(base64.b64decode(request["images"]), "<f4").reshape(request["shape"]).copy()
    for answer in (labels, rows):
        with scripted(ok(**answer)) as (url, script):
            outputs = quick(url)(torch.from_numpy(pixels))
        assert script.requests == [request]
        assert outputs.argmax(1).tolist() == labels["labels"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_refusals_are_retried(status: int) -> None:
    refusal = Step(status, b"wait", {"Retry-After": "0"} if status == 429 else {})
    with scripted(refusal, refusal, ok(labels=[1])) as (url, script):
        oracle = quick(url)
        assert oracle(images(1)).tolist() == [[0, 1, 0]]
    assert len(script.requests) == 3
    assert oracle.resent == 2


def test_retry_after_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    with scripted(Step(429, b"", {"Retry-After": "7"}), ok(labels=[1])) as (url, _):
        quick(url)(images(1))
    assert slept == [7]


def test_backoff_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", slept.append)
    with scripted(Step(503)) as (url, _), pytest.raises(RedhandedError, match="HTTP 503"):
        quick(url, retries=4, backoff=0.5)(images(1))
    assert slept == [1, 2, 4]  # and the first retry at once


def test_a_lost_connection_is_retried() -> None:
    """The server closes before it answers: nothing arrived, so the batch goes out again."""
    answer = b'{"labels": [1]}'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = []

        def serve() -> None:
            for attempt in range(2):
                connection, _ = listener.accept()
                with connection, connection.makefile("rb") as stream:
                    length = next(
                        int(line[15:]) for line in stream if line.lower().startswith(b"content-length")
                    )
                    while stream.readline().strip():
                        pass
                    seen.append(stream.read(length))
                    if attempt:
                        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
                            answer
                        )
                        connection.sendall(head + answer)

        thread = threading.Thread(target=serve)
        thread.start()
        oracle = quick(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert oracle(images(4)[:1]).tolist() == [[0, 1, 0]]
        thread.join()
    assert seen[0] == seen[1]
    assert oracle.resent == 1


def test_a_batch_is_never_sent_again_after_a_2xx() -> None:
    broken = Step(200, b'{"labels": ', length=100)
    with (
        scripted(broken, ok(labels=[1])) as (url, script),
        pytest.raises(RedhandedError, match=r"broke off after HTTP 200.*not sent again"),
    ):
        quick(url)(images(1))
    assert len(script.requests) == 1


def test_retries_end() -> None:
    with (
        scripted(problem(503, title="Overloaded")) as (url, script),
        pytest.raises(RedhandedError, match=rf"^oracle: HTTP 503 from {url} after 2 retries: Overloaded$"),
    ):
        quick(url)(images(1))
    assert len(script.requests) == 3


def test_a_dead_port_is_unreachable() -> None:
    with socket.socket() as holder:  # bound but not listening: refuses
        holder.bind(("127.0.0.1", 0))
        url = f"http://user:pass@127.0.0.1:{holder.getsockname()[1]}/predict?key=s3cret"
        with pytest.raises(RedhandedError, match=r"no answer from .* after 2 retries: .*refused") as caught:
            quick(url)(images(1))
    text = str(caught.value)
    assert "\n" not in text
    assert "pass" not in text
    assert "s3cret" not in text


def test_a_silent_server_times_out() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(RedhandedError, match=r"after 0 retries: .*timed out"),
    ):
        quick(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.05, retries=0)(images(1))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            problem(403, title="Forbidden", detail="Closed."),
            "HTTP 403 from .*: the account was closed: Closed.$",
        ),
        (Step(403, b"<html>"), "the account was closed$"),
        (problem(400, title="Bad Request"), "HTTP 400 from .*: Bad Request$"),
        (problem(422, detail="a\x1b[31m\nb"), r"HTTP 422 from .*: a \[31m b$"),
        (Step(404, b"[]", {"Content-Type": PROBLEM}), "HTTP 404 from http://127.0.0.1:[0-9]+$"),
        (Step(400, b"{", {"Content-Type": PROBLEM}), "HTTP 400 from http://127.0.0.1:[0-9]+$"),
        (Step(307, b"", {"Location": "/v2"}), "HTTP 307 from .* redirects to /v2; give the final URL$"),
    ],
)
def test_refusals_end_in_one_line_at_once(step: Step, message: str) -> None:
    with scripted(step) as (url, script), pytest.raises(RedhandedError, match=message) as caught:
        quick(url)(images(1))
    assert "\n" not in str(caught.value)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[0, 1]", "neither"),
        (b'{"label": [0, 1]}', "neither"),
        (b'{"labels": [0, 1], "probabilities": []}', "both"),
        (b'{"labels": [0]}', "1 answers to 2 images"),
        (b'{"labels": []}', "0 answers to 2 images"),
        (b'{"labels": [0, 1, 2]}', "3 answers to 2 images"),
        (b'{"labels": 0}', "not a list of integers"),
        (b'{"labels": null}', "not a list of integers"),
        (b'{"labels": [[1, 0, 0], [1, 0, 0]]}', "not a list of integers"),
        (b'{"labels": [0.0, 1.0]}', "not all integers"),
        (b'{"labels": ["0", "1"]}', "not all integers"),
        (b'{"labels": [true, false]}', "not all integers"),
        (b'{"labels": [0, 100000000000000000000000000]}', "not all integers"),
        (b'{"labels": [0, 3]}', "label 3; with 3 classes, labels run from 0 to 2"),
        (b'{"labels": [-1, 0]}', "label -1"),
        (b'{"probabilities": [0.5, 0.5]}', "not a list of lists"),
        (b'{"probabilities": [[1, 0, 0], [1, 0]]}', "rows of different lengths"),
        (b'{"probabilities": [[1, 0, 0]]}', "1 answers to 2 images"),
        (b'{"probabilities": [[1, 0], [1, 0]]}', "2 probabilities an image; expected 3"),
        (b'{"probabilities": [[1, 0, 0], [NaN, 0, 0]]}', "NaN or infinite"),
        (b'{"probabilities": [[1, 0, 0], [Infinity, 0, 0]]}', "NaN or infinite"),
        (b'{"probabilities": [[1, 0, 0], [-0.1, 0.6, 0.5]]}', "run from -0.1 to 1"),
        (b'{"probabilities": [[1, 0, 0], [20, 70, 10]]}', "not logits or percentages"),
        (b'{"probabilities": [[1, 0, 0], [0, 0, 0]]}', "row of zeros"),
        (b'{"probabilities": [[1, 0, 0], ["1", "0", "0"]]}', "not all numbers"),
        (b'{"probabilities": [[1, 0, 0], [null, 0, 0]]}', "not all numbers"),
    ],
)
def test_malformed_answers(body: bytes, message: str) -> None:
    with scripted(Step(200, body)) as (url, script), pytest.raises(RedhandedError, match=message) as caught:
        quick(url)(images(2))
    assert str(caught.value).startswith("oracle: ")
    assert "\n" not in str(caught.value)
    assert len(script.requests) == 1


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_pace_spreads_batches_and_forgives_idleness() -> None:
    clock = Clock()
    pace = Pace(10.0, clock, clock.sleep)
    pace.take(20)
    pace.take(5)
    assert clock.slept == [2]
    clock.now += 60  # idle time is not saved up for a burst
    pace.take(1)
    pace.take(1)
    assert clock.slept == pytest.approx([2, 0.1])


def test_rate_limits_images_not_requests() -> None:
    clock = Clock()
    with scripted(ok(labels=[0, 0]), ok(labels=[0, 0]), ok(labels=[0])) as (url, _):
        quick(url, batch=2, rate=4.0, clock=clock, sleep=clock.sleep)(images(5))
    assert clock.slept == [0.5, 0.5]


def test_retried_images_count_towards_the_rate() -> None:
    clock = Clock()
    with scripted(Step(503), Step(503), ok(labels=[0, 0])) as (url, _):
        quick(url, batch=2, rate=4.0, clock=clock, sleep=clock.sleep)(images(4))
    assert clock.slept == [1.5]


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("ftp://127.0.0.1/", {}, "not a URL"),
        ("http://", {}, "not a URL"),
        ("http://127.0.0.1:x/", {}, "not a URL"),
        ("http://[::1/", {}, "not a URL"),
        ("http://127.0.0.1/", {"classes": 1}, "^classes: "),
        ("http://127.0.0.1/", {"batch": 0}, "^batch: "),
        ("http://127.0.0.1/", {"timeout": 0.0}, "^timeout: "),
        ("http://127.0.0.1/", {"rate": 0.0}, "^rate: "),
        ("http://127.0.0.1/", {"rate": float("nan")}, "^rate: "),
        ("http://127.0.0.1/", {"retries": -1}, "^retries: "),
        ("http://127.0.0.1/", {"backoff": -1.0}, "^backoff: "),
    ],
)
def test_options_are_checked(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RedhandedError, match=message):
        quick(url, **options)


def test_secrets_do_not_show() -> None:
    assert "s3cret" not in repr(quick("http://127.0.0.1/", headers={"Authorization": "s3cret"}))


def test_without_requests_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(RedhandedError, match=r"redhanded\[lab\]"):
        quick("http://127.0.0.1/")


def test_callable_labels_and_probabilities(module: Callable[[str], str]) -> None:
    name = module(
        "import numpy as np\n"
        "def labels(x):\n"
        "    assert x.dtype == np.float32 and x.shape[1:] == (3, 4, 5)\n"
        "    x[:] = 0\n"
        "    return [1] * len(x)\n"
        "class Model:\n"
        "    def rows(self, x):\n"
        "        return np.full((len(x), 4), 0.25)\n"
        "model = Model()\n"
    )
    sent = images(2)
    before = sent.clone()
    assert callable_oracle(f"{name}:labels", 3)(sent).tolist() == [[0, 1, 0]] * 2
    assert torch.equal(sent, before)  # the callable works on its own copy
    assert callable_oracle(f"{name}:model.rows", 4)(sent).tolist() == [[0.25] * 4] * 2
    assert callable_oracle(f"{name}:labels", 3)(images(0)).shape == (0, 3)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("np.zeros(3, int)", "3 answers to 2 images"),
        ("np.array([0, 3])", "label 3"),
        ("np.zeros(2)", "not all integers"),
        ("np.eye(2)", "2 probabilities an image"),
        ("np.full((2, 3), np.nan)", "NaN"),
        ("np.zeros((2, 3, 1))", r"shape \[2, 3, 1\]"),
        ("None", r"shape \[\]"),
        ("[[1], [1, 2]]", "raised ValueError"),
    ],
)
def test_callable_answers_are_checked(module: Callable[[str], str], answer: str, message: str) -> None:
    name = module(f"import numpy as np\ndef f(x): return {answer}\n")
    with pytest.raises(RedhandedError, match=message):
        callable_oracle(f"{name}:f", 3)(images(2))


def test_an_exception_inside_is_named_and_chained(module: Callable[[str], str]) -> None:
    name = module("def f(x): raise KeyError('no\\nweights')\n")
    with pytest.raises(RedhandedError, match=f"^oracle: {name}:f raised KeyError: ") as caught:
        callable_oracle(f"{name}:f", 3)(images(1))
    assert isinstance(caught.value.__cause__, KeyError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "attribute", "message"),
    [
        ("x = 1", "f", "has no f$"),
        ("x = 1", "x", "is int, not a callable"),
        ("1 / 0", "f", "cannot import redhanded_test_target: ZeroDivisionError: division by zero"),
        ("def", "f", "cannot import redhanded_test_target: SyntaxError"),
    ],
)
def test_callable_cannot_be_found(
    module: Callable[[str], str], source: str, attribute: str, message: str
) -> None:
    name = module(source)
    with pytest.raises(RedhandedError, match=message):
        callable_oracle(f"{name}:{attribute}", 3)


@pytest.mark.parametrize("spec", ["", "model", "model:", ":predict", "ftp://host/predict"])
def test_neither_url_nor_callable(spec: str) -> None:
    with pytest.raises(RedhandedError, match="neither a URL"):
        oracle_from(spec, 3)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(RedhandedError, match="cannot import redhanded_no_such_module: ModuleNotFoundError"):
        oracle_from("redhanded_no_such_module:f", 3)


def test_oracle_from_picks_by_prefix(module: Callable[[str], str]) -> None:
    name = module("def f(x): return [0] * len(x)\n")
    remote = oracle_from("HTTP://127.0.0.1:9/", 3, rate=7.0)
    assert isinstance(remote, HttpOracle)
    assert remote.rate == 7
    assert oracle_from(f"{name}:f", 3, rate=None)(images(1)).tolist() == [[1, 0, 0]]
    with pytest.raises(RedhandedError, match=r"^rate: only an oracle behind HTTP"):
        oracle_from(f"{name}:f", 3, rate=5.0)


def test_example_server_answers_as_its_callable(example: Any) -> None:
    sent = images(5)
    with running(example.server(example.brightness, port=0)) as url:
        oracle = quick(url, 10, batch=2)
        assert oracle(sent).argmax(1).tolist() == example.brightness(sent.numpy()).tolist()
        oracle.close()
    with running(example.server(lambda x: np.full((len(x), 4), 0.25), port=0)) as url:
        oracle = quick(url, 4)
        assert oracle(sent).tolist() == [[0.25] * 4] * 5
        oracle.close()


def test_example_server_refuses_as_documented(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: np.ndarray) -> np.ndarray:
        raise RuntimeError("weights: s3cret")

    with running(example.server(fail, port=0)) as url:
        oracle = quick(url, retries=0)
        with pytest.raises(RedhandedError, match=r"HTTP 500 .*: the model failed$"):
            oracle(images(1))
        oracle.close()
    assert "s3cret" in capsys.readouterr().err


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"images": "AAAA"}',
        b'{"images": "?", "shape": [1, 1, 1, 1]}',
        b'{"images": "AAAAAA==", "shape": [1, 1, 1, 2]}',
        b'{"images": "AAAAAA==", "shape": [1]}',
    ],
)
def test_example_server_rejects_malformed_requests(example: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|describe"):
        example.decode(body)
