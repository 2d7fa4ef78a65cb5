"""Bytes from elsewhere: whatever they are, a reader says so in our own words, and nothing else happens."""

import contextlib
import pkgutil
from array import array
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool import digest, formats
from dvtool.errors import DvError, FormatError
from dvtool.formats import codec, index, journal, log, pack, storeformat
from dvtool.testing.decoders import DECODERS, OBJECTS

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
BARE = ("codec", "nodes")
"""Modules of formats without bytes of their own."""


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=40)
@given(data=st.binary(max_size=200))
def test_noise_raises_only_our_errors(name, data):
    with contextlib.suppress(DvError):
        DECODERS[name](data)


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=40)
@given(draw=st.data())
def test_documents_of_another_shape_raise_only_our_errors(name, draw, documents):
    with contextlib.suppress(DvError):
        DECODERS[name](draw.draw(documents))


@pytest.mark.parametrize(
    ("form", "case"),
    [
        ("clone", "forgotten"),
        ("erasure", "committed"),
        ("erasure", "everything"),
        ("hold", "everything"),
        ("journal", "every-record"),
        ("keyfile", "two-packs"),
        ("lock", "branch"),
        ("log", "add-packs"),
        ("log", "checkpoint"),
        ("log", "erased"),
        ("log", "symbolic-ref"),
        ("manifest", "two-chunks"),
        ("project", "everything"),
        ("run", "everything"),
        ("run", "short"),
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
        DECODERS[form](data)


@given(draw=st.data())
def test_a_changed_store_format_with_the_right_checksum_raises_only_our_errors(draw, golden, mutated):
    body = golden("storeformat", "default").data[len(storeformat.MAGIC) : -16]
    with contextlib.suppress(DvError):
        DECODERS["storeformat with its checksum"](draw.draw(mutated(body)))


@given(draw=st.data())
def test_a_changed_worktree_index_with_the_right_checksum_raises_only_our_errors(draw, golden, mutated):
    body = golden("worktree_index", "two-directories").data[:-16]
    with contextlib.suppress(DvError):
        changed = draw.draw(mutated(body))
        DECODERS["worktree_index"](changed + digest.accident(changed))


@given(draw=st.data())
def test_a_changed_record_of_a_journal_with_the_right_checksum_raises_only_our_errors(draw, golden, mutated):
    records, _rest = journal.decode(golden("journal", "every-record").data)
    record = codec.encode(draw.draw(st.sampled_from(records)))
    before = journal.header()
    assert len(journal.decode(before + journal.framed(record))[0]) == 1
    found, rest = journal.decode(before + journal.framed(draw.draw(mutated(record))))
    assert (len(found) == 0) == (rest > 0)


@pytest.mark.parametrize("name", ["begin", "end"])
@given(draw=st.data())
def test_a_changed_beginning_or_end_of_a_run_raises_only_our_errors(name, draw, golden, mutated):
    with contextlib.suppress(DvError):
        DECODERS[f"journal {name}"](draw.draw(mutated(golden("journal", name).data)))


def bare(form, golden, generator):
    """The golden bytes of a format that need no key to be read."""
    names = [path.stem for path in generator.expected() if path.parts[-3] == form and path.suffix == ".bin"]
    found = [vector.data for vector in (golden(form, name) for name in names) if not vector.inputs]
    assert found
    return found


@pytest.mark.parametrize("form", OBJECTS)
def test_no_part_of_an_object_is_an_object(form, golden, generator):
    for data in bare(form, golden, generator):
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
        case bool():
            return msgspec.msgpack.encode(value)
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
    for data in bare(form, golden, generator):
        if data == log.STUB:
            continue
        value = msgspec.msgpack.decode(data)
        counter = [0]
        assert packed(value, -1, counter) == data
        DECODERS[form](data)
        # What stands in sections, which come last, is kept as it is, in whatever form.
        known = [*value[:-1], {}]
        first = packed(known, -1, counter := [0])
        for element in range(counter[0]):
            second = packed(known, element, [0])
            assert packed(msgspec.msgpack.decode(second), -1, [0]) == first
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
    named = {name.partition(" ")[0] for name in DECODERS}
    assert {path.parts[-3] for path in generator.expected() if path.suffix == ".bin"} <= named
    assert {module.name for module in pkgutil.iter_modules(formats.__path__)} - set(BARE) == named


GOLDEN = {path.parts[-3] for path in VECTORS.glob("*/v1/*.bin")}


@pytest.mark.parametrize("form", sorted(GOLDEN))
@given(draw=st.data())
def test_every_golden_file_with_a_few_changes_raises_only_our_errors(form, draw, mutated):
    found = sorted(VECTORS.glob(f"{form}/v1/*.bin"))
    data = draw.draw(st.sampled_from(found)).read_bytes()
    with contextlib.suppress(DvError):
        DECODERS[form](draw.draw(mutated(data)))


@pytest.mark.parametrize("case", ["one-page", "sections", "three-pages"])
@given(draw=st.data())
def test_a_changed_index_directory_that_is_rightly_sealed_raises_only_our_errors(case, draw, golden, mutated):
    packs = golden("index", case).value["packs"]
    entries = [index.PackEntry(name=bytes.fromhex(each["name"]), content=1, size=9, frames=9, raw=9) for each in packs]
    data = index.encode_directory(index.Directory(packs=tuple(entries), records=0, prefixes=b""))
    DECODERS["index directory"](data)
    with contextlib.suppress(DvError):
        DECODERS["index directory"](draw.draw(mutated(data)))


@given(records=st.lists(st.binary(min_size=52, max_size=52), max_size=300))
def test_an_index_page_of_any_records_raises_only_our_errors(records):
    with contextlib.suppress(DvError):
        DECODERS["index page"](b"".join(records))
    DECODERS["index page"](b"".join(sorted(records)[:256]))


@pytest.mark.parametrize("name", log.TABLES)
@given(key=st.binary(max_size=80), value=st.binary(max_size=80))
def test_a_row_of_a_checkpoint_raises_only_our_errors(name, key, value):
    with contextlib.suppress(FormatError):
        log.check_row(name, key, value)


@given(frames=st.integers(0, 4), draw=st.data())
def test_a_changed_pack_footer_raises_only_our_errors(frames, draw, mutated):
    count = array("I", [100] * frames)
    data = pack.encode_footer(pack.Footer(ids=bytes(32 * frames), flags=b"\x01" * frames, stored=count, raw=count))
    assert len(pack.decode_footer(data)) == frames
    with contextlib.suppress(DvError):
        DECODERS["pack footer"](draw.draw(mutated(data)))


def test_the_generator_makes_the_vectors_that_are_kept(generator):
    assert generator.faults(generator.expected(), missing=True) == []


def test_the_generator_finds_a_vector_that_changed(generator):
    files = generator.expected()
    path = min(files)
    assert generator.faults(files | {path: files[path] + b"\0"}, missing=True) != []
    assert generator.faults(files | {path.with_name("new.json"): b""}, missing=True) != []
    del files[path]
    assert generator.faults(files, missing=False) != []
