"""The S3 service: moto's, behind what counts. Prints its URL, and ends when its standard input does.

It is run by path, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OURS = "/-/taken"
APART = "/moto-api/"


class Counting:
    """Passes requests on, and counts them and the bytes of bodies."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._requests = self._sent = self._received = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == OURS:
            return self._tell(start_response)
        if path.startswith(APART):
            return self._inner(environ, start_response)
        with self._lock:
            self._requests += 1
            self._sent += int(environ.get("CONTENT_LENGTH") or 0)
        return self._counted(self._inner(environ, start_response))

    def _tell(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            found = {"requests": self._requests, "sent": self._sent, "received": self._received}
            self._requests = self._sent = self._received = 0
        body = json.dumps(found).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    def _counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for piece in pieces:
                with self._lock:
                    self._received += len(piece)
                yield piece
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


class Handler(MotoRequestHandler):
    """Answers at once: a reply's body does not wait until its head was acknowledged."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def main() -> None:
    """Serve until whoever started this has gone."""
    application = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    print(f"http://{host!s}:{port}", flush=True)
    sys.stdin.read()
    os._exit(0)  # connections that clients left open hold nothing up


if __name__ == "__main__":
    main()
