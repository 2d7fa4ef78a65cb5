"""The system calls by which a store changes a disk: written as told, in every way a disk may take them."""

import mmap
import os

import pytest

from dvtool.errors import StorageError
from dvtool.storage.disk import ALIGNMENT, Disk, sweep_directory, temporary_name

PLACES = ["tmp_path", "/dev/shm"]  # noqa: S108 - names of its own, not followed
"""An ordinary file system, and one in memory, where writing past the page cache may be refused."""


@pytest.fixture(params=PLACES)
def path(request, tmp_path):
    if request.param == "tmp_path":
        yield f"{tmp_path}/file"
        return
    if not os.path.isdir(request.param):
        pytest.skip("this machine has no file system in memory")
    name = f"{request.param}/dv-test-{os.getpid()}-{os.urandom(8).hex()}"
    yield name
    if os.path.exists(name):
        os.unlink(name)


def aligned(data):
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    return memoryview(memory)


def test_pieces_written_behind_and_a_rest_make_one_file(path):
    disk = Disk()
    pieces = [os.urandom(count * ALIGNMENT) for count in (1, 256, 3)]
    descriptor = disk.open_new(path)
    for piece in pieces:
        disk.append_behind(descriptor, path, aligned(piece))()
    disk.append(descriptor, path, b"a rest of no particular length")
    disk.append_behind(descriptor, path, aligned(b"odd place" * ALIGNMENT))()
    disk.sync_behind(descriptor, path)()
    with open(path, "rb") as file:
        assert file.read() == b"".join(pieces) + b"a rest of no particular length" + b"odd place" * ALIGNMENT


def test_an_unaligned_piece_is_written_all_the_same(path):
    disk = Disk()
    data = aligned(os.urandom(3 * ALIGNMENT))[100:-77]
    descriptor = disk.open_new(path)
    disk.append_behind(descriptor, path, data)()
    os.close(descriptor)
    with open(path, "rb") as file:
        assert file.read() == bytes(data)


def test_a_refused_piece_is_reported_by_the_wait(path):
    disk = Disk()
    os.close(disk.open_new(path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        wait = disk.append_behind(descriptor, path, aligned(bytes(ALIGNMENT)))
        with pytest.raises(StorageError) as caught:
            wait()
        assert caught.value.where == path
    finally:
        os.close(descriptor)
    assert os.path.getsize(path) == 0


def test_short_writes_are_continued(path, monkeypatch):
    disk = Disk()
    data = os.urandom(64 * ALIGNMENT)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, view: real(descriptor, bytes(view[: 5 * 512 + 3])))
    descriptor = disk.open_new(path)
    disk.append_behind(descriptor, path, aligned(data))()
    monkeypatch.undo()
    os.close(descriptor)
    with open(path, "rb") as file:
        assert file.read() == data


def test_sweeping_keeps_what_is_being_written(tmp_path):
    def unfinished(name):
        path = tmp_path / name
        path.write_bytes(b"half")
        return path

    name = temporary_name()
    mine = unfinished(name)
    # No process has a number above PID_MAX_LIMIT, and nobody here knows the processes of another machine.
    gone = unfinished(name.replace(f"{os.getpid()}-", "4194305-", 1))
    elsewhere = unfinished("4194305-0123abcd-0123456789abcdef")
    long_ago = unfinished("4194305-0123abcd-fedcba9876543210")
    os.utime(long_ago, (0, 0))
    data = unfinished("4194305-not-one-of-ours")
    assert not sweep_directory(str(tmp_path))
    assert mine.exists()
    assert elsewhere.exists()
    assert data.exists()
    assert not gone.exists()
    assert not long_ago.exists()
