"""Index files that lie, rightly sealed, and files that are cut short while they are read: named, in bounded memory."""

import os
import subprocess
import sys
import tracemalloc

import msgspec
import pytest

from dvtool import ids
from dvtool.cli import exits
from dvtool.errors import DvError, FormatError, IntegrityError
from dvtool.formats import index, pack
from dvtool.repo import Repo
from dvtool.store import joining
from dvtool.testing.forging import forge_index

MEMORY = 2 * pack.FRAME_LIMIT
"""What reading may take at most, in bytes: a frame as it is stored, and its content."""

GIANT = 2**40
SPARSE = ["format", "repository key", "log entry", "log key", "key file", "index file", "data pack", "metadata pack"]


def segments_of(root):
    return Repo.open(root).workspace.session.store.segments.live()


def forge(root, segment, *, record=lambda location: location, entry=lambda entry: entry):
    """Let an index file lie, which must have records to do so."""
    assert len(segment.index), "an index file without records can tell no lie"
    forge_index(root, segment, record=record, entry=entry)


def outcome(sample, root):
    """What reading everything ends in, having taken no more than :data:`MEMORY`."""
    tracemalloc.start()
    try:
        found = sample.outcome(root)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak:,} bytes"
    assert found == "same" or exits.code_of(found) != exits.BUG
    return found


@pytest.mark.parametrize(
    "lie",
    [
        {"pack": 2**32 - 1},
        {"number": 2**32 - 1},
        {"offset": 2**32 - 1},
        {"stored": 2**32 - 1},
        {"stored": pack.FRAME_LIMIT},
        {"stored": 0},
        {"raw_flags": index.pack_raw_flags(2**27 - 1, ids.CHUNK)},
        {"raw_flags": index.pack_raw_flags(2**27 - 1, ids.TREE | pack.COMPRESSED)},
        {"raw_flags": index.pack_raw_flags(pack.FRAME_LIMIT, ids.CHUNK | pack.COMPRESSED)},
        {"raw_flags": 2**32 - 1},
    ],
    ids=str,
)
def test_a_record_that_lies_is_named(sample, tmp_path, lie):
    root = sample.copy(tmp_path)
    for segment in segments_of(root):
        forge(root, segment, record=lambda location: location._replace(**lie))
    assert isinstance(outcome(sample, root), DvError)


@pytest.mark.parametrize(
    "lie",
    [{"size": 2**63}, {"size": -1}, {"size": 0}, {"frames": 2**63}, {"raw": 2**63}, {"content": 2**63}],
    ids=str,
)
def test_what_is_said_of_a_pack_takes_no_memory(sample, tmp_path, lie):
    root = sample.copy(tmp_path)
    for segment in segments_of(root):
        forge(root, segment, entry=lambda entry: msgspec.structs.replace(entry, **lie))
    found = outcome(sample, root)
    # Reading needs neither the number of frames nor their length in all, and a size only to refuse what lies beyond it.
    assert found == "same" or not {"frames", "raw"} & lie.keys()


def test_a_giant_pack_lets_no_giant_frame_in(sample, tmp_path):
    root = sample.copy(tmp_path)
    for segment in segments_of(root):
        forge(
            root,
            segment,
            record=lambda location: location._replace(stored=pack.FRAME_LIMIT + 5000),
            entry=lambda entry: msgspec.structs.replace(entry, size=2**63),
        )
    assert "outside" in outcome(sample, root).what


@pytest.mark.parametrize("frames", [1, pack.FRAMES_LIMIT, 2**63])
def test_a_giant_number_of_a_frame_is_refused_by_who_relies_on_it(sample, tmp_path, frames):
    root = sample.copy(tmp_path)
    for segment in segments_of(root):
        forge(
            root,
            segment,
            record=lambda location: location._replace(number=2**32 - 1),
            entry=lambda entry: msgspec.structs.replace(entry, frames=frames),
        )
    store = Repo.open(root).workspace.session.store
    with open(f"{root}/data/a.txt", "rb") as file:
        content = file.read()
    tracemalloc.start()
    try:
        with store.transaction() as transaction, pytest.raises(DvError, match="outside"):
            transaction.put_chunk(content)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_record_that_lies_is_not_merged(sample, tmp_path):
    root = sample.copy(tmp_path)
    for segment in segments_of(root):
        forge(root, segment, record=lambda location: location._replace(pack=2**32 - 1))
    live = segments_of(root)
    with pytest.raises(DvError, match="damaged") as caught:
        list(joining.merged(live))
    assert "outside" in caught.value.why


@pytest.mark.parametrize("kind", SPARSE)
def test_a_file_of_giant_length_is_named(sample, tmp_path, kind):
    root = sample.copy(tmp_path)
    path = f"{root}/{sample.kinds[kind][-1]}"
    os.chmod(path, 0o600)
    os.truncate(path, GIANT)  # holes: it takes no room on the disk
    assert isinstance(outcome(sample, root), DvError)


@pytest.mark.parametrize("claim", [pack.FOOTER_LIMIT + 1, 2**32 - 1])
def test_a_giant_footer_is_refused_before_it_is_read(sample, tmp_path, claim):
    root = sample.copy(tmp_path)
    reader = segments_of(root)[-1].pack(0)
    path = f"{root}/.dv/store/{reader.file}"
    os.chmod(path, 0o600)
    os.truncate(path, GIANT)
    with open(path, "r+b") as file:
        file.seek(-pack.TAIL_SIZE, os.SEEK_END)
        file.write(claim.to_bytes(4, "little"))
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="damaged") as caught:
            reader.footer()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "more than the format allows" in caught.value.why


def test_a_giant_directory_is_refused_before_it_is_read(sample, tmp_path):
    class Claiming:
        """A file of zeros with the head and the claim of an index file; never says more than a page at once."""

        def __init__(self, head, length):
            self.head, self.length = head, length

        def __len__(self):
            return GIANT

        def __getitem__(self, part):
            start, stop, _step = part.indices(GIANT)
            assert stop - start <= 1 << 16, "a length was believed"
            if start == GIANT - index.TAIL_SIZE:
                return self.length.to_bytes(4, "little")
            return self.head[start:stop]

    root = sample.copy(tmp_path)
    segment = segments_of(root)[-1]
    with open(f"{root}/.dv/store/{segment.description.index}", "rb") as file:
        head = file.read(index.HEADER_SIZE)
    store = Repo.open(root).workspace.session.store.format.store
    with pytest.raises(FormatError, match="longer directory"):
        index.Reader(Claiming(head, index.DIRECTORY_LIMIT + 1), store, segment.keys.index)


CUT = """
import os, sys
from dvtool.errors import IntegrityError
from dvtool.repo import Repo

root, length = sys.argv[1], int(sys.argv[2])
store = Repo.open(root).workspace.session.store
live = store.segments.live()
for segment in live:
    segment.index
for segment in live:
    path = f"{root}/.dv/store/{segment.description.index}"
    os.chmod(path, 0o600)
    os.truncate(path, length)
try:
    store.segments.find(bytes([255]) * 32)
except IntegrityError as error:
    print(error.where)
"""


@pytest.mark.parametrize("length", [0, 100])
def test_an_index_file_that_is_cut_short_while_it_is_open_is_named(sample, tmp_path, length):
    root = sample.copy(tmp_path)
    names = {segment.description.index for segment in segments_of(root)}
    # In a process of its own: what it must not do is to die of a signal.
    done = subprocess.run(
        [sys.executable, "-c", CUT, root, str(length)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in names
