"""Several people who share a remote whose key is sealed for each of them, and what a clone of theirs can open."""

import contextlib

from dvtool.effects import SystemEntropy
from dvtool.errors import DvError
from dvtool.formats import sealed, storeformat
from dvtool.repo import Repo
from dvtool.sharing import memory
from dvtool.storage import holding
from dvtool.storage.local import LocalBackend
from dvtool.store import keys
from tests.cli.calling import Dv

BOB = bytes(range(32))


CAROL = bytes(range(1, 33))


REPO = "keys/repo"


LOCK = holding.KEY_CHANGE


class Member(Dv):
    """Somebody else with a clone and an identity of their own."""

    def __init__(self, root, capture, monkeypatch, path):
        super().__init__(root, capture)
        self.monkeypatch = monkeypatch
        self.path = str(path)

    def __call__(self, *arguments, code=0, at=""):
        with self.monkeypatch.context() as patch:
            patch.setenv("DV_IDENTITY", self.path)
            return super().__call__(*arguments, code=code, at=at)


def remembered(root):
    """What a clone remembers of its remote."""
    found = memory.recall(Repo.open(str(root)).workspace.session, "origin")
    assert found is not None
    return found


def remove_bob(ada):
    ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    return ada("key", "rotate", "--remote", "origin", "--json").json


def add(dv, name, text):
    dv.write(f"data/{name}", text)
    dv.commit(name)


def backend(place):
    return LocalBackend(str(place), str(place / "tmp"), entropy=SystemEntropy())


def openable(place, member):
    """What somebody can open of a remote with what their clone remembers."""
    seen = remembered(member.root)
    known = keys.Wrapping(current=seen.wrap, previous=seen.previous or None)
    there = backend(place)
    store = storeformat.decode(there.read("format")).store
    found = set()
    for name in sorted(set(there.names("keys")) - {"repo"}):
        kind = sealed.LOG_KEY if name.startswith("log-") else sealed.KEY_FILE
        with contextlib.suppress(DvError):
            known.open(kind, store + f"keys/{name}".encode(), there.read(f"keys/{name}"), what="it")
            found.add(name)
    return found
