"""Several files under way at once: bounded, waited for, and no failure lost."""

import threading

import pytest

from dvtool.errors import StorageError
from dvtool.storage.memory import MemoryBackend
from dvtool.storage.sending import SendingBackend

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


class Gate(MemoryBackend):
    """Takes files when it is opened, and knows how many and how much were under way at once."""

    def __init__(self):
        super().__init__()
        self.opened = threading.Event()
        self.changed = threading.Condition()
        self.sizes = []
        self.most = 0
        self.most_bytes = 0
        self.broken = set()

    def send(self, view, name):
        with self.changed:
            self.sizes.append(len(view))
            self.most = max(self.most, len(self.sizes))
            self.most_bytes = max(self.most_bytes, sum(self.sizes))
            self.changed.notify_all()
        assert self.opened.wait(PATIENCE)
        with self.changed:
            self.sizes.remove(len(view))
        if name in self.broken:
            raise StorageError(f"{name} is refused")
        super().send(view, name)

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sizes) == count, PATIENCE)


@pytest.fixture
def gate():
    return Gate()


def send_all(backend, sizes):
    def work():
        for number, size in enumerate(sizes):
            backend.send(bytes(size), f"packs/{number}")

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_no_more_files_are_under_way_than_threads(gate):
    backend = SendingBackend(gate, threads=3)
    thread = send_all(backend, [10] * 20)
    gate.wait_for(3)
    gate.opened.set()
    thread.join(PATIENCE)
    backend.flush()
    assert gate.most <= 3
    assert len(list(backend.names("packs"))) == 20


def test_no_more_bytes_are_under_way_than_there_is_room(gate):
    backend = SendingBackend(gate, threads=10, room=100)
    thread = send_all(backend, [40, 40, 40, 90, 10, 30])
    gate.wait_for(2)
    gate.opened.set()
    thread.join(PATIENCE)
    backend.flush()
    assert gate.most_bytes <= 100


def test_a_file_larger_than_the_room_goes_alone(gate):
    backend = SendingBackend(gate, threads=10, room=100)
    gate.opened.set()
    send_all(backend, [10, 5000, 10]).join(PATIENCE)
    backend.flush()
    assert gate.most_bytes == 5000
    assert gate.size("packs/1") == 5000


def test_flush_raises_the_first_failure_once(gate):
    backend = SendingBackend(gate)
    gate.broken.add("packs/bad")
    gate.opened.set()
    backend.send(b"x", "packs/good")
    backend.send(b"x", "packs/bad")
    with pytest.raises(StorageError, match="packs/bad is refused"):
        backend.flush()
    backend.flush()
    assert backend.exists("packs/good")
    assert not backend.exists("packs/bad")


def test_after_a_failure_nothing_more_is_sent_before_it_was_told(gate):
    backend = SendingBackend(gate)
    gate.broken.add("packs/bad")
    gate.opened.set()
    backend.send(b"x", "packs/bad")
    assert not backend.exists("packs/bad")
    with pytest.raises(StorageError, match="packs/bad is refused"):
        backend.send(b"x", "packs/next")
    with pytest.raises(StorageError, match="packs/bad is refused"):
        backend.flush()
    backend.send(b"x", "packs/next")
    backend.flush()
    assert backend.exists("packs/next")


def test_who_asks_for_a_name_waits_for_that_name_alone(gate):
    backend = SendingBackend(gate)
    gate.put("packs/there", b"there")
    backend.send(b"slow", "packs/slow")
    assert backend.read("packs/there") == b"there"
    threading.Timer(0.05, gate.opened.set).start()
    assert backend.read("packs/slow") == b"slow"
