"""Bytes from elsewhere: whatever they are, a reader says so in our own words, and nothing else happens."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import digest
from dvtool.errors import DvError
from dvtool.formats import (
    index,
    keyfile,
    lock,
    log,
    manifest,
    pack,
    project,
    repokey,
    sealed,
    snapshot,
    stage,
    storeformat,
    table,
    tree,
    worktree_index,
)

KEY = bytes(range(32))
STORE = bytes(16)


def with_trailer(decode, magic=b""):
    """A decoder that is handed bytes whose checksum is right, so that it has to look further."""
    return lambda data: decode(magic + data + digest.accident(magic + data))


def read_tree(data):
    node = tree.decode(data)
    tree.names_of(node)
    if isinstance(node, tree.Leaf):
        tree.entries_of(node)
    return node


def read_log(data):
    entry = log.decode(data)
    for action in entry.actions:
        if isinstance(action, log.MoveRef):
            log.symbolic(action.old)
            log.symbolic(action.new)
    return entry


def read_worktree_index(data):
    _tree, places = worktree_index.decode(data)
    return [worktree_index.decode_record(memoryview(data)[at : at + size]) for at, size in places.values()]


OBJECTS = {
    "keyfile": keyfile.decode,
    "log": read_log,
    "manifest": manifest.decode,
    "snapshot": snapshot.decode,
    "stage": stage.decode,
    "table": table.decode,
    "tree": read_tree,
}

EVERYTHING = OBJECTS | {
    "index": lambda data: index.Reader(data, STORE, KEY),
    "lock": lock.decode,
    "pack": pack.decode_header,
    "pack footer": pack.decode_footer,
    "project": project.decode,
    "repokey": lambda data: repokey.decode(data, bytes(16)),
    "repokey with its checksum": with_trailer(lambda data: repokey.decode(data, bytes(16)), b"DVKEY\n"),
    "sealed": lambda data: sealed.open_blob(sealed.KEY_FILE, KEY, STORE, data, what="it"),
    "sealed with its checksum": with_trailer(
        lambda data: sealed.open_blob(sealed.KEY_FILE, KEY, STORE, data, what="it"), b"DVSB\x02\x01\0\0"
    ),
    "storeformat": storeformat.decode,
    "storeformat with its checksum": with_trailer(storeformat.decode, storeformat.MAGIC),
    "worktree_index": read_worktree_index,
    "worktree_index with its checksum": with_trailer(read_worktree_index, b"DVWTIDX\n\x01"),
    "worktree_index glance": lambda data: worktree_index.decode_glance(memoryview(data)),
    "worktree_index record": lambda data: worktree_index.decode_record(memoryview(data)),
}


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_noise_raises_only_our_errors(name, data):
    with contextlib.suppress(DvError):
        EVERYTHING[name](data)


@pytest.mark.parametrize("name", EVERYTHING)
@settings(max_examples=40)
@given(draw=st.data())
def test_documents_of_another_shape_raise_only_our_errors(name, draw, documents):
    with contextlib.suppress(DvError):
        EVERYTHING[name](draw.draw(documents))


@pytest.mark.parametrize(
    ("form", "case"),
    [
        ("keyfile", "two-packs"),
        ("lock", "branch"),
        ("log", "add-packs"),
        ("log", "checkpoint"),
        ("log", "erased"),
        ("log", "symbolic-ref"),
        ("manifest", "two-chunks"),
        ("project", "everything"),
        ("snapshot", "merged"),
        ("stage", "merging"),
        ("table", "refs"),
        ("tree", "every-kind"),
        ("tree", "inner"),
    ],
)
@given(draw=st.data())
def test_golden_bytes_with_a_few_changes_raise_only_our_errors(form, case, draw, golden, mutated):
    data = draw.draw(mutated(golden(form, case).data))
    with contextlib.suppress(DvError):
        EVERYTHING[form](data)


@given(draw=st.data())
def test_a_changed_store_format_with_the_right_checksum_raises_only_our_errors(draw, golden, mutated):
    body = golden("storeformat", "default").data[len(storeformat.MAGIC) : -16]
    with contextlib.suppress(DvError):
        EVERYTHING["storeformat with its checksum"](draw.draw(mutated(body)))


@given(draw=st.data())
def test_a_changed_worktree_index_with_the_right_checksum_raises_only_our_errors(draw, golden, mutated):
    body = golden("worktree_index", "two-directories").data[:-16]
    with contextlib.suppress(DvError):
        with_trailer(read_worktree_index)(draw.draw(mutated(body)))


@pytest.mark.parametrize("form", OBJECTS)
def test_no_part_of_an_object_is_an_object(form, golden, generator):
    whole = [path for path in generator.expected() if path.parts[-3] == form and path.suffix == ".bin"]
    assert whole
    for path in whole:
        data = golden(form, path.stem).data
        if data == log.STUB:
            continue
        for length in range(len(data)):
            with pytest.raises(DvError):
                OBJECTS[form](data[:length])
        with pytest.raises(DvError):
            OBJECTS[form](data + b"\0")


def packed(value, long, counter):
    """MessagePack of ``value`` in shortest forms, but for element number ``long``, which is in the longest."""
    counter[0] += 1
    widest = counter[0] - 1 == long
    match value:
        case int() if widest:
            return b"\xd3" + value.to_bytes(8, "big", signed=True) if value < 0 else b"\xcf" + value.to_bytes(8, "big")
        case bytes() | str():
            data = value.encode() if isinstance(value, str) else value
            head = (b"\xdb" if isinstance(value, str) else b"\xc6") + len(data).to_bytes(4, "big")
            return head + data if widest else msgspec.msgpack.encode(value)
        case list():
            head = b"\xdd" + len(value).to_bytes(4, "big") if widest else msgspec.msgpack.encode([0] * len(value))
            head = head if widest else head[: len(head) - len(value)]
            return head + b"".join(packed(each, long, counter) for each in value)
        case dict():
            head = b"\xdf" + len(value).to_bytes(4, "big") if widest else bytes([0x80 + len(value)])
            pairs = [(packed(key, long, counter), packed(each, long, counter)) for key, each in value.items()]
            return head + b"".join(key + each for key, each in pairs)
    return msgspec.msgpack.encode(value)


@pytest.mark.parametrize("form", OBJECTS)
def test_no_value_has_a_second_encoding(form, golden, generator):
    whole = [path for path in generator.expected() if path.parts[-3] == form and path.suffix == ".bin"]
    assert whole
    for path in whole:
        data = golden(form, path.stem).data
        if data == log.STUB:
            continue
        value = msgspec.msgpack.decode(data)
        counter = [0]
        assert packed(value, -1, counter) == data
        EVERYTHING[form](data)
        # What stands in sections, which come last, is kept as it is, in whatever form.
        known = [*value[:-1], {}]
        first = packed(known, -1, counter := [0])
        for element in range(counter[0]):
            second = packed(known, element, [0])
            assert msgspec.msgpack.decode(second) == known
            if second == first:
                continue  # a number so great that its longest form is its shortest
            with pytest.raises(DvError):
                OBJECTS[form](second)
        for columns in (value[:-1], [*value, 0], [*value, {}]):
            with pytest.raises(DvError):
                OBJECTS[form](msgspec.msgpack.encode(columns))


@pytest.mark.parametrize("form", OBJECTS)
def test_a_claim_of_four_thousand_million_elements_is_refused_before_memory_is_taken(form):
    # An array, a map, a byte string and a text, each of 2**32 - 1 elements, of which none follows.
    for claim in (b"\xdd", b"\xdf", b"\xc6", b"\xdb"):
        for before in (b"", b"\x9a", b"\x95\x00", b"\x98\xc4\x00", b"\x93"):
            with pytest.raises(DvError):
                OBJECTS[form](before + claim + b"\xff\xff\xff\xff")


@pytest.mark.parametrize("form", OBJECTS)
def test_nesting_without_end_is_refused(form):
    for opening in (b"\x91", b"\x81\xa1x"):
        for before in (b"", b"\x9b", b"\x95\x00\xc4\x00\x90\x00\x81\xa1x"):
            with pytest.raises(DvError):
                OBJECTS[form](before + opening * 100_000)


def test_every_format_is_read_here(generator):
    formats = {path.parts[-3] for path in generator.expected() if path.suffix == ".bin"}
    assert formats <= set(EVERYTHING)


def test_the_generator_makes_the_vectors_that_are_kept(generator):
    assert generator.faults(generator.expected(), missing=True) == []


def test_the_generator_finds_a_vector_that_changed(generator):
    files = generator.expected()
    path = min(files)
    assert generator.faults(files | {path: files[path] + b"\0"}, missing=True) != []
    assert generator.faults(files | {path.with_name("new.json"): b""}, missing=True) != []
    del files[path]
    assert generator.faults(files, missing=False) != []
