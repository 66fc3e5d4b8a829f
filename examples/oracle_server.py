"""A prediction endpoint that `redhanded` can query: docs/oracle.md around any callable.

    python examples/oracle_server.py --port 8000
    python examples/oracle_server.py --port 8000 mymodel:predict

The callable takes float32 images [n, 3, h, w] in [0, 1] and returns integer labels [n] or probabilities
[n, classes]. Without one, a stand-in with 10 classes answers how bright each image is.
"""

import argparse
import base64
import binascii
import importlib
import json
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

MAX_BODY = 256 * 2**20


def brightness(images: np.ndarray) -> np.ndarray:
    """Return the mean brightness of each image in tenths: 0 to 9."""
    tenths: np.ndarray = np.minimum(images.mean(axis=(1, 2, 3)) * 10, 9)
    return tenths.astype(np.int64)


def decode(body: bytes) -> np.ndarray:
    """Return the images of a request; raises ValueError saying what is wrong with it."""
    try:
        request = json.loads(body)
        shape = [int(length) for length in request["shape"]]
        pixels = np.frombuffer(base64.b64decode(request["images"], validate=True), "<f4")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise ValueError(
            f'expected {{"images": base64 of float32, "shape": [n, c, h, w]}}: {error}'
        ) from error
    if len(shape) != 4 or min(shape) < 0 or pixels.size != np.prod(shape):
        raise ValueError(f"shape {shape} does not describe {pixels.size} floats as [n, c, h, w]")
    return pixels.reshape(shape).astype(np.float32)


def server(
    predict: Callable[[np.ndarray], np.ndarray], host: str = "127.0.0.1", port: int = 8000
) -> ThreadingHTTPServer:
    """Return a server that is bound but not yet running; port 0 lets the system choose."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > MAX_BODY:
                self.close_connection = True  # the body is left unread
                self.problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected up to {MAX_BODY} bytes")
                return
            try:
                images = decode(self.rfile.read(int(length)))
            except ValueError as error:
                self.problem(HTTPStatus.BAD_REQUEST, str(error))
                return
            try:
                answer = np.asarray(predict(images))
            except Exception as error:  # noqa: BLE001 -- whatever the model raises, the server goes on
                print(f"model: {error!r}", file=sys.stderr)
                self.problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the model failed")
                return
            self.reply(200, {"labels" if answer.ndim == 1 else "probabilities": answer.tolist()})

        def problem(self, status: HTTPStatus, detail: str) -> None:
            problem = {"title": status.phrase, "status": status.value, "detail": detail}
            self.reply(status.value, problem, "application/problem+json")

        def reply(self, status: int, document: dict[str, Any], kind: str = "application/json") -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return ThreadingHTTPServer((host, port), Handler)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("predict", nargs="?", help="module:callable")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    predict: Callable[[np.ndarray], np.ndarray] = brightness
    if options.predict:
        sys.path.append(str(Path.cwd()))
        module, _, name = options.predict.partition(":")
        predict = getattr(importlib.import_module(module), name)
    with server(predict, options.host, options.port) as running:
        print(f"answering POST http://{options.host}:{running.server_port}/", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
