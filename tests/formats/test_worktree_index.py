import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import digest
from dvtool.errors import FormatError
from dvtool.formats import codec, worktree_index

ONE = bytes(31) + b"\1"

names = st.text("abc\u00fc.", min_size=1, max_size=5)
stats = st.binary(min_size=worktree_index.STAT_SIZE, max_size=worktree_index.STAT_SIZE)
files = st.dictionaries(
    names,
    st.tuples(st.sampled_from(b"fxFXle"), stats, st.binary(min_size=32, max_size=32), st.integers(0, 2**50)),
)


def record(**changes):
    columns = {"names": "a", "kinds": b"f", "stats": bytes(40), "ids": ONE, "sizes": [1], "directories": ""}
    return worktree_index.Record(**(columns | changes))


def with_trailer(body):
    return body + digest.accident(body)


def with_table(paths, offsets, lengths, records=b""):
    """An index with these records and a table that says this of them."""
    head = worktree_index.encode(ONE, [])[: worktree_index.HEADER_SIZE]
    table = codec.encode(worktree_index.Table(paths=paths, offsets=offsets, lengths=lengths))
    return with_trailer(head + records + table + len(table).to_bytes(8, "little"))


def test_golden_bytes_say_what_they_said(vector, plain):
    tree, places = worktree_index.decode(vector.data)
    assert tree.hex() == vector.value["tree"]
    records = {
        path: worktree_index.decode_record(memoryview(vector.data)[at : at + length])
        for path, (at, length) in places.items()
    }
    assert plain(records) == vector.value["records"]


def test_golden_bytes_are_written_again_as_they_were(vector):
    tree, places = worktree_index.decode(vector.data)
    records = [(path, vector.data[at : at + length]) for path, (at, length) in places.items()]
    assert worktree_index.encode(tree, records) == vector.data


@given(
    tree=st.binary(min_size=32, max_size=32),
    directories=st.dictionaries(names | st.just(""), files, max_size=4),
    below=st.lists(names, max_size=3, unique=True).map(sorted),
)
def test_an_index_comes_back_as_it_went_in(tree, directories, below):
    records = {}
    for path, columns in directories.items():
        ordered = sorted(columns)
        records[path] = worktree_index.Record(
            names="\0".join(ordered),
            kinds=bytes(columns[name][0] for name in ordered),
            stats=b"".join(columns[name][1] for name in ordered),
            ids=b"".join(columns[name][2] for name in ordered),
            sizes=[columns[name][3] for name in ordered],
            directories="\0".join(below),
        )
    data = worktree_index.encode(tree, [(path, codec.encode(each)) for path, each in records.items()])
    mirrored, places = worktree_index.decode(data)
    assert mirrored == tree
    assert {
        path: worktree_index.decode_record(memoryview(data)[at : at + length]) for path, (at, length) in places.items()
    } == records
    for path, (at, length) in places.items():
        seen, whole = worktree_index.decode_glance(memoryview(data)[at : at + length]), records[path]
        assert (seen.names, seen.directories) == (whole.names, whole.directories)
        assert (bytes(seen.kinds), bytes(seen.stats)) == (whole.kinds, whole.stats)
    for path, columns in directories.items():
        assert records[path].file_names() == sorted(columns)
        assert records[path].directory_names() == below


def test_a_flipped_bit_anywhere_is_noticed(golden):
    data = golden("worktree_index", "two-directories").data
    for at in range(len(data)):
        bad = bytearray(data)
        bad[at] ^= 1
        with pytest.raises(FormatError):
            worktree_index.decode(bytes(bad))


def test_no_part_of_an_index_is_an_index(golden):
    data = golden("worktree_index", "two-directories").data
    for length in range(len(data)):
        with pytest.raises(FormatError):
            worktree_index.decode(data[:length])
        with pytest.raises(FormatError):
            worktree_index.decode(with_trailer(data[: min(length, len(data) - 17)]))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_made_anew(version):
    data = worktree_index.encode(ONE, [])[: -worktree_index.TRAILER_SIZE]
    with pytest.raises(FormatError, match="another version"):
        worktree_index.decode(with_trailer(data[:8] + bytes([version]) + data[9:]))


HEADER = worktree_index.HEADER_SIZE


@pytest.mark.parametrize(
    ("paths", "offsets", "lengths"),
    [
        ("a", [HEADER], []),
        ("a", [HEADER, HEADER], [1, 1]),
        ("a\0b", [HEADER], [1]),
        ("a", [0], [1]),
        ("a", [HEADER - 1], [1]),
        ("a", [-1], [1]),
        ("a", [HEADER], [-1]),
        ("a", [HEADER], [11]),
        ("a", [HEADER + 10], [1]),
        ("a", [2**64 - 1], [1]),
        ("a", [HEADER], [2**64 - 1]),
    ],
)
def test_a_table_that_points_elsewhere_is_refused(paths, offsets, lengths):
    assert worktree_index.decode(with_table("a", [HEADER], [10], bytes(10)))[1] == {"a": (HEADER, 10)}
    with pytest.raises(FormatError):
        worktree_index.decode(with_table(paths, offsets, lengths, bytes(10)))


@pytest.mark.parametrize("length", [0, 1, 2**32, 2**64 - 1])
def test_a_wrong_length_of_the_table_is_refused(length):
    body = worktree_index.encode(ONE, [])[: -worktree_index.TAIL_SIZE]
    with pytest.raises(FormatError):
        worktree_index.decode(with_trailer(body + length.to_bytes(8, "little")))


@pytest.mark.parametrize(
    "changes",
    [
        {"names": "a\0b"},
        {"kinds": b"ff"},
        {"kinds": b""},
        {"stats": b""},
        {"stats": bytes(39)},
        {"stats": bytes(80)},
        {"ids": b""},
        {"ids": bytes(31)},
        {"sizes": []},
        {"sizes": [1, 2]},
    ],
)
def test_a_record_whose_columns_differ_in_length_is_refused(changes):
    assert worktree_index.decode_record(memoryview(codec.encode(record()))) == record()
    with pytest.raises(FormatError):
        worktree_index.decode_record(memoryview(codec.encode(record(**changes))))


@pytest.mark.parametrize("changes", [{"names": "a\0b"}, {"kinds": b"ff"}, {"kinds": b""}, {"stats": bytes(39)}])
def test_a_glance_at_columns_that_differ_in_length_is_refused(changes):
    assert worktree_index.decode_glance(memoryview(codec.encode(record()))).names == "a"
    with pytest.raises(FormatError):
        worktree_index.decode_glance(memoryview(codec.encode(record(**changes))))
