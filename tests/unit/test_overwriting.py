"""Many files are written over at once, and what was interrupted is found again."""

import os

import pytest

import dvtool
from dvtool.errors import StorageError
from dvtool.formats import log
from dvtool.storage.backend import TOGETHER, overwrite
from dvtool.storage.disk import Disk
from dvtool.storage.local import LocalBackend
from dvtool.storage.memory import MemoryBackend
from dvtool.store import checkpoints, erasing
from dvtool.testing.effects import SeededEntropy

NAMES = [f"log/{number:03}" for number in range(2 * TOGETHER + 5)]


class Counting(Disk):
    """Counts what is waited for, and has no more room after some links."""

    def __init__(self):
        super().__init__()
        self.syncs = 0
        self.links = 1000

    def sync(self, path):
        self.syncs += 1
        super().sync(path)

    def link(self, source, target):
        if not self.links:
            raise StorageError("no more")
        self.links -= 1
        super().link(source, target)


@pytest.fixture
def local(tmp_path):
    backend = LocalBackend(
        str(tmp_path / "store"), str(tmp_path / "tmp"), entropy=SeededEntropy("local"), disk=Counting()
    )
    backend.prepare(["log"])
    return backend


def filled(backend):
    for name in [*NAMES, "log/other"]:
        backend.put(name, b"before")
    backend.flush()
    return backend


def test_all_files_have_the_bytes_and_no_others_do(local):
    for backend in (filled(local), filled(MemoryBackend())):
        overwrite(backend, NAMES, b"after")
        overwrite(backend, NAMES[3:9], b"then")
        overwrite(backend, [], b"nothing")
        assert [backend.read(name) for name in NAMES[2:10]] == [b"after", *[b"then"] * 6, b"after"]
        assert {backend.read(name) for name in NAMES[9:]} == {b"after"}
        assert backend.read("log/other") == b"before"


def test_few_waits_are_enough_for_many_files(local):
    filled(local)
    local.disk.syncs = 0
    overwrite(local, NAMES, b"after")
    assert local.disk.syncs == 6


def test_what_is_interrupted_leaves_the_first_ones_written_and_nothing_else(local, tmp_path):
    filled(local)
    local.disk.links = TOGETHER + 1
    with pytest.raises(StorageError):
        overwrite(local, NAMES, b"after")
    assert [local.read(name) for name in NAMES] == [b"after"] * (TOGETHER + 1) + [b"before"] * (TOGETHER + 4)
    assert os.listdir(tmp_path / "tmp") == []


@pytest.mark.parametrize("undone", [{1}, {1, 64}, {3, 4, 60}, set(range(1, 65, 2))])
def test_entries_that_a_loss_of_power_left_are_emptied_by_the_next_erasure(tmp_path, undone):
    repo = dvtool.init(str(tmp_path))
    for number in range(40):
        (tmp_path / "f").write_text(str(number))
        repo.add(["f"])
        repo.commit(f"{number}", author="A <a@example.org>")
    store = repo.workspace.session.store
    assert checkpoints.write(store)
    state = store.refresh()
    undone = [*sorted(undone), *range(TOGETHER + 1, state.checkpoint)]
    assert undone[-1] > TOGETHER
    kept = {number: store.backend.read(log.file_name(number)) for number in undone}
    assert erasing.empty_entries(store, state) == state.checkpoint - 1
    for number, entry in kept.items():
        store.backend.replace(log.file_name(number), entry)
    assert erasing.empty_entries(store, state) == len(undone)
    assert erasing.empty_entries(store, state) == 0
