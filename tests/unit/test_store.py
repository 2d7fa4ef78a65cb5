"""Stores: opening, reading, and saying what is wrong."""

import msgspec
import pytest

from dvtool import ids
from dvtool.errors import DvError, FormatError, IntegrityError, KeyAccessError, NotFoundError
from dvtool.formats import log, pack, storeformat
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints
from dvtool.store.store import FIRST_WINDOW, Store, create_local, first_entry, new_format, open_local
from dvtool.testing.effects import SeededEntropy, SteppedClock
from dvtool.testing.stores import make_store


def make(**changes):
    entropy = SeededEntropy("store")
    return make_store(MemoryBackend(), entropy, msgspec.structs.replace(new_format(entropy), **changes))


def attach(backend, seed="store"):
    return Store(backend, clock=SteppedClock(), entropy=SeededEntropy(f"attach {seed}"))


@pytest.fixture
def store():
    found = attach(make())
    first_entry(found, {"heads/x": bytes(32)})
    return found


def keep(store, *objects, chunks=()):
    """Store objects and chunks in one transaction and return their ids."""
    with store.transaction() as transaction:
        found = [transaction.put_object(ids.STAGE, data) for data in objects]
        found += [transaction.put_chunk(data) for data in chunks]
        transaction.commit("add", lambda _state: [])
    return found


def test_what_is_stored_is_read_by_another(store):
    [thing, chunk] = keep(store, b"thing", chunks=[b"chunk" * 1000])
    other = attach(store.backend, "other")
    assert other.read_object(ids.STAGE, thing) == b"thing"
    assert other.read_object(ids.CHUNK, chunk) == b"chunk" * 1000
    assert other.frames().chunk(chunk) == b"chunk" * 1000
    assert other.has(thing)
    assert not other.has(bytes(32))


def reads(store, chunks, monkeypatch):
    """How often a pack is read for these chunks, and how many bytes of it."""
    found = []
    real = MemoryBackend.read

    def read(self, name, offset=0, length=None):
        data = real(self, name, offset, length)
        if name.startswith("packs/") and offset:
            found.append(len(data))
        return data

    frames = store.frames()
    with monkeypatch.context() as patch:
        patch.setattr(MemoryBackend, "read", read)
        for chunk in chunks:
            frames.chunk(chunk)
    return len(found), sum(found)


def test_reading_ahead_grows_where_one_frame_follows_the_other(store, monkeypatch):
    size, count = 8192, 2000
    chunks = keep(store, chunks=[SeededEntropy(f"frame {number}").bytes(size) for number in range(count)])
    often, much = reads(store, chunks, monkeypatch)
    assert often < 12
    assert much < 1.1 * count * size
    often, much = reads(store, chunks[::100], monkeypatch)
    assert often == count // 100
    assert much <= often * FIRST_WINDOW
    _often, much = reads(store, chunks[::-1], monkeypatch)
    assert much <= count * FIRST_WINDOW


def test_an_object_is_asked_for_by_its_kind(store):
    [thing] = keep(store, b"thing")
    with pytest.raises(IntegrityError, match="not the snapshot"):
        store.read_object(ids.SNAPSHOT, thing)


def test_what_was_never_stored_is_missing(store):
    with pytest.raises(IntegrityError, match="missing"):
        store.read_object(ids.TREE, bytes(32))


def test_a_store_is_not_opened_with_another_key():
    backend = make()
    other = make(repository=b"another one 1234")
    backend.put("keys/repo", other.read("keys/repo"))
    with pytest.raises(KeyAccessError, match="another repository"):
        attach(backend)


def test_a_store_without_its_key_is_not_opened():
    backend = make()
    backend.delete("keys/repo")
    with pytest.raises(KeyAccessError, match="missing"):
        attach(backend)


def test_a_newer_store_is_refused_before_its_key_is_read():
    backend = make(version=storeformat.VERSION + 1)
    backend.delete("keys/repo")
    with pytest.raises(FormatError, match="newer"):
        attach(backend)


def test_an_unknown_feature_is_refused_before_its_key_is_read():
    backend = make(flags=("holograms",))
    backend.delete("keys/repo")
    with pytest.raises(FormatError) as caught:
        attach(backend)
    assert "holograms" in caught.value.why


def test_no_store_is_not_found():
    with pytest.raises(NotFoundError):
        attach(MemoryBackend())


def test_nothing_in_a_store_is_in_the_clear(store):
    secret = b"a very particular secret" * 50
    keep(store, secret, chunks=[secret * 2])
    checkpoints.write(store)
    for name, blob in store.backend.blobs.items():
        assert b"particular" not in blob, name
        assert b"heads/x" not in blob, name
    stage = store.hasher.id(ids.STAGE, secret)
    sealed = [blob for name, blob in store.backend.blobs.items() if not name.startswith("packs/")]
    assert not any(stage in blob for blob in sealed)


def test_one_content_is_stored_once(store):
    with store.transaction() as transaction:
        ids_of = {transaction.put_chunk(b"same" * 500) for _ in range(5)}
        transaction.commit("add", lambda _state: [])
    size = sum(len(blob) for blob in store.backend.blobs.values())
    before = set(store.backend.blobs)
    with store.transaction() as transaction:
        ids_of.add(transaction.put_chunk(b"same" * 500))
        assert transaction.write_only() == []
    assert len(ids_of) == 1
    assert set(store.backend.blobs) == before
    assert size == sum(len(blob) for blob in store.backend.blobs.values())


def test_the_empty_chunk_is_never_stored(store):
    with store.transaction() as transaction:
        transaction.put_chunk(b"")
        assert transaction.write_only() == []


def test_data_and_metadata_lie_in_different_packs(store):
    keep(store, b"thing", chunks=[b"chunk" * 100])
    contents = [
        pack.decode_header(store.backend.read(f"packs/{name}")[: pack.HEADER_SIZE]).content
        for name in store.backend.names("packs")
    ]
    assert sorted(contents) == [pack.DATA, pack.METADATA]


def test_frames_are_read_in_any_order(store):
    contents = [bytes([number]) * 5000 for number in range(50)]
    found = keep(store, chunks=contents)
    reader = store.frames()
    for number in [*range(0, 50, 7), *range(49, 0, -3), 0, 49]:
        assert reader.chunk(found[number]) == contents[number]


def test_a_frame_longer_than_the_window_is_read(store):
    large = SeededEntropy("large").bytes(9_000_000)
    found = keep(store, chunks=[b"small", large, b"after"])
    reader = attach(store.backend, "other").frames()
    assert [reader.chunk(identity) for identity in found] == [b"small", large, b"after"]


def test_damage_in_one_pack_leaves_the_others(store):
    [first] = keep(store, chunks=[b"first" * 100])
    [second] = keep(store, chunks=[b"second" * 100])
    segment, location = store.locate(ids.CHUNK, first)
    file = segment.pack(location.pack).file
    blob = bytearray(store.backend.read(file))
    blob[location.offset] ^= 1
    store.backend.replace(file, bytes(blob))
    other = attach(store.backend, "other")
    with pytest.raises(IntegrityError) as caught:
        other.read_object(ids.CHUNK, first)
    assert file in caught.value.where
    assert first.hex()[:16] in caught.value.where
    assert other.read_object(ids.CHUNK, second) == b"second" * 100


def test_snapshots_are_found_by_their_first_digits(store):
    with store.transaction() as transaction:
        found = sorted(transaction.put_object(ids.SNAPSHOT, b"snapshot %d" % number) for number in range(300))
        transaction.put_object(ids.STAGE, b"no snapshot")
        transaction.commit("add", lambda _state: [])
    other = attach(store.backend, "other")
    assert other.snapshots_with("") == found
    for identity in found[::29]:
        text = identity.hex()
        assert identity in other.snapshots_with(text[:5])
        assert other.snapshots_with(text) == [identity]
    assert other.snapshots_with(bytes(32).hex()) == []


def test_maintenance_waits_until_it_is_due(store):
    for number in range(log.CHECKPOINT_EVERY - 2):
        store.log.append("nothing", lambda _state: [])
        store.maintain()
        assert store.state.checkpoint == 0, number
    store.log.append("nothing", lambda _state: [])
    store.maintain()
    assert store.state.checkpoint == log.CHECKPOINT_EVERY + 1


def test_a_local_store_is_made_and_opened(tmp_path):
    clock, entropy = SteppedClock(), SeededEntropy("local")
    made = create_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
    first_entry(made, {"heads/x": bytes(32)})
    [thing] = keep(made, b"thing")
    opened = open_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
    assert opened.read_object(ids.STAGE, thing) == b"thing"
    assert (tmp_path / "store/keys/repo").stat().st_mode & 0o777 == 0o600


def test_an_error_in_a_local_store_says_where(tmp_path):
    clock, entropy = SteppedClock(), SeededEntropy("local")
    create_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
    for name in ("keys/repo", "format"):
        (tmp_path / "store" / name).unlink()
        with pytest.raises(DvError) as caught:
            open_local(f"{tmp_path}/store", clock=clock, entropy=entropy)
        assert caught.value.where.startswith(str(tmp_path)), name
