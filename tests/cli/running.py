"""Runs that are recorded without running anything."""

import shutil
import sys

from msgspec import structs

from dvtool import ids, paths
from dvtool.formats import log, run
from dvtool.formats import snapshot as snapshots
from dvtool.formats.tree import DIRECTORY, FILE, Entry
from dvtool.history import recorded
from dvtool.repo import Repo
from dvtool.store.editing import Changes, Editor
from dvtool.store.trees import Trees
from tests.cli.calling import Dv

TIME = 1_700_000_000_000_000


def store_of(dv):
    return Repo.open(str(dv.root)).workspace.session.store


def name_of(number):
    """The id of the run with a number, which is the same in each test."""
    return run.new_id("20231114-221320", number.to_bytes(7, "big"))


def source(snapshot="", *, used="", dirty=False):
    """A source: a snapshot (its id in hex), or the run with a number whose outputs were used."""
    return run.Source(snapshot=bytes.fromhex(snapshot), run=used, dirty=dirty)


def described(number, nonce, tree, sources=(), revision=0):
    """The run with a number."""
    return run.Run(
        id=name_of(number),
        revision=revision,
        nonce=nonce,
        tree=tree,
        name="",
        group="",
        stage="train",
        parent="",
        status="done",
        author="Test",
        started=TIME,
        ended=TIME + 1,
        command=("train",),
        directory="",
        sources=tuple(sources),
        inputs=(),
        outputs=(),
        params={"rate": 0.5},
        changes=(),
        seeds={},
        metrics=(),
        samples=(),
        workers=(),
        code=run.Code(),
        environment={},
        prints=run.Prints(),
        ending=run.Ending(),
        notes=(),
    )


def record(dv, number, *sources, made=None, revision=0, move=True):
    """Record a run that read all of its sources' snapshots and made some files; return its object's id, in hex.

    Args:
        dv: where.
        number: which run.
        sources: snapshots as text, or :func:`source`.
        made: by path, what it made; a file of its own by default.
        revision: how often it was written anew.
        move: whether its ref moves there.
    """
    store = store_of(dv)
    named = tuple(source(each) if isinstance(each, str) else each for each in sources)
    made = {"model": f"model of {number}\n" * 500} if made is None else made
    with store.transaction() as transaction:
        changes: Changes = {run.OUTPUTS: {}}
        for at, each in enumerate(named):
            _read(store, changes, f"{run.INPUTS}/{at}", each.snapshot)
        for path, text in made.items():
            content = text.encode()
            directory, _, name = f"{run.OUTPUTS}/{path}".rpartition("/")
            changes.setdefault(directory, {})[name] = Entry(FILE, len(content), transaction.put_chunk(content))
        tree = Editor(transaction, store.secrets.split).apply(None, changes)
        value = described(number, store.entropy.bytes(run.NONCE_SIZE), tree, named, revision)
        identity = transaction.put_object(ids.RUN, run.encode(value))
        ref = run.ref_name(value.id)
        transaction.commit(
            "run", lambda state: [log.MoveRef(name=ref, old=state.ref(ref), new=identity)] if move else []
        )
    return identity.hex()


def _read(store, changes, top, snapshot):
    """Put the files of a snapshot below a directory, as they are."""
    if not snapshot or store.state.standing(snapshot) is None:
        return
    root = snapshots.decode(store.read_object(ids.SNAPSHOT, snapshot)).root
    for path, entry in Trees(store).walk(root):
        if entry.kind != DIRECTORY:
            directory, _, name = paths.join(top, path).rpartition("/")
            changes.setdefault(directory, {})[name] = entry


def removed(dv, number):
    """Remove the ref of a run."""
    store = store_of(dv)
    ref = run.ref_name(name_of(number))
    store.log.append("run", lambda state: [log.MoveRef(name=ref, old=state.ref(ref), new=None)])


def runs(dv):
    """The runs here by number, as far as 100: their objects' ids, in hex."""
    return of_refs({name: value.hex() for name, value in store_of(dv).refresh().ref_names("")})


def of_refs(refs):
    """The runs among some refs, by number."""
    names = {run.ref_name(name_of(number)): number for number in range(100)}
    return {names[name]: value for name, value in refs.items() if name.startswith(recorded.PREFIX)}


def dirty_snapshot(dv, *parents, text="not recorded"):
    """Store a snapshot that nothing names, made on others; return its id in hex."""
    store = store_of(dv)
    model = snapshots.decode(store.read_object(ids.SNAPSHOT, bytes.fromhex(dv.status()["snapshot"])))
    content = text.encode()
    with store.transaction() as transaction:
        entry = Entry(FILE, len(content), transaction.put_chunk(content))
        editor = Editor(transaction, store.secrets.split)
        root = editor.apply(model.root, {"data": {"a.txt": entry}})
        totals = editor.trees.totals(root)
        value = structs.replace(
            model,
            root=root,
            parents=tuple(map(bytes.fromhex, parents)),
            message="dirty",
            files=totals.files,
            size=totals.size,
            nonce=store.entropy.bytes(snapshots.NONCE_SIZE),
        )
        identity = transaction.put_object(ids.SNAPSHOT, snapshots.encode(value))
        transaction.commit("store", lambda _state: [])
    return identity.hex()


def prepared(root):
    """``dv`` in a new repository with one snapshot of three files, for calls of processes alone."""
    dv = Dv(root, None)
    dv.process("init")
    dv.write("data/a.txt", "a\n")
    dv.write("data/b.txt", "bb\n")
    dv.write("data/sub/c.txt", "ccc\n")
    dv.process("add", "data")
    dv.process("commit", "-m", "first")
    return dv


def copied(dv, place, capture):
    """``dv`` in a copy of a repository."""
    shutil.copytree(dv.root, place / "work", symlinks=True)
    return Dv(place / "work", capture)


def python(dv, script, *options, code=0):
    """Run a Python program under ``dv run``, as a user does; return the id of the run."""
    dv.process("run", *options, "--", sys.executable, "-c", script, code=code)
    return dv.process("runs", "list", "-n", "1", "--json").json[0]["id"]
