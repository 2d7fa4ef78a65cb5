"""Puts what should have been erased into one place of a repository each, by the program or by hand."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa
from msgspec import structs
from pyarrow import parquet as pq

from dvtool import digest, ids
from dvtool.formats import codec, erasure, hold, index, keyfile, log, pack, run, sealed
from dvtool.formats.tree import FILE, Entry
from dvtool.repo import Repo
from dvtool.store import keys
from dvtool.store.compression import Compressor
from dvtool.store.editing import Editor, Scratch
from dvtool.testing.forging import Forger, Frame
from dvtool.worktree.session import cache_context

WORD = "Zacharias-Quandt"
RAW = WORD.encode()
NUMBER = "471199887766"
TEXT = b"diagnosis of the one who asked to be forgotten, born 1962-04-17, in Aachen\n"
PATH = "data/people/quandt.txt"


def put(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def build(root):
    """A repository with history, a tag, a stage, a checkpoint and a run, in which the canary never was."""
    os.makedirs(root)
    for number in range(12):
        put(f"{root}/data/people/{number}.txt", b"nobody in particular, number %d\n" % number)
    put(f"{root}/data/long.bin", b"".join(digest.keyed(bytes(32), b"%d" % at) for at in range(9_000)))
    repo = Repo.init(str(root))
    repo.add(["data"])
    repo.commit("one")
    repo.create_tag("v1")
    put(f"{root}/data/late.txt", b"came later\n")
    repo.add(["data"])
    repo.commit("two")
    put(f"{root}/data/staged.txt", b"staged, not recorded\n")
    repo.add(["data"])


def store_of(root):
    return Repo.open(str(root)).workspace.session.store


# ------------------------------------------------------------------------------------------------ by hand


def sealed_pack(root, place, frames, *, key_file=True, content=pack.DATA):
    """Write a pack of frames and, unless told otherwise, a key file for it which no entry names."""
    forger = Forger(str(root))
    made = forger._seal_pack(content, frames)
    os.makedirs(place, exist_ok=True)
    os.rename(made.path, f"{place}/{made.name.hex()}")
    if key_file:
        write_key_file(root, {made.name: made.key}, os.urandom(32))
    return made


def write_key_file(root, packs, key, sections=None):
    store = store_of(root)
    name = f"keys/{os.urandom(16).hex()}"
    value = keyfile.KeyFile(packs=packs, index=key, sections=sections or {})
    keys.write_key_file(store.backend, store.format.store, store.secrets.wrap, name, value, store.entropy)
    return name


def frame_of(root, data, kind=ids.CHUNK):
    compressed = Compressor().try_compress(data)
    identity = store_of(root).hasher.id(kind, data)
    return Frame(kind, identity, compressed or data, len(data), compressed is not None)


def cache(root, place, word, payload=RAW):
    store = store_of(root)
    blob = sealed.seal(
        sealed.CACHE, store.secrets.cache, bytes(16), os.urandom(32), store.format.store + word, codec.encode(payload)
    )
    put(f"{root}/.dv/{place}", blob)


def head(root):
    session = Repo.open(str(root)).workspace.session
    cache(root, "cache/head", cache_context(b"", session.worktree.id))


def index_file(root):
    """An index file, unnamed, of which a record has the id of the text; its key stands in an unnamed key file."""
    store = store_of(root)
    key = os.urandom(32)
    identity = store.hasher.id(ids.CHUNK, TEXT)
    entry = index.PackEntry(name=os.urandom(32), content=pack.DATA, size=200, frames=1, raw=9)
    location = index.Location(0, 0, 64, 25, index.pack_raw_flags(9, ids.CHUNK))
    data = index.encode(store.format.store, key, os.urandom(32), [entry], [index.record(identity, location)])
    put(f"{root}/.dv/store/index/{os.urandom(16).hex()}", data)
    write_key_file(root, {}, key)


def footer(root):
    """A pack whose footer lists the id of the text, and whose frame holds something else."""
    identity = store_of(root).hasher.id(ids.CHUNK, TEXT)
    sealed_pack(root, f"{root}/.dv/store/packs", [Frame(ids.CHUNK, identity, b"something else", 14, compressed=False)])


def no_footer(root):
    """A pack whose footer is damaged, with an index file, both unnamed, that says where its only frame lies."""
    store = store_of(root)
    place = f"{root}/.dv/store/packs"
    made = sealed_pack(root, place, [frame_of(root, b"here is " + RAW)], key_file=False)
    path = Path(f"{place}/{made.name.hex()}")
    data = bytearray(path.read_bytes())
    data[-25] ^= 1
    path.write_bytes(data)
    key = os.urandom(32)
    entry = index.PackEntry(name=made.name, content=pack.DATA, size=len(data), frames=1, raw=24)
    size = len(b"here is " + RAW)
    location = index.Location(0, 0, 64, size + 16, index.pack_raw_flags(size, ids.CHUNK))
    found = index.encode(store.format.store, key, os.urandom(32), [entry], [index.record(os.urandom(32), location)])
    put(f"{root}/.dv/store/index/{os.urandom(16).hex()}", found)
    write_key_file(root, {made.name: made.key}, key)


def old_entry(root):
    """An entry under a log key that nothing names, with a number far beyond the log's end."""
    store = store_of(root)
    label = keys.write_log_key(store.backend, store.format.store, store.secrets.wrap, store.entropy)
    key = keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, label).key
    name = log.file_name(1 << 40)
    context = store.format.store + name.encode()
    payload = codec.encode(["an old entry", WORD])
    put(f"{root}/.dv/store/{name}", sealed.seal(sealed.LOG_ENTRY, key, label, os.urandom(32), context, payload))


def entry_of(root, *actions):
    store = store_of(root)
    store.log.append("plant", lambda _state: list(actions))


def superseded(root):
    """A table of a checkpoint that was replaced, in a pack that nothing names."""
    data = codec.encode([0, [b"heads/" + RAW], [bytes(32)], {}])
    frame = frame_of(root, data, ids.TABLE)
    sealed_pack(root, f"{root}/.dv/store/packs", [frame], content=pack.METADATA)


def torn(root):
    """A long file in which the word lies across the end of a chunk."""
    forger = Forger(str(root))
    pieces = [b"a" * 100 + RAW[:7], RAW[7:] + b"b" * 100]
    forger.publish(forger.snapshot(forger.below([("f", forger.long_file(list(map(len, pieces)), pieces))])))


def table(**options):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"who": ["nobody", WORD], "n": [1, 2]}), sink, compression="snappy", **options)
    return sink.getvalue().to_pybytes()


def dictionary():
    """A table in whose dictionary the word stands, and in none of its rows."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array(["nobody", WORD]))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, pa.schema([("who", column.type)])) as file:
        file.write_table(pa.table({"who": column}))
    return sink.getvalue().to_pybytes()


def chunk(root, data):
    forger = Forger(str(root))
    forger.chunk(data)
    forger.keep()


def numbers():
    """A table with a number, which stands in it as no word."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"n": [1, int(NUMBER)]}), sink)
    return sink.getvalue().to_pybytes()


def long_table(root):
    """A table in a file of two chunks."""
    data = numbers()
    forger = Forger(str(root))
    pieces = [data[: len(data) // 2], data[len(data) // 2 :]]
    forger.publish(forger.snapshot(forger.below([("f", forger.long_file(list(map(len, pieces)), pieces))])))


def saved_pack(root, *, key_file=True):
    sealed_pack(root, f"{root.parent}/saved", [frame_of(root, b"nothing of interest")], key_file=key_file)


def database(root):
    """A database from which the word was deleted, without its free pages being overwritten."""
    connection = sqlite3.connect(f"{root}/stats.db")
    connection.execute("PRAGMA secure_delete = off")
    connection.execute("CREATE TABLE t (who TEXT)")
    connection.execute("INSERT INTO t VALUES (?)", (WORD,))
    connection.commit()
    connection.execute("DELETE FROM t")
    connection.commit()
    connection.close()


def write_ahead(root):
    """A write-ahead log that was never brought into its database, as a process that was killed leaves it."""
    connection = sqlite3.connect(f"{root}/other.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("CREATE TABLE t (who TEXT)")
    connection.execute("INSERT INTO t VALUES (?)", (WORD,))
    connection.commit()
    data = Path(f"{root}/other.db-wal").read_bytes()
    connection.close()
    os.unlink(f"{root}/other.db")
    put(f"{root}/left.db-wal", data)


def second_worktree(root):
    other = root.parent / "other"
    Repo.open(str(root)).add_worktree(str(other))
    put(other / "notes.txt", RAW)


def moved(root, directory, take=lambda data: data):
    """A pack with the word, in another directory than packs lie in."""
    made = sealed_pack(root, f"{root}/{directory}", [frame_of(root, b"about " + RAW)])
    path = Path(f"{root}/{directory}/{made.name.hex()}")
    path.write_bytes(take(path.read_bytes()))


def stored(root, kind, data, name):
    """An object that a ref names."""
    with store_of(root).transaction() as transaction:
        value = transaction.put_object(kind, data)
        transaction.commit("plant", lambda _state: [log.MoveRef(name=name, old=None, new=value)])


def holder(root):
    value = hold.Hold(
        id=bytes(16), paths=("x",), subject="", ground="a case", author=f"{WORD} <z@example.org>", created=1,
        until=None, nonce=os.urandom(32),
    )  # fmt: skip
    stored(root, ids.HOLD, hold.encode(value), hold.ref_name(bytes(16)))


def recorded(root, **changed):
    """A record of an erasure that was never made."""
    value = erasure.Record(
        id=bytes(16), revision=0, nonce=os.urandom(32), store=bytes(16), started=1, committed=2, finished=3, copies="",
        keep_path=False, snapshots=0, files=0, contents=0, runs=(), successors=(), decisions=(), places=(),
    )  # fmt: skip
    data = erasure.encode(structs.replace(value, **changed))
    stored(root, ids.ERASURE, data, erasure.ref_name(bytes(16)))


def located(root, objects=(), *, key=None):
    """A locator in the log, with its key wrapped for some objects (ids and nonces)."""
    identity, key = os.urandom(16), key or os.urandom(32)
    locator = erasure.Locator(
        patterns=(f"data/{WORD}/**",), subjects=(), authors=(), rules=(), contents=(), roots=(), copies="",
        keep_path=False, redact=False,
    )  # fmt: skip
    wraps = tuple(erasure.wrap(key, held, nonce, identity, os.urandom(32)) for held, nonce in objects)
    entry_of(
        root,
        log.Erasure(
            erasure=identity, phase=log.ERASING, planned=os.urandom(16), wraps=wraps,
            locator=erasure.seal_locator(locator, key, identity, os.urandom(32)),
        ),
    )  # fmt: skip
    return identity


def locator_of_head(root):
    """A locator that opens for whoever has the snapshot that HEAD names, which is retained."""
    session = Repo.open(str(root)).workspace.session
    identity = session.head().snapshot
    assert identity is not None
    located(root, [(identity, session.snapshot(identity).nonce)])


def locator_of_journal(root):
    """A locator whose key stands in a journal that was left."""
    key = os.urandom(32)
    put(f"{root}/.dv/erasing", codec.encode((located(root, key=key), key, "", "")))


def decider(root):
    run_id = run.new_id("20231114-221320", bytes(7))
    decision = erasure.Decision(run=run_id, direct=True, decision="keep", author=f"{WORD} <z@example.org>", time=3)
    recorded(root, decisions=(decision,))


# ------------------------------------------------------------------------------------------- by the program


def message(root):
    Repo.open(str(root)).commit(f"as {WORD} asked")


def name_in_tree(root):
    put(f"{root}/data/{WORD}.txt", b"harmless\n")
    repo = Repo.open(str(root))
    repo.add(["data"])
    os.unlink(f"{root}/data/{WORD}.txt")
    repo.add(["data"])
    (root / ".dv/index").unlink()


def content(root):
    """A file that was recorded and taken out again, as long as nothing was collected."""
    put(f"{root}/{PATH}", TEXT)
    repo = Repo.open(str(root))
    repo.add(["data"])
    os.unlink(f"{root}/{PATH}")
    repo.add(["data"])


def tag(root):
    Repo.open(str(root)).create_tag(WORD)


# ---------------------------------------------------------------------------------------------- guesses


def id_at(editor, top, path):
    entry = editor.trees.resolve(top, path)
    assert entry is not None
    return entry.id


def before(root, directory="data/people", texts=None):
    """The ids that dv gives to the root tree with texts in a directory, and to the directory that holds them."""
    store = store_of(root)
    session = Repo.open(str(root)).workspace.session
    editor = Editor(Scratch(store, store.hasher), store.secrets.split)
    added = texts or {PATH.rpartition("/")[2]: TEXT}
    entries: dict[str, Entry | None] = {
        name: Entry(FILE, len(text), store.hasher.id(ids.CHUNK, text)) for name, text in added.items()
    }
    top = editor.apply(session.stage().tree, {directory: entries})
    return top, id_at(editor, top, directory)


def retained(identity, branch="odd"):
    return lambda root: entry_of(root, log.MoveRef(name=f"heads/{branch}", old=None, new=identity(root)))


def planted_run(root, change):
    """A run that read the directory ``data`` as it is now, changed as told; by hand, as an erasure might leave it."""
    store = store_of(root)
    session = Repo.open(str(root)).workspace.session
    with store.transaction() as transaction:
        editor = Editor(transaction, store.secrets.split)
        staged = session.stage().tree
        assert staged is not None
        data = session.trees.resolve(staged, "data")
        assert data is not None
        top = editor.apply(None, {"inputs/0": {"data": data}})
        value = run.Run(
            id=run.new_id("20231114-221320", bytes(7)),
            revision=0,
            nonce=os.urandom(32),
            tree=top,
            name="",
            group="",
            stage="",
            parent="",
            status="done",
            author="",
            started=1,
            ended=2,
            command=("train", "-"),
            directory="",
            sources=(run.Source(),),
            inputs=(run.Input(source=0, path="data", role="", known="declared", files=15, size=data.size),),
            outputs=(),
            params={"who": "-"},
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
        identity = transaction.put_object(ids.RUN, run.encode(change(root, value)))
        ref = run.ref_name(value.id)
        transaction.commit("run", lambda _state: [log.MoveRef(name=ref, old=None, new=identity)])


def printed(root, *what):
    return store_of(root).hasher.id(ids.RUN, codec.encode(what))


def data_print(root, value):
    """The fingerprint of what was read as it was with the text in it."""
    store = store_of(root)
    session = Repo.open(str(root)).workspace.session
    editor = Editor(Scratch(store, store.hasher), store.secrets.split)
    text: dict[str, Entry | None] = {PATH.rpartition("/")[2]: Entry(FILE, len(TEXT), store.hasher.id(ids.CHUNK, TEXT))}
    changed = editor.apply(session.stage().tree, {"data/people": text})
    top = editor.apply(None, {"inputs/0": {"data": editor.trees.resolve(changed, "data")}})
    made = printed(root, "data", id_at(editor, top, "inputs"), [("data", "")], [])
    return structs.replace(value, prints=run.Prints(data=made))


def output_print(root, value):
    """The fingerprint of what was made, which was the text alone, and is nothing by now."""
    store = store_of(root)
    editor = Editor(Scratch(store, store.hasher), store.secrets.split)
    text: dict[str, Entry | None] = {"quandt.txt": Entry(FILE, len(TEXT), store.hasher.id(ids.CHUNK, TEXT))}
    made = printed(root, "results", [[], id_at(editor, editor.apply(None, {"outputs": text}), "outputs")])
    return structs.replace(value, prints=run.Prints(results=made))


def param_print(root, value):
    return structs.replace(value, prints=run.Prints(params=printed(root, "params", {"who": WORD})))


def command_print(root, value):
    code = ["", "", [b"", b""]]
    return structs.replace(value, prints=run.Prints(code=printed(root, "code", ("train", WORD), code)))


def input_total(root, value):
    (found,) = value.inputs
    return structs.replace(value, inputs=(structs.replace(found, size=found.size + len(TEXT)),))


def output_total(root, value):
    made = run.Output(path="out", origin="", kind="", files=1, size=len(TEXT), missing=False)
    return structs.replace(value, outputs=(made,))


def directory_total(root):
    """A directory of which the one above says that it has more bytes."""
    forger = Forger(str(root))
    inner = forger.directory(["f"], [forger.file()])
    outer = forger.directory(["d"], [inner._replace(size=inner.size + len(TEXT))])
    forger.publish(forger.snapshot(forger.directory(["data"], [outer])))


def snapshot_total(root):
    forger = Forger(str(root))
    top = forger.below([("f", forger.file())])
    forger.publish(forger.snapshot(top, size=top.size + len(TEXT)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """How the canary gets somewhere, the row that has to find it, and part of where that is: place, then inside."""

    row: str
    plant: Callable[[Path], object]
    place: str
    inside: str = ""
    by: str = "word"


def _put(path, data=RAW, before=b"of "):
    return lambda root: put(f"{root}/{path}", before + data)


def _append(path):
    def plant(root):
        put(f"{root}/{path}", Path(f"{root}/{path}").read_bytes() + RAW if Path(f"{root}/{path}").exists() else RAW)

    return plant


PLANTS = {
    "the name of a file": Plant(
        row="names of files", plant=_put(f"x/{WORD}.txt", b""), place=f"x/{WORD}.txt", inside="its name"
    ),
    "the name of a directory in .dv": Plant(
        row="names of files", plant=lambda root: os.makedirs(f"{root}/.dv/tmp/{WORD}"), place=f".dv/tmp/{WORD}"
    ),
    "where a link leads": Plant(row="worktree", plant=lambda root: os.symlink(WORD, f"{root}/link"), place="link"),
    "a file of the worktree": Plant(row="worktree", plant=_put("notes.txt"), place="notes.txt", inside="byte 3"),
    "a table in the worktree": Plant(
        row="worktree", plant=_put("t.parquet", table(), b""), place="t.parquet", inside="column 'who', row group 0"
    ),
    "a dictionary of Arrow": Plant(
        row="worktree", plant=_put("t.arrow", dictionary(), b""), place="t.arrow", inside="column 'who'"
    ),
    "another worktree": Plant(row="worktree", plant=second_worktree, place="other/notes.txt"),
    "dv.lock": Plant(row="notes for Git", plant=_append("dv.lock"), place="dv.lock"),
    ".gitignore": Plant(row="notes for Git", plant=_append(".gitignore"), place=".gitignore"),
    ".git/info/exclude": Plant(row="notes for Git", plant=_append(".git/info/exclude"), place=".git/info/exclude"),
    "a file of Git": Plant(row="Git", plant=_put(".git/COMMIT_EDITMSG"), place=".git/COMMIT_EDITMSG"),
    "a free page of a database": Plant(row="databases", plant=database, place="stats.db"),
    "a write-ahead log": Plant(row="databases", plant=write_ahead, place="left.db-wal"),
    "a journal": Plant(row="journals", plant=_put(".dv/runs/broken-x/log-1"), place=".dv/runs/broken-x/log-1"),
    "samples in a journal": Plant(
        row="journals", plant=_put(".dv/runs/broken-x/s", table(), b""), place=".dv/runs/broken-x/s", inside="'who'"
    ),
    "a temporary file": Plant(row="unfinished files", plant=_put(".dv/tmp/1-0-ab"), place=".dv/tmp/1-0-ab"),
    "an unfinished file": Plant(
        row="unfinished files",
        plant=_put(".dv-partial-1-0-" + "a" * 16),
        place=".dv-partial-1-0-",
    ),
    "a pack left in .dv/tmp": Plant(
        row="unfinished files", plant=lambda root: moved(root, ".dv/tmp"), place=".dv/tmp/", inside="frame 0, chunk"
    ),
    "quarantine": Plant(row="quarantine", plant=_put(".dv/quarantine/1/log/1"), place=".dv/quarantine/1/log/1"),
    "a pack in quarantine": Plant(
        row="quarantine",
        plant=lambda root: moved(root, ".dv/quarantine/1/packs"),
        place=".dv/quarantine/1/packs/",
        inside="frame 0, chunk",
    ),
    "the index of the worktree": Plant(row="index of the worktree", plant=_put(".dv/index"), place=".dv/index"),
    "the cache of HEAD": Plant(row="caches", plant=head, place=".dv/cache/head", inside="opened"),
    "the cache of runs": Plant(
        row="caches", plant=lambda root: cache(root, "cache/runs", b"runs"), place=".dv/cache/runs", inside="opened"
    ),
    "the memory of a remote": Plant(
        row="caches",
        plant=lambda root: cache(root, "remotes/origin", b"remoteorigin"),
        place=".dv/remotes/origin",
        inside="opened",
    ),
    "a cached pack of a remote": Plant(
        row="caches",
        plant=lambda root: moved(root, ".dv/cache/remotes/origin/packs"),
        place=".dv/cache/remotes/origin/packs/",
        inside="frame 0, chunk",
    ),
    "settings": Plant(row="notes of dv", plant=_put(".dv/config"), place=".dv/config"),
    "a file of the store in the clear": Plant(
        row="files of the store", plant=_put(".dv/store/acks/x"), place=".dv/store/acks/x"
    ),
    "a chunk": Plant(row="chunks", plant=content, place=".dv/store/packs/", inside="chunk", by="part of the text"),
    "a pack that nothing names": Plant(
        row="chunks",
        plant=lambda root: moved(root, ".dv/store/packs"),
        place=".dv/store/packs/",
        inside="frame 0, chunk, key from .dv/store/keys/",
    ),
    "a pack whose footer is damaged": Plant(
        row="chunks", plant=no_footer, place=".dv/store/packs/", inside="frame 0, chunk"
    ),
    "a table in a chunk": Plant(
        row="chunks",
        plant=lambda root: chunk(root, table()),
        place=".dv/store/packs/",
        inside="column 'who', row group 0",
    ),
    "a number in a table": Plant(
        row="chunks",
        plant=lambda root: chunk(root, numbers()),
        place=".dv/store/packs/",
        inside="column 'n', row group 0, as text",
        by="number",
    ),
    "a message": Plant(row="objects", plant=message, place=".dv/store/packs/", inside="snapshot"),
    "a name in a tree": Plant(row="objects", plant=name_in_tree, place=".dv/store/packs/", inside="tree"),
    "a run": Plant(
        row="objects",
        plant=lambda root: planted_run(root, lambda _root, value: structs.replace(value, name=WORD)),
        place=".dv/store/packs/",
        inside="run",
    ),
    "who made a hold": Plant(row="objects", plant=holder, place=".dv/store/packs/", inside="hold"),
    "who decided about a model": Plant(row="objects", plant=decider, place=".dv/store/packs/", inside="erasure"),
    "a certificate": Plant(
        row="objects",
        plant=lambda root: recorded(root, certificate=b'{"author": "' + RAW + b'"}'),
        place=".dv/store/packs/",
        inside="erasure",
    ),
    "a table of a checkpoint": Plant(row="objects", plant=superseded, place=".dv/store/packs/", inside="table"),
    "a footer": Plant(row="footers", plant=footer, place=".dv/store/packs/", inside="footer", by="content"),
    "an index file": Plant(row="index files", plant=index_file, place=".dv/store/index/", inside="pages", by="content"),
    "a key file": Plant(
        row="key files",
        plant=lambda root: write_key_file(root, {}, bytes(32), {"x": msgspec.Raw(codec.encode(WORD))}),
        place=".dv/store/keys/",
        inside="keys",
    ),
    "a tag": Plant(row="log", plant=tag, place=".dv/store/log/", inside="entry"),
    "an entry under an old log key": Plant(
        row="log", plant=old_entry, place=".dv/store/log/0000010000000000", inside="entry"
    ),
    "a locator for somebody who has a retained snapshot": Plant(
        row="locators", plant=locator_of_head, place=".dv/store/log/", inside="key from the nonce of .dv/store/packs/"
    ),
    "a locator whose key is in a journal that was left": Plant(
        row="locators", plant=locator_of_journal, place=".dv/store/log/", inside="key from .dv/erasing"
    ),
    "a long file across two chunks": Plant(
        row="long files", plant=torn, place=".dv/store/packs/", inside="file 'f' of the tree"
    ),
    "a table of several chunks": Plant(
        row="long files", plant=long_table, place=".dv/store/packs/", inside="column 'n'", by="number"
    ),
    "a saved pack": Plant(row="saved copies", plant=saved_pack, place="saved/", inside="footer", by="pack"),
    "the id of a directory": Plant(
        row="directories", plant=retained(lambda root: before(root)[1]), place=".dv/store/log/", by="content"
    ),
    "the id of a root": Plant(
        row="directories", plant=retained(lambda root: before(root)[0]), place=".dv/store/log/", by="content"
    ),
    "the fingerprint of what a run read": Plant(
        row="fingerprints",
        plant=lambda root: planted_run(root, data_print),
        place=".dv/store/packs/",
        inside="run",
        by="content",
    ),
    "the fingerprint of what a run made": Plant(
        row="fingerprints",
        plant=lambda root: planted_run(root, output_print),
        place=".dv/store/packs/",
        inside="run",
        by="content",
    ),
    "the fingerprint of parameters": Plant(
        row="fingerprints",
        plant=lambda root: planted_run(root, param_print),
        place=".dv/store/packs/",
        inside="run",
    ),
    "the fingerprint of code": Plant(
        row="fingerprints",
        plant=lambda root: planted_run(root, command_print),
        place=".dv/store/packs/",
        inside="run",
    ),
    "the total of an input": Plant(
        row="totals",
        plant=lambda root: planted_run(root, input_total),
        place=".dv/store/packs/",
        inside="run",
        by="content",
    ),
    "the total of an output": Plant(
        row="totals",
        plant=lambda root: planted_run(root, output_total),
        place=".dv/store/packs/",
        inside="run",
        by="content",
    ),
    "the total of a directory": Plant(
        row="totals", plant=directory_total, place=".dv/store/packs/", inside="tree", by="content"
    ),
    "the total of a snapshot": Plant(
        row="totals", plant=snapshot_total, place=".dv/store/packs/", inside="snapshot", by="content"
    ),
}
