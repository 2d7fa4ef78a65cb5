"""Stores that somebody with the key has crafted: what they say wrongly is refused, wherever it is read."""

import os

import msgspec
import pytest

from dvtool import ids, paths
from dvtool.errors import ConflictError, DvError, FormatError, IntegrityError
from dvtool.formats import log, project, snapshot, table, tree
from dvtool.repo import Repo
from dvtool.store.state import EMPTY, State
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.testing.objects import RememberedObjects

ONE = bytes(31) + b"\1"
SHORT = bytes(15) + b"\1"
FILE = tree.Entry(tree.FILE, 1, ONE)


def leaf(objects, *names):
    data, totals = tree.encode_leaf(names, [FILE] * len(names))
    return objects.put_object(ids.TREE, data), totals


def directory(objects, lasts, leaves):
    return objects.put_object(
        ids.TREE, tree.encode_inner(1, lasts, [identity for identity, _totals in leaves], [t for _id, t in leaves])
    )


@pytest.mark.parametrize(
    ("lasts", "names"),
    [(("b", "c"), (("a", "b"), ("a", "c"))), (("b", "d"), (("a", "b"), ("c",))), (("a", "b"), (("a", "b"), ("b",)))],
    ids=["overlapping", "another last name", "beyond its last name"],
)
def test_nodes_that_do_not_follow_each_other_are_refused_by_every_reader(lasts, names):
    objects = RememberedObjects()
    crafted = directory(objects, lasts, [leaf(objects, *each) for each in names])
    trees = Trees(objects)
    with pytest.raises(DvError):
        list(trees.entries(crafted))
    with pytest.raises(DvError):
        diff_trees(trees, trees, None, crafted)
    with pytest.raises(DvError):
        [trees.get(crafted, name) for name in "abcd"]


def test_totals_of_a_high_node_are_held_against_those_below():
    objects = RememberedObjects()
    low = [leaf(objects, "a"), leaf(objects, "b")]
    middle = directory(objects, ("a", "b"), low)
    lie = tree.Totals(entries=2, files=10**6, size=10**9)
    top = objects.put_object(ids.TREE, tree.encode_inner(2, ("b",), [middle], [lie]))
    with pytest.raises(DvError):
        list(Trees(objects).entries(top))


def test_a_list_that_is_longer_than_any_node_takes_no_memory():
    count = 10**6
    data = b"\x96\x01\x01\xa1a\xc4\x00\xdd" + count.to_bytes(4, "big") + b"\x90" * count
    with pytest.raises(FormatError, match="malformed"):
        tree.decode(data)
    with pytest.raises(FormatError, match="malformed"):
        table.decode(b"\x94\x00\xdd" + count.to_bytes(4, "big") + b"\xc4\x00" * count)


def test_a_snapshot_with_files_outside_its_roots_is_not_checked_out(tmp_path):
    os.makedirs(f"{tmp_path}/repo/data")
    (tmp_path / "repo/data/a").write_text("a", encoding="utf-8")
    repo = Repo.init(f"{tmp_path}/repo")
    repo.add(["data"])
    repo.commit("one")
    session = repo.workspace.session
    head = session.head().snapshot
    assert head is not None
    good = session.snapshot(head)
    entry = session.trees.resolve(good.root, "data/a")
    with session.store.transaction() as transaction:
        from dvtool.store.editing import Editor

        editor = Editor(transaction, session.store.secrets.split)
        root = editor.apply(good.root, {"": {"conftest.py": entry}})
        totals = editor.trees.totals(root)
        value = msgspec.structs.replace(good, root=root, files=totals.files, size=totals.size, nonce=os.urandom(32))
        identity = transaction.put_object(ids.SNAPSHOT, snapshot.encode(value))
        move = log.MoveRef(name="tags/crafted", old=None, new=identity)
        transaction.commit("test", lambda _state: [move])
    with pytest.raises(IntegrityError, match="outside its tracked roots"):
        Repo.open(f"{tmp_path}/repo").checkout("crafted")
    assert not (tmp_path / "repo/conftest.py").exists()


BAD_ROWS = [
    ("refs", b"heads/\xff", ONE),
    ("refs", b"heads/main", b"@\xff"),
    ("refs", b"heads/main", b"@heads/b///"),
    ("packs", b"short", b""),
    ("superseded", ONE, b"short"),
    ("condemned", b"../../precious", bytes(8)),
    ("condemned", b"keys/repo", bytes(8)),
    ("dropped", b"keys/repo", b""),
    ("erasures", SHORT, b"\x09" + SHORT),
    ("erasures", SHORT, b"\x01"),
    ("erasures", SHORT, b"\x01" + SHORT + b"x"),
    ("locators", SHORT, b"\xc1"),
]


@pytest.mark.parametrize(("name", "key", "value"), BAD_ROWS)
def test_a_row_of_a_checkpoints_table_is_checked_wherever_it_is_read(name, key, value):
    with pytest.raises(FormatError):
        log.check_row(name, key, value)

    class Node:
        def get(self, _table, _key):
            return value

        def items(self, _table, _prefix):
            return iter([(key, value)])

        def follow(self, _segments):
            pass

    state = State(Node())
    tables = dict.fromkeys(log.TABLES, EMPTY) | {name: log.Table(count=300, root=ONE)}
    state._load(log.Checkpoint(**tables, segments=(), lock=b"", writes=()))
    with pytest.raises(FormatError):
        getattr(state, name).items()
    with pytest.raises(FormatError):
        getattr(state, name).get(key)


def erasure(phase, planned=SHORT):
    return log.Erasure(erasure=SHORT, phase=phase, planned=planned)


@pytest.mark.parametrize(
    ("before", "step"),
    [
        ([], log.ERASED),
        ([], log.ABORTED),
        ([], log.FINISHED),
        ([log.ERASING, log.ABORTED], log.ERASED),
        ([log.ERASING], log.FINISHED),
        ([log.ERASING], log.ERASING),
        ([log.ERASING, log.ERASED], log.ABORTED),
        ([log.ERASING, log.ERASED], log.ERASING),
        ([log.ERASING, log.ERASED, log.FINISHED], log.ERASING),
    ],
)
def test_a_step_of_an_erasure_that_does_not_follow_is_refused(before, step):
    class Nothing:
        def get(self, _table, _key):
            return None

        def items(self, _table, _prefix):
            return iter(())

        def follow(self, _segments):
            pass

    state = State(Nothing())
    for phase in before:
        state.check([erasure(phase)])
        state._act(
            erasure(phase),
            log.Entry(
                version=1,
                store=SHORT,
                number=1,
                previous=ONE,
                write=SHORT,
                time=1,
                operation="x",
                checkpoint=0,
                actions=(),
            ),
        )
    with pytest.raises(ConflictError):
        state.check([erasure(step)])


@pytest.mark.parametrize(
    "name",
    [".git::$INDEX_ALLOCATION", ".GIT:x", ".git\\config", "..\\x", "a\\.dv\\b", ".dv-partial-1-a-0123456789abcdef"],
)
def test_names_that_lead_elsewhere_on_other_systems_are_refused(name):
    with pytest.raises(FormatError, match="forbidden"):
        paths.check_names([name], name)


@pytest.mark.parametrize("name", ["a:b", "a\\b", ".gitty", "x.git", ".dv-partial"])
def test_names_that_only_look_alike_are_data(name):
    paths.check_names([name], name)


@pytest.mark.parametrize(
    "text",
    [
        'url = "HTTPS://user:secret@host/x"',
        'url = "https://u:p/w@h/x"',
        'url = "s3://b"\noptions = { a = [{ password = "x" }] }',
        'url = "s3://b"\noptions = { connection_string = "AccountKey=1" }',
        'url = "s3://b"\noptions = { Secret_Key = "x" }',
    ],
)
def test_credentials_in_any_dress_are_refused(text):
    with pytest.raises(FormatError, match="credential"):
        project.decode(f"[remote.o]\n{text}\n".encode())


def test_options_that_nest_for_ever_end_in_an_error_of_ours_or_none():
    text = f'[remote.o]\nurl = "s3://b"\n[remote.o.options{".a" * 700}]\nx = 1\n'
    try:
        project.decode(text.encode())
    except DvError:
        return


def test_a_log_key_of_another_length_is_refused(tmp_path):
    os.makedirs(f"{tmp_path}/repo")
    store = Repo.init(f"{tmp_path}/repo").workspace.session.store
    from dvtool.formats import sealed
    from dvtool.store import keys

    name = keys.log_key_name(SHORT)
    blob = sealed.seal(
        sealed.LOG_KEY, store.secrets.wrap, bytes(16), os.urandom(32), store.format.store + name.encode(), b"short"
    )
    store.backend.put(name, blob)
    with pytest.raises(FormatError, match="wrong length"):
        keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, SHORT)
