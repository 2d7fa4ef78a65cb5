"""An S3 service on loopback, in a process of its own, that counts what it is asked."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import remove

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROGRAM = Path(__file__).with_name("serve.py")
PATIENCE = 60.0
"""Seconds that the service may take to answer."""
IN_MEMORY = 1 << 40
"""Bytes of an object that the service keeps in memory."""


@dataclass(frozen=True, slots=True)
class Place:
    """An empty bucket of the service."""

    endpoint: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the service was asked: requests, and the bytes of their bodies and of the replies'."""

    requests: int
    sent: int
    received: int


@dataclass(slots=True)
class Service:
    """A running service."""

    endpoint: str
    _made: int = 0

    def fresh(self, names: Iterable[str]) -> dict[str, Place]:
        """Forget everything, and make a bucket for each of these, of a name that was never used."""
        self._ask("POST", "/moto-api/reset")
        made = {}
        for name in names:
            self._made += 1
            made[name] = Place(self.endpoint, f"bench-{self._made}")
            self._ask("PUT", f"/{made[name].bucket}")
        return made

    def taken(self) -> Traffic:
        """Return what was asked since the last call."""
        return Traffic(**json.loads(self._ask("GET", "/-/taken")))

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(self.endpoint + path, method=method)  # noqa: S310 - http, to loopback
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=PATIENCE) as reply:
            return bytes(reply.read())


def installed() -> bool:
    """Whether this Python can run the service."""
    return importlib.util.find_spec("moto") is not None and importlib.util.find_spec("werkzeug") is not None


def _environment(place: Path) -> dict[str, str]:
    """Objects stay in memory, so that no disk takes part in what the service does."""
    home = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), "LANG": "C.UTF-8"}
    return {**home, "MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(IN_MEMORY)}


def version() -> str:
    """Which one it is."""
    return f"moto {importlib.metadata.version('moto')}, werkzeug {importlib.metadata.version('werkzeug')}"


@contextmanager
def served(place: Path) -> Iterator[Service]:
    """Run the service, with its files in the directory ``place``, which is made and removed."""
    place.mkdir()
    try:
        with subprocess.Popen(
            (sys.executable, "-P", str(PROGRAM)),
            env=_environment(place),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                endpoint = process.stdout.readline().strip()
                if not endpoint:
                    message = f"{PROGRAM.name} did not start"
                    raise RuntimeError(message)
                yield Service(endpoint)
            finally:
                process.stdin.close()  # at which it ends
    finally:
        remove(place)
