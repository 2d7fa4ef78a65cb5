"""Stores that somebody with the key has crafted: what they say wrongly is refused, wherever it is read."""

import os

import msgspec
import pytest

from dvtool import ids, paths
from dvtool.errors import ConflictError, DvError, FormatError, IntegrityError
from dvtool.formats import log, manifest, nodes, project, snapshot, table, tree
from dvtool.repo import Repo
from dvtool.store import manifests, tables
from dvtool.store.editing import Editor
from dvtool.store.state import EMPTY, State
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.testing.objects import RememberedObjects

ONE = bytes(31) + b"\1"
SHORT = bytes(15) + b"\1"
FILE = tree.Entry(tree.FILE, 1, ONE)
SMALL = nodes.Shape(minimum=2, spread=3, maximum=8)


@pytest.fixture
def small_nodes(monkeypatch):
    """Let nodes be so small that two names make one."""
    for shape in ("TREE_SHAPE", "MANIFEST_SHAPE", "TABLE_SHAPE"):
        monkeypatch.setattr(nodes, shape, SMALL)


def leaf(objects, *names):
    data, totals = tree.encode_leaf(names, [FILE] * len(names))
    return objects.put_object(ids.TREE, data), totals


def directory(objects, lasts, below, level=1):
    return objects.put_object(
        ids.TREE, tree.encode_inner(level, lasts, [identity for identity, _totals in below], [t for _id, t in below])
    )


def middle(objects, *leaves):
    """A node over leaves of these names, and its totals."""
    made = [leaf(objects, *names) for names in leaves]
    identity = directory(objects, [names[-1] for names in leaves], made)
    return identity, tree.sum_totals([totals for _id, totals in made])


@pytest.mark.parametrize(
    ("lasts", "names"),
    [(("b", "c"), (("a", "b"), ("a", "c"))), (("b", "d"), (("a", "b"), ("c",))), (("a", "b"), (("a", "b"), ("b",)))],
    ids=["overlapping", "another last name", "beyond its last name"],
)
@pytest.mark.usefixtures("small_nodes")
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


def refused_by_every_reader(objects, crafted, match, names):
    trees = Trees(objects)
    for read in (
        lambda: list(trees.entries(crafted)),
        lambda: list(trees.walk(crafted)),
        lambda: diff_trees(trees, trees, None, crafted),
        lambda: [trees.get(crafted, name) for name in names],
        lambda: Editor(objects, ONE).edit(crafted, {names[0]: None}),
    ):
        with pytest.raises(DvError, match=match):
            read()


@pytest.mark.usefixtures("small_nodes")
def test_totals_of_a_high_node_are_held_against_those_below():
    objects = RememberedObjects()
    below = [middle(objects, ("a", "b"), ("c", "d")), middle(objects, ("e", "f"), ("g",))]
    good = directory(objects, ("d", "g"), below, 2)
    assert len(list(Trees(objects).entries(good))) == 7
    below[0] = (below[0][0], msgspec.structs.replace(below[0][1], files=10**6, size=10**9))
    refused_by_every_reader(objects, directory(objects, ("d", "g"), below, 2), "not what the node above", "abcdefg")


@pytest.mark.usefixtures("small_nodes")
@pytest.mark.parametrize(
    "below",
    [
        ([("a", "b")], [("c", "d"), ("e", "f")]),
        ([("a", "b"), ("c",)], [("d", "e"), ("f",)]),
    ],
    ids=["one node in the first", "a short leaf at the end of the first"],
)
def test_a_tree_that_is_cut_where_none_is_cut_is_refused(below):
    objects = RememberedObjects()
    made = [middle(objects, *leaves) for leaves in below]
    made[0] = (made[0][0], msgspec.structs.replace(made[0][1], entries=max(4, made[0][1].entries)))
    crafted = directory(objects, [leaves[-1][-1] for leaves in below], made, 2)
    refused_by_every_reader(objects, crafted, "cut|not what the node above", "abcdef")


@pytest.mark.usefixtures("small_nodes")
def test_a_full_check_refuses_what_is_cut_elsewhere_on_any_level():
    names = [f"{number:03}" for number in range(120)]
    files = dict.fromkeys(names, FILE)
    objects = RememberedObjects()
    good = Editor(objects, ONE).edit(None, files)
    trees = Trees(objects)
    assert dict(trees.proven(good, ONE)) == dict(trees.entries(good)) == files
    leaves = trees.leaves(good)[:12]  # cut as they should be
    held = {name: FILE for name in names if name <= leaves[-1][0]}
    lasts = [last for last, _identity, _totals in leaves]
    below = [(identity, totals) for _last, identity, totals in leaves]
    middles = [
        (directory(objects, lasts[a:b], below[a:b]), tree.sum_totals([totals for _id, totals in below[a:b]]))
        for a, b in ((0, 6), (6, 12))
    ]
    assert nodes.cut(12, SMALL, nodes.name_marks(ONE, lasts, 1)) != [6, 12]
    crafted = directory(objects, [lasts[5], lasts[11]], middles, 2)
    assert dict(Trees(objects).entries(crafted)) == held
    with pytest.raises(FormatError, match="cut"):
        list(Trees(objects).proven(crafted, ONE))


def test_a_node_over_a_single_other_one_is_refused():
    objects = RememberedObjects()
    refused_by_every_reader(objects, directory(objects, ("b",), [leaf(objects, "a", "b")]), "a single other", "ab")


@pytest.mark.parametrize("kind", [tree.FILE, tree.EXECUTABLE])
@pytest.mark.parametrize("identity", [ONE, bytes(32)])
def test_an_empty_file_has_one_form_only(kind, identity):
    objects = RememberedObjects()
    empty = tree.Entry(kind, 0, objects.hasher.id(ids.CHUNK, b""))
    good = objects.put_object(ids.TREE, tree.encode_leaf(["a", "b"], [FILE, empty])[0])
    assert dict(Trees(objects).entries(good)) == {"a": FILE, "b": empty}
    crafted = objects.put_object(ids.TREE, tree.encode_leaf(["a", "b"], [FILE, empty._replace(id=identity)])[0])
    refused_by_every_reader(objects, crafted, "empty file", "ab")


def test_dv_itself_stores_empty_files_in_that_form(tmp_path):
    os.makedirs(f"{tmp_path}/repo/data")
    (tmp_path / "repo/data/empty").write_bytes(b"")
    repo = Repo.init(f"{tmp_path}/repo")
    repo.add(["data"])
    session = repo.workspace.session
    staged = session.stage().tree
    assert staged is not None
    entry = session.trees.resolve(staged, "data/empty")
    assert entry == tree.Entry(tree.FILE, 0, session.store.hasher.id(ids.CHUNK, b""))


LOW, HIGH = bytes(32), b"\xff" * 32
"""Ids of chunks: a node may end with the first and not with the second."""


def listed(objects, level, identities, length=1):
    lengths = [length] * len(identities)
    return objects.put_object(ids.MANIFEST, manifest.encode(level, identities, lengths))


@pytest.mark.usefixtures("small_nodes")
@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([[LOW]], "single"),
        ([[HIGH, LOW, HIGH]], "cut"),
        ([[HIGH] * 8, [HIGH]], None),
        ([[HIGH, LOW], [HIGH]], None),
        ([[HIGH, HIGH], [HIGH, HIGH]], "cut"),
        ([[LOW], [LOW, LOW]], "cut"),
    ],
    ids=["one chunk", "too late", "the longest", "as dv does", "too early", "too short"],
)
def test_a_manifest_has_one_form_only(pieces, fault):
    objects = RememberedObjects()
    below = [listed(objects, 0, piece) for piece in pieces]
    lengths = [len(piece) for piece in pieces]
    root = below[0]
    if len(below) > 1:
        root = objects.put_object(ids.MANIFEST, manifest.encode(1, below, lengths))
    chunks = [chunk for piece in pieces for chunk in piece]
    if fault is None:
        assert [chunk for chunk, _length in manifests.chunks_of(objects, root, sum(lengths))] == chunks
        assert manifests.build(chunks, [1] * len(chunks), objects) == root
    else:
        with pytest.raises(FormatError, match=fault):
            list(manifests.chunks_of(objects, root, sum(lengths)))


def test_a_manifest_over_a_single_node_is_refused():
    objects = RememberedObjects()
    root = listed(objects, 1, [listed(objects, 0, [HIGH, HIGH])], length=2)
    with pytest.raises(FormatError, match="single"):
        list(manifests.chunks_of(objects, root, 2))


PAIRS = [(f"runs/{number:04}".encode(), ONE) for number in range(log.INLINE_LIMIT + 64)]


MANY = len(PAIRS)


def table_of(objects, runs, *, lasts=None, count=MANY):
    """A table in two levels, its nodes of these pairs."""
    below = [objects.put_object(ids.TABLE, table.encode(0, [k for k, _ in run], [v for _, v in run])) for run in runs]
    lasts = lasts or [run[-1][0] for run in runs]
    return log.Table(count=count, root=objects.put_object(ids.TABLE, table.encode(1, lasts, below)))


class Followed(RememberedObjects):
    def follow(self, _segments):
        pass


HALVES = (PAIRS[:100], PAIRS[100:])
LAST = PAIRS[-1][0]
BAD_TABLES = {
    "more pairs than it has": lambda o: table_of(o, HALVES, count=MANY + 1),
    "fewer pairs than it has": lambda o: table_of(o, HALVES, count=MANY - 1),
    "so few that there is no root": lambda o: table_of(o, HALVES, count=1),
    "more than two levels hold": lambda o: table_of(o, HALVES, count=2**21),
    "a root over a single node": lambda o: table_of(o, [PAIRS]),
    "an empty node": lambda o: table_of(o, [HALVES[0], [], HALVES[1]], lasts=[PAIRS[99][0], b"runs/00999", LAST]),
    "a node below the minimum": lambda o: table_of(o, [PAIRS[:63], PAIRS[63:]]),
    "another last key": lambda o: table_of(o, HALVES, lasts=[b"runs/00995", LAST]),
    "nodes that overlap": lambda o: table_of(o, [PAIRS[:100], PAIRS[90:]], count=MANY + 10),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_is_not_what_its_root_says_is_refused(name):
    objects = Followed()
    good = table_of(objects, [PAIRS[:100], PAIRS[100:]])
    reader = tables.Tables(objects)
    assert list(reader.items(good, b"")) == PAIRS
    assert all(reader.get(good, key) == value for key, value in PAIRS)
    crafted = BAD_TABLES[name](objects)
    with pytest.raises(FormatError):
        list(reader.items(crafted, b""))
    if "pairs than it has" not in name:
        with pytest.raises(FormatError):
            [reader.get(crafted, key) for key in (*dict(PAIRS), b"runs/00995")]


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
        sealed.LOG_KEY,
        store.secrets.wrap.current,
        bytes(16),
        os.urandom(32),
        store.format.store + name.encode(),
        b"short",
    )
    store.backend.put(name, blob)
    with pytest.raises(FormatError, match="wrong length"):
        keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, SHORT)
