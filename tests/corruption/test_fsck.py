"""``dv fsck``: every damage to a store is found and its file named; what it hits is listed; nothing is changed."""

import hashlib
import itertools
import os
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from dvtool import ids
from dvtool.errors import DvError, KeyAccessError, NotFoundError, UsageError
from dvtool.formats import index, log, nodes, pack, snapshot, tree
from dvtool.operations.fsck import fsck
from dvtool.repo import Repo
from dvtool.store import checkpoints, tables
from dvtool.store.editing import Editor
from dvtool.store.trees import Trees
from dvtool.testing import damage
from dvtool.worktree.session import Context
from tests.corruption.test_every_kind import newest, positions

STORE = ("format", "log entry", "log key", "key file", "index file", "data pack", "metadata pack")
"""Kinds of files of a store that have a checksum or a name to be held against."""


def check(root, **options):
    return fsck(root, Context(), **options)


def named(root, path, **options):
    """The report on a damaged store; fails unless it names the file."""
    found = check(root, **options)
    assert not found.clean, f"nobody noticed the damage to {path}"
    file = path.removeprefix(".dv/store/")
    assert file in {problem.file for problem in found.problems}, (file, found.problems)
    return found


def fingerprint(root):
    """Everything below a repository but the caches that remember when packs were checked."""
    found = {}
    for directory, _below, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if not path.endswith((".dv/cache/fsck", ".dv/cache/fsck-quick")) and not os.path.islink(path):
                found[path] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return found


def every_log_entry_matters(sample, kind):
    """Unlike a reader, which begins at the newest checkpoint, fsck reads all entries."""
    return sample.kinds[kind]


@pytest.mark.parametrize("quick", [False, True])
def test_a_sound_store_is_clean_and_all_of_it_was_read(sample, tmp_path, quick):
    root = sample.copy(tmp_path)
    found = check(root, quick=quick)
    assert found.clean
    assert (found.problems, found.objects, found.paths, found.left) == ((), (), (), 0)
    packs = sample.kinds["data pack"] + sample.kinds["metadata pack"]
    assert found.checked.packs == len(packs)
    store = f"{root}/.dv/store"
    files = [path for path in fingerprint(store) if not path.endswith("/keys/repo")]
    assert found.checked.files == len(files)
    assert found.checked.bytes == sum(os.path.getsize(path) for path in files)
    if not quick:
        assert found.checked.snapshots == 4
        assert found.checked.frames == sum(
            len(segment.index) for segment in Repo.open(root).workspace.session.store.segments.live()
        )


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("way", damage.WHOLE)
@pytest.mark.parametrize("kind", STORE)
def test_damage_to_a_whole_file_is_found(sample, tmp_path, kind, way, quick):
    paths = every_log_entry_matters(sample, kind)
    if quick and way == "deleted" and kind in {"log key", "key file", "index file"}:
        paths = []  # without the log nobody knows that they should be there; with it, see below
    if quick and way == "deleted" and kind == "log entry":
        paths = paths[:-1]  # the last one is missed by whoever remembers the head
    for path in paths:
        root = sample.copy(tmp_path)
        damage.WHOLE[way](f"{root}/{path}")
        if kind == "log entry" and way == "deleted" and path == paths[-1] and not quick:
            assert not check(root).clean
            continue
        named(root, path, quick=quick)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("kind", STORE)
def test_a_flipped_bit_is_found(sample, tmp_path, kind, quick):
    paths = sample.kinds[kind]
    for path in {paths[0], paths[-1]}:
        for at in positions(os.path.getsize(f"{sample.root}/{path}"), len(path)):
            root = sample.copy(tmp_path)
            damage.flip(f"{root}/{path}", at, 1 << (at % 8))
            named(root, path, quick=quick)


@pytest.mark.parametrize("kind", ["log entry", "key file", "index file", "data pack", "metadata pack"])
def test_files_that_changed_places_are_found(sample, tmp_path, kind):
    paths = newest(sample, kind)
    root = sample.copy(tmp_path)
    damage.swap(f"{root}/{paths[0]}", f"{root}/{paths[-1]}")
    assert not check(root).clean


@pytest.mark.parametrize("kind", ["log entry", "key file", "index file", "data pack", "metadata pack"])
def test_a_file_of_another_repository_is_found(sample, other, tmp_path, kind):
    root = sample.copy(tmp_path)
    path = newest(sample, kind)[-1]
    damage.copy_over(f"{root}/{path}", f"{other.root}/{newest(other, kind)[-1]}")
    if kind == "log entry":  # it names the other's log key, which is missing here
        assert not check(root).clean
    else:
        named(root, path)


@pytest.mark.parametrize("directory", ["packs", "index", "keys", "log"])
@pytest.mark.parametrize("quick", [False, True])
def test_what_is_no_file_of_a_store_is_named(sample, tmp_path, directory, quick):
    root = sample.copy(tmp_path)
    Path(f"{root}/.dv/store/{directory}/notes.txt").write_text("mine", encoding="utf-8")
    named(root, f".dv/store/{directory}/notes.txt", quick=quick)


@pytest.mark.parametrize("quick", [False, True])
def test_a_log_entry_of_a_giant_number_takes_no_memory(sample, tmp_path, quick):
    root = sample.copy(tmp_path)
    last = Path(f"{root}/{sample.kinds['log entry'][-1]}")
    last.with_name("f" * 16).write_bytes(last.read_bytes())
    tracemalloc.start()
    try:
        found = check(root, quick=quick)
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    assert "log entries are missing" in {problem.what for problem in found.problems}


@pytest.mark.parametrize("kind", ["log entry", "key file", "index file", "data pack", "metadata pack"])
def test_a_pipe_under_the_name_of_a_file_keeps_nobody_waiting(sample, tmp_path, kind):
    root = sample.copy(tmp_path)
    path = sample.kinds[kind][-1]
    os.unlink(f"{root}/{path}")
    os.mkfifo(f"{root}/{path}")
    for quick in (True, False):
        named(root, path, quick=quick)
    assert isinstance(sample.outcome(root), DvError)


def test_garbage_is_counted_and_no_damage(sample, tmp_path):
    root = sample.copy(tmp_path)
    name = hashlib.sha256(b"garbage").hexdigest()
    body = Path(f"{root}/{sample.kinds['data pack'][0]}").read_bytes()
    Path(f"{root}/.dv/store/packs/{name}").write_bytes(body)
    found = check(root)
    assert found.clean
    assert found.unreferenced == 1
    assert not check(root, quick=True).clean, "a pack under a wrong name is no pack, for who cannot ask the log"


def test_nothing_is_changed(sample, tmp_path):
    root = sample.copy(tmp_path)
    for path in (sample.kinds["data pack"][0], sample.kinds["metadata pack"][-1], sample.kinds["key file"][-1]):
        damage.flip(f"{root}/{path}", 100)
    before = fingerprint(root)
    for options in ({}, {"quick": True}, {"max_bytes": 1000}):
        assert not check(root, **options).clean
    assert fingerprint(root) == before


# ------------------------------------------------------------------------------------------- what damage hits


def test_the_paths_and_snapshots_that_damage_hits_are_named(sample, tmp_path):
    root = sample.copy(tmp_path)
    store = Repo.open(root).workspace.session.store
    history = Repo.open(root).log()
    entry = Trees(store).resolve(bytes.fromhex(history[-1].root), "data/a.txt")
    assert entry is not None
    segment, location = store.locate(ids.CHUNK, entry.id)
    damage.flip(f"{root}/.dv/store/{segment.pack(location.pack).file}", location.offset + 3)
    found = named(root, f".dv/store/{segment.pack(location.pack).file}")
    [problem] = [problem for problem in found.problems if problem.file.startswith("packs/")]
    assert problem.ids == (entry.id.hex(),)
    [path] = found.paths
    assert path.path == "data/a.txt"
    # In all four snapshots, and in the stage.
    assert {item.snapshot for item in history} < set(path.snapshots)
    assert len(path.snapshots) == 5


def test_a_pack_that_is_gone_costs_what_lay_in_it_and_no_more(sample, tmp_path):
    root = sample.copy(tmp_path)
    for path in sample.kinds["data pack"]:
        copied = sample.copy(tmp_path)
        os.unlink(f"{copied}/{path}")
        found = named(copied, path)
        hit = {each.path for each in found.paths}
        assert hit or {each.kind for each in found.objects} == {"settings (.dvignore)"}
        for item in Repo.open(copied).ls(recursive=True):
            if item.kind == "file" and item.path not in hit and item.size:
                assert b"".join(Repo.open(copied).cat(f"HEAD:{item.path}"))
    assert root


def test_each_damaged_tree_and_snapshot_is_named(sample, tmp_path):
    for path in sample.kinds["metadata pack"]:
        root = sample.copy(tmp_path)
        os.unlink(f"{root}/{path}")
        found = check(root)
        assert not found.clean
        assert path.removeprefix(".dv/store/") in {problem.file for problem in found.problems}


def recorded(root, **changes):
    """Record a snapshot that lies, with everything else as it should be."""
    session = Repo.open(root).workspace.session
    head = session.head()
    assert head.snapshot is not None
    with session.store.transaction() as transaction:
        value = msgspec.structs.replace(session.snapshot(head.snapshot), nonce=os.urandom(32), **changes)
        identity = transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))
        move = log.MoveRef(name="heads/main", old=head.snapshot, new=identity)
        transaction.commit("commit", lambda _state: [move])
    return identity


@pytest.mark.parametrize("lie", [{"files": 99}, {"size": 1}])
def test_totals_that_lie_are_found(sample, tmp_path, lie):
    root = sample.copy(tmp_path)
    identity = recorded(root, **lie)
    found = check(root)
    assert [(each.kind, each.id) for each in found.objects] == [("snapshot", identity.hex())]
    assert not found.problems


def test_a_tree_that_names_what_is_not_there_is_found(sample, tmp_path):
    root = sample.copy(tmp_path)
    session = Repo.open(root).workspace.session
    missing = tree.Entry(tree.FILE, 5, bytes(31) + b"\1")
    with session.store.transaction() as transaction:
        editor = Editor(transaction, session.store.secrets.split)
        made = editor.apply(None, {"data": {"x": missing}})
        move = log.MoveRef(name="tags/kept", old=None, new=recorded_in(transaction, session, made))
        transaction.commit("test", lambda _state: [move])
    found = check(root)
    assert [each.path for each in found.paths] == ["data/x"]
    assert [each.id for each in found.objects] == [missing.id.hex()]


def recorded_in(transaction, session, root, *, files=1, size=5):
    head = session.snapshot(session.head().snapshot)
    value = msgspec.structs.replace(head, root=root, files=files, size=size, nonce=os.urandom(32))
    return transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))


def cut_at(transaction, session, ends):
    """Store a directory of empty files, cut into leaves at these places whatever the rule says."""
    names = [f"{number:05}" for number in range(ends[-1])]
    nothing = tree.Entry(tree.FILE, 0, session.store.hasher.id(ids.CHUNK, b""))
    lasts, below, totals = [], [], []
    for start, end in itertools.pairwise([0, *ends]):
        data, found = tree.encode_leaf(names[start:end], [nothing] * (end - start))
        lasts.append(names[end - 1])
        below.append(transaction.put_object(ids.TREE, data))
        totals.append(found)
    if len(below) == 1:
        return below[0]
    return transaction.put_object(ids.TREE, tree.encode_inner(1, lasts, below, totals))


@pytest.mark.parametrize("crafted", ["moved", "too many", None])
def test_nodes_of_a_tree_that_are_cut_elsewhere_are_found(sample, tmp_path, crafted):
    root = sample.copy(tmp_path)
    session = Repo.open(root).workspace.session
    split = session.store.secrets.split
    names = [f"{number:05}" for number in range(9000)]
    good = nodes.cut(len(names), nodes.TREE_SHAPE, nodes.name_marks(split, names, 0))
    shift = 1 if good[1] - good[0] > 257 else -1  # no node below the minimum, which every reader refuses
    ends = {"moved": [good[0] + shift, *good[1:]], "too many": list(range(300, 9001, 300)), None: good}[crafted]
    assert (ends == good) == (crafted is None)
    with session.store.transaction() as transaction:
        made = cut_at(transaction, session, ends)
        editor = Editor(transaction, split)
        top = editor.apply(None, {"": {"data": editor.trees.directory_entry(made)}})
        move = log.MoveRef(name="tags/kept", old=None, new=recorded_in(transaction, session, top, files=9000, size=0))
        transaction.commit("test", lambda _state: [move])
    assert len(list(Repo.open(root).ls("kept", "data"))) == 9000
    found = check(root)
    assert [(each.kind, each.id) for each in found.objects] == ([("tree", made.hex())] if crafted else [])
    assert [(each.path, "cut" in each.why) for each in found.paths] == ([("data", True)] if crafted else [])
    assert check(root, quick=True).clean


@pytest.mark.parametrize("crafted", [True, False])
def test_nodes_of_a_table_that_are_cut_elsewhere_are_found(sample, tmp_path, monkeypatch, crafted):
    root = sample.copy(tmp_path)
    session = Repo.open(root).workspace.session
    head = session.head().snapshot
    moves: list[log.Action] = [log.MoveRef(name=f"tags/t{number:05}", old=None, new=head) for number in range(3000)]
    session.store.log.append("tag", lambda _state: moves)
    honest = tables._marks
    if crafted:
        monkeypatch.setattr(tables, "_marks", lambda _split, level, keys: honest(bytes(32), level, keys))
    assert checkpoints.write(session.store)
    monkeypatch.undo()
    which = session.store.refresh().refs.table
    assert len(Repo.open(root).tags()) >= 3000
    found = check(root)
    assert [(each.kind, each.id) for each in found.objects] == ([("table", which.root.hex())] if crafted else [])
    assert found.clean == (not crafted)


def test_an_index_file_that_lies_about_its_packs_is_found(sample, tmp_path):
    root = sample.copy(tmp_path)
    store = Repo.open(root).workspace.session.store
    segment = store.segments.live()[0]
    records = [index.unpack(record) for record in segment.index.records()]
    identity, location = records[0]
    records[0] = (identity, location._replace(offset=location.offset + 1))
    data = index.encode(
        store.format.store,
        segment.keys.index,
        bytes(32),
        segment.index.directory.packs,
        [index.record(*each) for each in records],
    )
    damage.replace(f"{root}/.dv/store/{segment.description.index}", data)
    found = check(root)
    assert {problem.file.partition("/")[0] for problem in found.problems} == {"packs"}


# ------------------------------------------------------------------------------------------------------ keys


def test_without_the_key_a_quick_check_does_what_it_can(sample, tmp_path):
    root = sample.copy(tmp_path)
    os.unlink(f"{root}/.dv/store/keys/repo")
    assert check(root, quick=True).clean
    with pytest.raises(KeyAccessError):
        check(root)
    damage.flip(f"{root}/{sample.kinds['data pack'][0]}", -1)
    named(root, sample.kinds["data pack"][0], quick=True)


def test_with_another_key_a_quick_check_does_what_it_can(sample, other, tmp_path):
    root = sample.copy(tmp_path)
    damage.copy_over(f"{root}/.dv/store/keys/repo", f"{other.root}/.dv/store/keys/repo")
    assert check(root, quick=True).clean
    with pytest.raises(DvError):
        check(root)


def test_where_there_is_no_repository(tmp_path):
    with pytest.raises(NotFoundError):
        check(str(tmp_path))


# ---------------------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize("quick", [False, True])
def test_a_budget_comes_round_to_every_pack(sample, tmp_path, quick):
    root = sample.copy(tmp_path)
    packs = sample.kinds["data pack"] + sample.kinds["metadata pack"]
    sizes = sorted(os.path.getsize(f"{root}/{path}") for path in packs)
    damaged = packs[len(packs) // 2]
    damage.flip(f"{root}/{damaged}", -1)
    rounds = 0
    seen = 0
    while seen < len(packs):
        found = check(root, quick=quick, max_bytes=sizes[-1])
        assert found.checked.packs + found.left == len(packs)
        seen += found.checked.packs
        rounds += 1
        if any(problem.file == damaged.removeprefix(".dv/store/") for problem in found.problems):
            break
    else:
        pytest.fail("the damaged pack was never looked at")
    assert rounds > 1 or found.left
    assert check(root, quick=quick, max_bytes=0).checked.packs == 1, "a budget too small for any pack reads one"


def test_a_negative_budget_is_refused(sample, tmp_path):
    with pytest.raises(UsageError):
        check(sample.copy(tmp_path), max_bytes=-1)


def test_a_damaged_memory_of_checks_is_forgotten(sample, tmp_path):
    root = sample.copy(tmp_path)
    check(root)
    damage.flip(f"{root}/.dv/cache/fsck", 70)
    assert check(root, max_bytes=1).checked.packs == 1


def test_several_processes_find_the_same(sample, tmp_path, monkeypatch):
    root = sample.copy(tmp_path)
    for path in sample.kinds["data pack"]:
        damage.flip(f"{root}/{path}", pack.HEADER_SIZE + 1)
    monkeypatch.setenv("DV_WORKERS", "1")
    alone = check(root)
    monkeypatch.setenv("DV_WORKERS", "3")
    assert check(root) == alone
