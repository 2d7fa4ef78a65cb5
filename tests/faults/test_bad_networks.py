"""Stores in the cloud over networks that fail: what was said to be done is done, and nothing is half there."""

import os
import threading

import pytest

from dvtool import ids
from dvtool.effects import SystemClock
from dvtool.errors import ExistsError, NotFoundError, StorageError
from dvtool.formats import log
from dvtool.storage.backend import Backend, UnavailableError, close
from dvtool.storage.cloud.client import PART, WHOLE
from dvtool.storage.opening import open_place
from dvtool.store.store import Store, first_entry
from dvtool.testing.audit import scrub
from dvtool.testing.effects import SeededEntropy
from dvtool.testing.serving import every, first, sometimes
from dvtool.testing.stores import make_store

FAULTS = ("busy", "broken", "cut", "lost", "half")
PLACES = {"s3": ("s3://bucket/prefix", {}), "gcs": ("gs://bucket/prefix", {"anon": True})}


@pytest.fixture(params=PLACES)
def server(request):
    made = request.getfixturevalue(f"{request.param}_server")
    made.make_bucket("bucket")
    made.place = PLACES[request.param]
    return made


@pytest.fixture
def opened(server):
    made: list[Backend] = []

    def open_one(**options):
        url, more = server.place
        made.append(
            open_place(
                url,
                {"endpoint_url": server.url, **more, **options},
                entropy=SeededEntropy(len(made)),
                sleep=lambda _seconds: None,
            )
        )
        return made[-1]

    yield open_one
    for each in made:
        close(each)


@pytest.fixture
def backend(opened):
    return opened()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_operation_ends_well(backend, server, fault):
    server.fault = sometimes(0, 0.2, fault)
    data = os.urandom(300_000)
    for number in range(8):
        backend.send(data[number:], f"packs/{number}")
    backend.flush()
    for number in range(8):
        assert backend.read(f"packs/{number}") == data[number:]
        assert backend.read(f"packs/{number}", 1000, 10) == data[number + 1000 : number + 1010]
        assert backend.size(f"packs/{number}") == len(data) - number
    assert sorted(backend.names("packs")) == sorted(map(str, range(8)))
    assert [each.name for each in backend.listed("packs", after="3")] == ["4", "5", "6", "7"]
    backend.delete("packs/0")
    assert not backend.exists("packs/0")
    with pytest.raises(NotFoundError):
        backend.read("packs/0")


@pytest.mark.parametrize("fault", FAULTS)
def test_of_two_creations_one_stands(backend, server, fault):
    server.fault = first(1, fault, "create")
    try:
        backend.create("log/1", b"mine")
    except ExistsError:
        assert fault in {"lost", "half"}, "only a creation that was done finds its own work"
    with pytest.raises(ExistsError):
        backend.create("log/1", b"another's")
    assert backend.read("log/1") == b"mine"


@pytest.mark.parametrize("fault", FAULTS)
def test_when_patience_ends_the_place_is_unavailable(backend, server, fault):
    backend.put("packs/there", b"x")
    server.fault = every(1, fault)
    before = server.counts.total()
    actions = [
        lambda: backend.read("packs/there"),
        lambda: list(backend.names("packs")),
        lambda: list(backend.listed("packs")),
    ]
    if fault != "half":  # half of a reply that says nothing but that it is done is all of it
        actions.append(lambda: backend.put("packs/a", b"x"))
    for action in actions:
        with pytest.raises(UnavailableError) as caught:
            action()
        assert server.url not in str(caught.value)
    # Seven tries of each; aiohttp sends again by itself, once, what an idle connection had lost.
    assert server.counts.total() - before <= len(actions) * 7 * 2


def test_what_could_not_be_sent_is_told_by_flush(backend, server):
    server.fault = every(1, "busy")
    backend.send(b"x", "packs/a")
    with pytest.raises(UnavailableError):
        backend.flush()
    backend.flush()


def test_a_silent_server_is_unavailable(opened, server):
    if server.place == PLACES["gcs"]:
        pytest.skip("its patience is no option")
    backend = opened(read_timeout=0.2, connect_timeout=0.2)
    server.fault = every(1, "silent")
    with pytest.raises(UnavailableError):
        backend.read("packs/a")


def test_a_full_pack_is_one_request(backend, server):
    data = bytes(64 * 1024 * 1024 + 4096)
    backend.send(data, "packs/a")
    backend.flush()
    assert dict(server.counts) == {"put" if server.place == PLACES["s3"] else "write": 1}


def test_a_file_larger_than_one_request_takes_arrives(backend, server):
    data = os.urandom(1024) * (WHOLE // 1024 + 1)
    server.fault = every(2, "lost", "part", "begin", "complete")
    backend.send(data, "packs/a")
    backend.flush()
    assert backend.size("packs/a") == len(data)
    assert backend.read("packs/a", PART - 5, 10) == data[PART - 5 : PART + 5]


def test_of_a_failed_upload_nothing_is_left(backend, server):
    server.fault = every(1, "broken", "part", "write")
    backend.send(bytes(WHOLE + 1), "packs/a")
    with pytest.raises(StorageError):
        backend.flush()
    assert not backend.exists("packs/a")
    assert server.buckets["bucket"].uploads == {}


def test_what_was_adopted_is_kept_here_until_it_is_there(backend, server):
    path = f"{backend.workspace()}/unfinished"
    with open(path, "wb") as file:
        file.write(b"data")
    server.fault = every(1, "broken")
    backend.adopt(path, "packs/a")
    with pytest.raises(StorageError):
        backend.flush()
    assert os.listdir(backend.workspace()) == ["unfinished"]
    server.fault = lambda _number, _kind: None
    backend.adopt(path, "packs/a")
    backend.flush()
    assert os.listdir(backend.workspace()) == []
    assert backend.read("packs/a") == b"data"


def test_listings_begin_where_they_are_told_to_and_ask_for_no_more(backend, server):
    for number in range(30):
        backend.put(f"log/{number:02}", b"")
    server.counts.clear()
    assert [each.name for each in backend.listed("log", after="27", most=1)] == ["28"]
    assert [each.name for each in backend.listed("log", after="29", most=5)] == []
    assert dict(server.counts) == {"list": 2}


def test_listings_of_several_pages_are_whole(backend, server):
    store = server._store
    for number in range(2345):
        if server.place == PLACES["s3"]:
            store(server.buckets["bucket"], f"prefix/packs/{number:04}", b"")
        else:
            store(server.buckets["bucket"], f"prefix/packs/{number:04}", b"", None)
    wanted = [f"{number:04}" for number in range(2345)]
    server.fault = every(2, "half", "list")
    assert [each.name for each in backend.listed("packs")] == wanted
    assert sorted(backend.names("packs")) == wanted
    assert [each.name for each in backend.listed("packs", after="0999", most=1200)] == wanted[1000:2200]


def test_listings_are_never_stale(opened):
    one, other = opened(), opened()
    for number in range(5):
        one.put(f"log/{number}", b"")
        assert len(list(other.names("log"))) == number + 1
        assert other.exists(f"log/{number}")
        one.delete(f"log/{number}")
        assert not other.exists(f"log/{number}")
        one.put(f"log/{number}", b"")


def test_many_threads_share_one_backend(backend, server):
    server.fault = sometimes(0, 0.1, "busy")
    failures = []

    def work(number):
        try:
            for turn in range(10):
                backend.put(f"packs/{number}-{turn}", bytes([number]) * 1000)
                assert backend.read(f"packs/{number}-{turn}") == bytes([number]) * 1000
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(list(backend.names("packs"))) == 60


@pytest.mark.parametrize("fault", ["busy", "cut", "lost", "half"])
def test_writers_of_one_store_lose_nothing(opened, server, fault):
    """Each adds one to a shared counter, a compare-and-swap, several times; replies are lost on the way."""
    make_store(opened(), SeededEntropy("store"))

    def attach(name):
        return Store(opened(), clock=SystemClock(), entropy=SeededEntropy(name))

    first_entry(attach("first"), {"heads/shared": bytes(32)})
    server.fault = sometimes(0, 0.1, fault)
    failures = []

    def work(writer):
        try:
            store = attach(f"writer {writer}")
            for turn in range(4):
                content = f"{writer}/{turn}".encode()

                def moves(state, name=f"heads/{writer}-{turn}", content=content):
                    before = state.ref("heads/shared")
                    after = (int.from_bytes(before, "big") + 1).to_bytes(32, "big")
                    return [
                        log.MoveRef(name="heads/shared", old=before, new=after),
                        log.MoveRef(name=name, old=None, new=store.hasher.id(ids.STAGE, content)),
                    ]

                with store.transaction() as transaction:
                    transaction.put_object(ids.STAGE, content)
                    transaction.commit("count", moves)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    server.fault = lambda _number, _kind: None
    reader = attach("reader")
    names = dict(reader.refresh().ref_names("heads/"))
    assert int.from_bytes(names.pop("heads/shared"), "big") == len(names) == 12
    assert scrub(reader) >= 12
