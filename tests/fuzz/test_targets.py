"""The fuzzer's targets: there is one for everything that takes bytes, each begins with some, and a fall is replayed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from dvtool.errors import DvError
from dvtool.testing.decoders import DECODERS

FUZZ = Path(__file__).with_name("fuzz.py")


def module():
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


fuzz = module()
targets = fuzz.load()


def test_every_decoder_has_its_target():
    assert DECODERS.keys() < targets.TARGETS.keys()
    assert {"chunker", "ignore", "names", "zstd", "project", "lock"} <= targets.TARGETS.keys()


@pytest.mark.parametrize("name", sorted(targets.TARGETS))
def test_a_target_takes_what_it_begins_with(name):
    seeds = targets.seeds(name)
    assert seeds
    for data in seeds:
        targets.TARGETS[name](data)
        targets.TARGETS[name](data[: len(data) // 2])


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_decoder_begins_with_something_that_it_takes(name):
    if name in {"repokey", "repokey with its checksum", "sealed", "sealed with its checksum", "index"}:
        return  # these belong to another key or store than the fuzzer's

    def takes(data):
        try:
            DECODERS[name](data)
        except DvError:
            return False
        return True

    if name.startswith("worktree_index "):
        return
    assert any(map(takes, targets.seeds(name)))


def test_a_fall_is_replayed():
    with pytest.raises(ValueError, match="planted"):
        fuzz.replay("planted", targets.PLANTED)
    command = [sys.executable, str(FUZZ), "--replay", "planted", targets.PLANTED.hex()]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    command = [sys.executable, str(FUZZ), "--replay", "names", b"a\0b".hex()]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"nothing happened\n"
