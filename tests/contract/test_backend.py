"""What every backend promises, as one suite; a new backend is one more line in ``KINDS``."""

import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvtool.effects import SystemEntropy
from dvtool.errors import ExistsError, NotFoundError
from dvtool.storage.local import LocalBackend
from dvtool.storage.memory import MemoryBackend
from dvtool.testing.schedules import Schedule, ScheduledBackend

DIRECTORIES = ("packs", "index", "keys", "log", "acks")


def local(place):
    for name in DIRECTORIES:
        os.makedirs(f"{place}/store/{name}")
    return LocalBackend(f"{place}/store", f"{place}/scratch", entropy=SystemEntropy())


KINDS = {
    "local": local,
    "memory": lambda _place: MemoryBackend(),
    "scheduled": lambda _place: ScheduledBackend(Schedule(0)),
}


@pytest.fixture(params=KINDS)
def backend(request, tmp_path):
    return KINDS[request.param](tmp_path)


def finished(backend, data, name="unfinished"):
    path = f"{backend.workspace()}/{name}"
    with open(path, "xb") as file:
        file.write(data)
    return path


WRITERS = {
    "create": lambda backend, name, data: backend.create(name, data),
    "put": lambda backend, name, data: backend.put(name, data),
    "replace": lambda backend, name, data: backend.replace(name, data),
    "adopt": lambda backend, name, data: backend.adopt(finished(backend, data), name),
}


def test_what_is_adopted_was_written_when_it_was_adopted(backend):
    path = finished(backend, b"x")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    backend.adopt(path, "packs/a")
    backend.put("packs/b", b"y")
    assert abs(backend.modified("packs/a") - backend.modified("packs/b")) < 60_000_000


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000], ids=["nothing", "a byte", "a megabyte"])
def test_what_is_written_is_read(backend, writer, data):
    WRITERS[writer](backend, "packs/a", data)
    backend.flush()
    assert backend.read("packs/a") == data
    assert backend.size("packs/a") == len(data)
    assert backend.exists("packs/a")
    assert list(backend.names("packs")) == ["a"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), offset=st.integers(0, 400), length=st.none() | st.integers(0, 400))
def test_a_part_is_a_slice(backend, data, offset, length):
    backend.replace("packs/a", data)
    end = None if length is None else offset + length
    assert backend.read("packs/a", offset, length) == data[offset:end]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.none() | st.integers(-400, 400), stop=st.none() | st.integers(-400, 400))
def test_a_view_is_sliced_as_the_bytes_are(backend, data, start, stop):
    backend.replace("index/a", data)
    view = backend.view("index/a")
    assert len(view) == len(data)
    assert bytes(view[start:stop]) == data[start:stop]


def test_a_view_outlives_its_name(backend):
    backend.put("index/a", b"kept while it is read")
    view = backend.view("index/a")
    backend.delete("index/a")
    assert bytes(view[5:10]) == b"while"
    with pytest.raises(NotFoundError):
        backend.view("index/a")


def test_creating_is_exclusive(backend):
    backend.create("log/1", b"first")
    with pytest.raises(ExistsError):
        backend.create("log/1", b"second")
    assert backend.read("log/1") == b"first"


def test_of_many_creators_one_wins(backend):
    won = []
    barrier = threading.Barrier(8)

    def create(number):
        barrier.wait()
        try:
            backend.create("log/1", str(number).encode() * 1000)
        except ExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert backend.read("log/1") == str(won[0]).encode() * 1000


@pytest.mark.parametrize("writer", ["put", "replace", "adopt"])
def test_writing_again_takes_the_place(backend, writer):
    backend.put("keys/a", b"old and longer")
    WRITERS[writer](backend, "keys/a", b"new")
    assert backend.read("keys/a") == b"new"


def test_what_is_not_there_is_said_so(backend):
    for ask in (backend.read, backend.size):
        with pytest.raises(NotFoundError) as caught:
            ask("packs/missing")
        assert "packs/missing" in caught.value.where
    assert not backend.exists("packs/missing")
    assert list(backend.names("nowhere")) == []


def test_deleting_is_final_and_may_be_repeated(backend):
    backend.put("packs/a", b"a")
    backend.delete("packs/a")
    assert not backend.exists("packs/a")
    backend.delete("packs/a")
    with pytest.raises(NotFoundError):
        backend.read("packs/a")


def test_names_are_those_of_one_directory(backend):
    backend.put("packs/a", b"")
    backend.put("packs/b", b"")
    backend.put("keys/a", b"")
    backend.put("format", b"")
    assert sorted(backend.names("packs")) == ["a", "b"]
    assert sorted(backend.names("keys")) == ["a"]


def test_the_workspace_is_a_directory_and_stays(backend):
    place = backend.workspace()
    assert os.path.isdir(place)
    assert backend.workspace() == place


def test_adopting_takes_the_file_away_or_leaves_it_unnamed(backend):
    path = finished(backend, b"data")
    backend.adopt(path, "packs/a")
    assert backend.read("packs/a") == b"data"
    assert list(backend.names("packs")) == ["a"]


def test_a_failed_creation_leaves_nothing_behind(backend):
    backend.create("log/1", b"first")
    with pytest.raises(ExistsError):
        backend.create("log/1", b"second")
    assert os.listdir(backend.workspace()) == []
    assert list(backend.names("log")) == ["1"]


def test_flushing_nothing_is_nothing(backend):
    backend.flush()
    backend.put("packs/a", b"a")
    backend.flush()
    backend.flush()
    assert backend.read("packs/a") == b"a"


def test_files_are_listed_in_order_with_their_sizes(backend):
    for name in ("c", "a", "b"):
        backend.put(f"packs/{name}", name.encode() * (ord(name) - 96))
    backend.flush()
    assert [(each.name, each.size) for each in backend.listed("packs")] == [("a", 1), ("b", 2), ("c", 3)]
    assert [each.name for each in backend.listed("packs", after="a")] == ["b", "c"]
    assert [each.name for each in backend.listed("packs", after="a", most=1)] == ["b"]
    assert list(backend.listed("packs", after="c")) == []
    assert list(backend.listed("nowhere")) == []


def test_what_is_sent_is_there_after_a_flush(backend):
    data = bytes(range(256)) * 40000
    backend.send(memoryview(data), "packs/a")
    backend.send(b"", "packs/b")
    backend.flush()
    assert backend.read("packs/a") == data
    assert backend.size("packs/b") == 0


def test_what_is_purged_is_gone(backend):
    backend.put("packs/a", b"x")
    backend.put("packs/ab", b"y")
    backend.flush()
    assert backend.purge("packs/a").left == ()
    assert list(backend.names("packs")) == ["ab"]
    assert backend.purge("packs/a").versions == 0
