"""A directory that several accounts of a machine share as a remote: who may read and write what dv puts there."""

import os
import stat

import pytest

from dvtool.effects import SystemEntropy
from dvtool.errors import NotFoundError
from dvtool.storage.disk import Disk
from dvtool.storage.local import ATTEMPTS
from dvtool.storage.opening import open_place


@pytest.fixture
def narrow():
    """A umask that leaves nothing to anybody else."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def filled(root, mode):
    """Write to a directory of this mode in every way that there is; return the modes of all below it."""
    root.mkdir()
    root.chmod(mode)
    backend = open_place(str(root), {}, entropy=SystemEntropy())
    backend.prepare(["packs", "keys", "log"])
    backend.create("log/1", b"entry")
    backend.put("keys/1", b"key")
    backend.send(b"pack", "packs/1")
    backend.replace("keys/repo", b"repo")
    finished = f"{backend.workspace()}/finished"
    Disk().write(finished, b"pack")
    backend.adopt(finished, "packs/2")
    backend.flush()
    return {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}


FILES = {"log/1", "keys/1", "packs/1", "keys/repo", "packs/2"}
DIRECTORIES = {"packs", "keys", "log", "tmp"}


@pytest.mark.usefixtures("narrow")
def test_what_a_group_may_write_to_is_the_groups(tmp_path):
    modes = filled(tmp_path / "shared", 0o2770)
    assert modes == dict.fromkeys(FILES, 0o660) | dict.fromkeys(DIRECTORIES, 0o2770)


@pytest.mark.usefixtures("narrow")
def test_others_get_nothing(tmp_path):
    modes = filled(tmp_path / "shared", 0o777)
    assert modes == dict.fromkeys(FILES, 0o660) | dict.fromkeys(DIRECTORIES, 0o770)


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755])
def test_a_directory_to_which_only_its_owner_may_write_holds_files_of_the_owner(tmp_path, mode):
    modes = filled(tmp_path / "shared", mode)
    assert {modes[name] for name in FILES} == {0o600}


@pytest.mark.usefixtures("narrow")
def test_the_mode_of_a_directory_that_is_made_is_left_to_the_umask(tmp_path):
    backend = open_place(str(tmp_path / "new" / "remote"), {}, entropy=SystemEntropy())
    backend.prepare(["keys"])
    backend.create("keys/1", b"key")
    assert stat.S_IMODE((tmp_path / "new/remote").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new/remote/keys/1").stat().st_mode) == 0o600


class TakingDisk(Disk):
    """Another process takes an empty directory away right after it was made, so many times."""

    times = 0

    def make_directory(self, path):
        super().make_directory(path)
        if path.endswith("/acks") and self.times:
            self.times -= 1
            os.rmdir(path)


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_directory_that_goes_while_a_store_is_made_is_made_again(tmp_path, times):
    disk = TakingDisk()
    disk.times = times
    backend = open_place(str(tmp_path / "remote"), {}, entropy=SystemEntropy(), disk=disk)
    if times > ATTEMPTS:
        with pytest.raises(NotFoundError):
            backend.prepare(["acks", "log"])
    else:
        backend.prepare(["acks", "log"])
        backend.create("acks/1", b"x")
