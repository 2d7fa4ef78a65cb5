"""Two people who share a repository through a directory."""

import os
import shutil

from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.testing.audit import audit
from tests.cli.calling import Dv


def person(place, name, capture):
    """``dv`` in a new repository with one snapshot of three files, and a remote in a directory beside it."""
    root = place / name
    root.mkdir()
    dv = Dv(root, capture)
    dv("init")
    dv.write("data/a.txt", "a\n")
    dv.write("data/b.txt", "bb\n")
    dv.write("data/sub/c.txt", "ccc\n")
    dv("add", "data")
    dv("commit", "-m", "first")
    dv("remote", "add", "origin", "../remote", "--plain-keys")
    return dv


def clone(dv, name, *options, url="../remote"):
    """Clone the remote beside a repository, and return ``dv`` there."""
    dv("clone", url, f"../{name}", *options)
    return Dv(dv.root.parent / name, dv._capture)


def change(dv, content, path="data/a.txt"):
    """Record another content of a file, and return the snapshot's id."""
    dv.write(path, content)
    return dv.commit(content)


def pushed(dv, content, path="data/a.txt"):
    """Record another content of a file and push it; return the snapshot's id."""
    made = change(dv, content, path)
    dv("push")
    return made


def refs(dv):
    """Every ref of the repository here."""
    return dict(Repo.open(str(dv.root)).workspace.session.store.refresh().ref_names(""))


def travelling(dv):
    """Branches and tags, here and as far as they are known elsewhere, by name; ids in hex."""
    tops = ("heads/", "tags/", "remotes/")
    return {name: value.hex() for name, value in sorted(refs(dv).items()) if name.startswith(tops)}


def there(dv, name="origin"):
    """The branches, tags and runs that a remote has; everything that it has is read and verified."""
    from dvtool.sharing import reaching

    store = reaching.reach(Repo.open(str(dv.root)).workspace, name).open()
    audit(store)
    return {name: value.hex() for name, value in store.refresh().ref_names("") if not name.startswith("clones/")}


def files(dv, top="data"):
    """What lies in the worktree, by path."""
    found = {}
    for path in sorted((dv.root / top).rglob("*")):
        if path.is_file():
            found[str(path.relative_to(dv.root))] = path.read_text(encoding="utf-8", errors="replace")
    return found


def sound(dv):
    """Check every byte of the store here."""
    assert dv("fsck", "--full", "--json").json["clean"]


def tree_of(path):
    """Every file below a directory, with its bytes."""
    found = {}
    for directory, _below, names in os.walk(path):
        for name in names:
            full = f"{directory}/{name}"
            with open(full, "rb") as file:
                found[os.path.relpath(full, path)] = file.read()
    return found


def put_back(path, copy):
    """Make a directory what it was when it was copied."""
    shutil.rmtree(path)
    shutil.copytree(copy, path)


class DeadError(Exception):
    """The process is no more."""


class DyingDisk(Disk):
    """Does n steps at a place that others see, and from then on nothing at all, as if the process had been killed."""

    def __init__(self, steps, place):
        self.steps = steps
        self.place = str(place)

    def _step(self, path):
        if self.steps == 0:
            raise DeadError
        self.steps -= path.startswith(self.place)

    def link(self, source, target):
        self._step(target)
        super().link(source, target)

    def rename(self, source, target):
        self._step(target)
        super().rename(source, target)

    def unlink(self, path):
        self._step(path)
        super().unlink(path)
