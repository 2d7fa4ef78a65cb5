"""Every kind of file, damaged in every way: the damage is named, or what was damaged is made anew; never read."""

import os
import random
from pathlib import Path

import pytest

from dvtool.cli import exits
from dvtool.errors import DvError
from dvtool.repo import Repo
from dvtool.testing import damage

KINDS = (
    "format",
    "repository key",
    "log entry",
    "log key",
    "key file",
    "index file",
    "data pack",
    "metadata pack",
    "worktree file",
)
"""Kinds of which every byte is truth."""

DERIVED = ("worktree index", "cached head")
"""Kinds that are made anew when they are bad."""


def positions(size, seed):
    chance = random.Random(seed)
    chosen = {0, 5, 8, 40, size // 2, size - 17, size - 1, *(chance.randrange(size) for _ in range(3))}
    return sorted(at for at in chosen if 0 <= at < size)


def named(sample, root, where):
    """The error that names the damage done to ``root``; fails when nobody noticed."""
    found = sample.outcome(root)
    assert isinstance(found, DvError), f"nobody noticed the damage: {where}"
    assert exits.code_of(found) != exits.BUG, where
    assert found.what, where
    return found


def newest(sample, kind):
    """The files of a kind that a reader needs: of the log, those from the newest checkpoint on."""
    paths = sample.kinds[kind]
    if kind != "log entry":
        return paths
    first = Repo.open(sample.root).workspace.session.store.state.checkpoint
    return [path for path in paths if int(os.path.basename(path), 16) >= first]


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_named(sample, tmp_path, kind):
    paths = newest(sample, kind)
    for path in {paths[0], paths[-1]}:
        for at in positions(os.path.getsize(f"{sample.root}/{path}"), len(path)):
            root = sample.copy(tmp_path)
            damage.flip(f"{root}/{path}", at, 1 << (at % 8))
            named(sample, root, (kind, path, at))


@pytest.mark.parametrize("way", damage.WHOLE)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_a_whole_file_is_named(sample, tmp_path, kind, way):
    for path in newest(sample, kind):
        root = sample.copy(tmp_path)
        damage.WHOLE[way](f"{root}/{path}")
        named(sample, root, (kind, way, path))


@pytest.mark.parametrize("kind", ["log entry", "log key", "key file", "index file", "data pack", "metadata pack"])
def test_two_files_that_changed_places_are_named(sample, tmp_path, kind):
    paths = newest(sample, kind)
    if len(paths) == 1:  # one log key serves all entries until an erasure replaces it
        assert kind == "log key"
        return
    root = sample.copy(tmp_path)
    damage.swap(f"{root}/{paths[0]}", f"{root}/{paths[-1]}")
    named(sample, root, (kind, paths[0], paths[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_repository_is_named(sample, other, tmp_path, kind):
    root = sample.copy(tmp_path)
    damage.copy_over(f"{root}/{newest(sample, kind)[-1]}", f"{other.root}/{newest(other, kind)[-1]}")
    named(sample, root, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_named(sample, tmp_path, kind):
    for strange in KINDS:
        if strange != kind:
            root = sample.copy(tmp_path)
            damage.copy_over(f"{root}/{newest(sample, kind)[-1]}", f"{sample.root}/{newest(sample, strange)[-1]}")
            named(sample, root, (kind, strange))


@pytest.mark.parametrize("kind", DERIVED)
@pytest.mark.parametrize("way", damage.WHOLE)
def test_what_is_derived_is_made_anew(sample, tmp_path, kind, way):
    [path] = sample.kinds[kind]
    root = sample.copy(tmp_path)
    damage.WHOLE[way](f"{root}/{path}")
    assert sample.outcome(root) == "same"


@pytest.mark.parametrize("kind", DERIVED)
def test_a_flipped_bit_of_what_is_derived_changes_nothing(sample, tmp_path, kind):
    [path] = sample.kinds[kind]
    for at in positions(os.path.getsize(f"{sample.root}/{path}"), 7):
        root = sample.copy(tmp_path)
        damage.flip(f"{root}/{path}", at, 1 << (at % 8))
        assert sample.outcome(root) == "same"


@pytest.mark.parametrize("kind", DERIVED)
def test_what_another_repository_derived_is_not_believed(sample, other, tmp_path, kind):
    root = sample.copy(tmp_path)
    damage.copy_over(f"{root}/{sample.kinds[kind][0]}", f"{other.root}/{other.kinds[kind][0]}")
    assert sample.outcome(root) == "same"


@pytest.mark.parametrize("gone", ["newest", "oldest", "in the middle"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_missing_log_entry_is_never_taken_for_the_end(sample, tmp_path, gone, cached):
    paths = newest(sample, "log entry")
    root = sample.copy(tmp_path)
    if not cached:
        damage.delete(f"{root}/.dv/cache/head")
    damage.delete(f"{root}/{paths[{'newest': -1, 'oldest': 0, 'in the middle': len(paths) // 2}[gone]]}")
    if gone == "newest" and not cached:
        # Nothing on this machine remembers it: the store is whole, one operation younger.
        before = dict(sample.healthy[0])
        now = dict(Repo.open(root).workspace.session.store.state.ref_names(""))
        assert now.items() <= before.items()
        return
    named(sample, root, (gone, cached))


def test_a_store_from_yesterday_is_noticed(sample, tmp_path):
    paths = sample.kinds["log entry"]
    root = sample.copy(tmp_path)
    for path in paths[-3:]:
        damage.delete(f"{root}/{path}")
    assert "rolled back" in named(sample, root, "rolled back").what


def test_history_before_the_checkpoint_is_only_history(sample, tmp_path):
    needed = newest(sample, "log entry")
    root = sample.copy(tmp_path)
    old = [path for path in sample.kinds["log entry"] if path not in needed]
    assert old
    damage.flip(f"{root}/{old[-1]}", 70)
    with pytest.raises(DvError):
        Repo.open(root).oplog()


@pytest.mark.deep
@pytest.mark.parametrize("kind", [*KINDS, *DERIVED])
def test_a_flipped_bit_anywhere_is_named(sample, tmp_path, kind):
    chance = random.Random(kind)
    for path in newest(sample, kind):
        size = os.path.getsize(f"{sample.root}/{path}")
        for at in sorted(chance.sample(range(size), min(size, 150))):
            root = sample.copy(tmp_path)
            damage.flip(f"{root}/{path}", at, 1 << chance.randrange(8))
            if kind in DERIVED:
                assert sample.outcome(root) == "same", (kind, at)
            else:
                named(sample, root, (kind, path, at))


def test_damage_is_real(sample, tmp_path):
    root = sample.copy(tmp_path)
    assert sample.outcome(root) == "same"
    path = f"{root}/{sample.kinds['format'][0]}"
    before = Path(path).read_bytes()
    damage.flip(path, -1)
    assert Path(path).read_bytes() != before
    damage.flip(path, -1)
    assert Path(path).read_bytes() == before
