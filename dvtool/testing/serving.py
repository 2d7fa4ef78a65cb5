"""Servers on loopback that stand in for clouds: they count requests, and fail as networks and busy services do.

One request is answered at a time, so what happened is one order of requests, whoever sent them together.
"""

from __future__ import annotations

import collections
import contextlib
import random
import socket
import threading
import urllib.parse
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

Fault = Literal["busy", "broken", "cut", "lost", "half", "silent"]
"""What becomes of a request.

``busy`` and ``broken``: it is refused with 503 or 500.  ``cut``: the connection ends before anything is done.
``lost``: it is done, and the connection ends without a reply.  ``half``: it is done, and half of the reply arrives.
``silent``: nothing is done, and nothing is said until the server ends.
"""

LONGEST_BODY: Final = 2**30
"""Bytes of a request that are read at most."""

_STATUS: Final = {"busy": 503, "broken": 500}
_ONLY_STATUS: Final = frozenset({204, 304})


class Request(NamedTuple):
    """A request: its method, its path as it was sent, its parameters, its headers by lower-case names, its body."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """A reply; ``length`` stands for the length of a body that is not sent, as HEAD wants it."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class RefusedError(Exception):
    """A request that the service refuses; what is raised in an answer becomes its reply.

    Args:
        status: of the reply.
        code: the service's word for it.
        message: what it says to people.
    """

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message or code


class LoopbackServer(ABC):
    """Listens on a free port of 127.0.0.1 while it is entered as a context."""

    def __init__(self) -> None:
        """Listen to nobody yet."""
        self.counts: collections.Counter[str] = collections.Counter()
        """How many requests of each kind there were, those that failed included."""
        self.fault: Callable[[int, str], Fault | None] = lambda _number, _kind: None
        """Decides what becomes of a request, by its number (from 1) and kind."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """Stop listening and end all connections."""
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.end_connections()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        if self._server is None:
            raise RuntimeError("the server was not entered as a context")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @abstractmethod
    def kind_of(self, request: Request) -> str:
        """Return a word for what a request asks for."""

    @abstractmethod
    def answer(self, kind: str, request: Request) -> Reply:
        """Return the reply; called by one thread at a time.

        Raises:
            RefusedError: for a request that the service refuses.
        """

    @abstractmethod
    def refusal(self, error: RefusedError, request: Request) -> Reply:
        """Return the reply that says what was refused."""

    def handle(self, request: Request) -> tuple[Fault | None, Reply]:
        """Return what becomes of a request, and its reply."""
        with self._lock:
            kind = self.kind_of(request)
            self.counts[kind] += 1
            fault = self.fault(self.counts.total(), kind)
            if fault in _STATUS:
                refused = RefusedError(_STATUS[fault], "SlowDown" if fault == "busy" else "InternalError")
                return None, self.refusal(refused, request)
            if fault in {"cut", "silent"}:
                return fault, Reply(0)
            try:
                return fault, self.answer(kind, request)
            except RefusedError as error:
                return fault, self.refusal(error, request)

    def wait_for_end(self) -> None:
        """Return when the server ends."""
        self._ended.wait()


def every(count: int, fault: Fault, *kinds: str) -> Callable[[int, str], Fault | None]:
    """Return what decides that each ``count``-th request fails, of these kinds alone if any are named."""
    seen = 0

    def decide(_number: int, kind: str) -> Fault | None:
        nonlocal seen
        if kinds and kind not in kinds:
            return None
        seen += 1
        return fault if seen % count == 0 else None

    return decide


def first(count: int, fault: Fault, *kinds: str) -> Callable[[int, str], Fault | None]:
    """Return what decides that the first ``count`` requests fail, of these kinds alone if any are named."""
    seen = 0

    def decide(_number: int, kind: str) -> Fault | None:
        nonlocal seen
        if kinds and kind not in kinds:
            return None
        seen += 1
        return fault if seen <= count else None

    return decide


def sometimes(seed: int, share: float, fault: Fault) -> Callable[[int, str], Fault | None]:
    """Return what decides that a ``share`` of all requests fails, those that a seed chooses by their number."""

    def decide(number: int, _kind: str) -> Fault | None:
        return fault if random.Random(f"{seed}/{number}").random() < share else None  # noqa: S311 - wanted again

    return decide


def span_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, end) that a Range header asks for; None when it asks for all.

    Raises:
        RefusedError: when it begins behind the last byte.
    """
    if header is None:
        return None
    unit, _, span = header.partition("=")
    start, _, last = span.partition("-")
    if unit != "bytes" or not start.isdigit() or (last and not last.isdigit()):
        raise RefusedError(400, "InvalidRange", "only one range from a first byte on is understood")
    end = min(int(last) + 1, size) if last else size
    if int(start) >= size:
        raise RefusedError(416, "InvalidRange", "The requested range is not satisfiable")
    return int(start), end


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def note(self, connection: socket.socket, *, ended: bool) -> None:
        with self._guard:
            (self._connections.discard if ended else self._connections.add)(connection)

    def end_connections(self) -> None:
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that clients gave up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.note(self.connection, ended=False)

    def finish(self) -> None:
        self.server.note(self.connection, ended=True)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so by the standard library
        """Say nothing."""

    def _respond(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        pairs = urllib.parse.parse_qsl(target.query, keep_blank_values=True)
        request = Request(
            self.command,
            target.path,
            dict(pairs),
            {name.lower(): value for name, value in self.headers.items()},
            self._body(),
        )
        fault, reply = self.server.owner.handle(request)
        if fault == "silent":
            self.server.owner.wait_for_end()
        if fault in {"silent", "cut", "lost"}:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        if reply.status not in _ONLY_STATUS:
            self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.end_headers()
        if fault == "half":
            self.close_connection = True
            self.wfile.write(reply.body[: len(reply.body) // 2])
        elif reply.body and self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _respond  # noqa: N815 - named so by the standard library

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(min(int(self.headers.get("Content-Length") or 0), LONGEST_BODY))
