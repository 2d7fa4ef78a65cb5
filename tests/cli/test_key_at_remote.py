"""``dv key ... --remote``: who left can read nothing that is added to a remote, and nothing that they add counts."""

import contextlib
import os
import shutil
import time
from typing import Any

import msgspec
import pytest

from dvtool.effects import SystemEntropy
from dvtool.errors import DvError, IntegrityError, KeyAccessError
from dvtool.formats import identity, log, repokey, sealed, storeformat
from dvtool.repo import Repo
from dvtool.sharing import memory
from dvtool.sharing.reaching import reach
from dvtool.storage import holding
from dvtool.storage.local import LocalBackend
from dvtool.store import keys, protecting, rotating
from dvtool.worktree.session import Context
from tests.cli.conftest import Dv
from tests.cli.sharing import DeadError, DyingDisk
from tests.conftest import moto_client

BOB = bytes(range(32))
CAROL = bytes(range(1, 33))
REPO = "keys/repo"
LOCK = holding.KEY_CHANGE


class Member(Dv):
    """Somebody else with a clone and an identity of their own."""

    def __init__(self, root, capture, monkeypatch, path):
        super().__init__(root, capture)
        self.monkeypatch = monkeypatch
        self.path = str(path)

    def __call__(self, *arguments, code=0, at=""):
        with self.monkeypatch.context() as patch:
            patch.setenv("DV_IDENTITY", self.path)
            return super().__call__(*arguments, code=code, at=at)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def ada(data, place):
    """Ada's repository, pushed to a directory, whose key is sealed for Ada, Bob and Carol."""
    data.write("ada.txt", data("key", "identity", "--comment", "Ada").text)
    for name, private in (("Bob", BOB), ("Carol", CAROL)):
        data.write(f"{name.lower()}.txt", identity.encode_recipient(identity.recipient_of(private, name)))
    flags = [part for name in ("ada", "bob", "carol") for part in ("--recipient", f"{name}.txt")]
    data("remote", "add", "origin", str(place), *flags)
    data("push")
    return data


@pytest.fixture
def clone_of(ada, place, capsysbinary, monkeypatch, tmp_path):
    def clone(name, private, *options):
        path = tmp_path / f"identity-{name}"
        path.write_bytes(identity.encode_identity(private, name))
        path.chmod(0o600)
        member = Member(ada.root, capsysbinary, monkeypatch, path)
        member("clone", str(place), str(tmp_path / name), *options)
        return Member(tmp_path / name, capsysbinary, monkeypatch, path)

    return clone


@pytest.fixture
def bob(clone_of):
    return clone_of("bob", BOB)


@pytest.fixture
def carol(clone_of):
    return clone_of("carol", CAROL)


def remembered(root):
    """What a clone remembers of its remote."""
    found = memory.recall(Repo.open(str(root)).workspace.session, "origin")
    assert found is not None
    return found


def remove_bob(ada):
    ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    return ada("key", "rotate", "--remote", "origin", "--json").json


def add(dv, name, text):
    dv.write(f"data/{name}", text)
    dv.commit(name)


def backend(place):
    return LocalBackend(str(place), str(place / "tmp"), entropy=SystemEntropy())


def openable(place, member):
    """What somebody can open of a remote with what their clone remembers."""
    seen = remembered(member.root)
    known = keys.Wrapping(current=seen.wrap, previous=seen.previous or None)
    there = backend(place)
    store = storeformat.decode(there.read("format")).store
    found = set()
    for name in sorted(set(there.names("keys")) - {"repo"}):
        kind = sealed.LOG_KEY if name.startswith("log-") else sealed.KEY_FILE
        with contextlib.suppress(DvError):
            known.open(kind, store + f"keys/{name}".encode(), there.read(f"keys/{name}"), what="it")
            found.add(name)
    return found


def test_who_left_can_neither_fetch_nor_push(ada, bob, place):
    assert openable(place, bob)
    done = remove_bob(ada)
    assert sorted(item["comment"] for item in done["recipients"]) == ["Ada", "Carol"]
    assert done["key_files"] >= 1
    assert done["left"] == []
    add(ada, "secret.txt", "for members only\n")
    ada("push")
    assert openable(place, bob) == set()
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    error = bob("fetch", "--json", code=40).error
    assert error["what"] == "the repository key is not sealed for you"
    assert "replaced since this clone last opened it" in error["why"]
    assert error["where"] == str(place)
    add(bob, "late.txt", "late\n")
    bob("push", "--json", code=40)
    bob("push", "--force-with-lease", code=40)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    ada("fsck", "--remote", "origin", "--json")


def test_who_left_cannot_follow_what_was_not_even_pushed_yet(ada, bob, place):
    """The entries of the rotation alone are news that they cannot open."""
    remove_bob(ada)
    bob("fetch", code=40)
    bob("pull", code=40)
    assert bob.status()["clean"], "what they had they keep"


def test_members_go_on_and_read_the_new_key_by_themselves(ada, carol, place):
    add(carol, "c1.txt", "1\n")
    old = remembered(carol.root).wrap
    remove_bob(ada)
    assert remembered(ada.root).wrap != old
    carol("push")
    assert remembered(carol.root).wrap == remembered(ada.root).wrap
    ada("pull")
    assert ada.read("data/c1.txt") == "1\n"
    add(ada, "a2.txt", "2\n")
    ada("push")
    carol("pull")
    assert carol.read("data/a2.txt") == "2\n"


def test_members_fetch_after_it(ada, carol):
    remove_bob(ada)
    assert carol("fetch", "--json").json["refs"] == []
    add(ada, "new.txt", "new\n")
    ada("push")
    carol("pull")
    assert carol.read("data/new.txt") == "new\n"


def test_the_one_who_rotated_remembers_the_new_key(ada, bob, monkeypatch, tmp_path):
    remove_bob(ada)
    monkeypatch.setenv("DV_IDENTITY", str(tmp_path / "nowhere"))
    add(ada, "new.txt", "new\n")
    ada("push")
    assert remembered(ada.root).previous == b""


def test_a_lazy_clone_brings_content_after_it(ada, clone_of):
    light = clone_of("light", CAROL, "--lazy")
    gone = clone_of("gone", BOB, "--lazy")
    remove_bob(ada)
    assert light("cat", "main:data/a.txt").text == "a\n"
    light("get", "data/sub")
    assert light.read("data/sub/c.txt") == "ccc\n"
    gone("cat", "main:data/a.txt", code=40)
    gone("get", "data", code=40)


def test_whether_there_is_news_needs_no_key(ada, carol):
    workspace = Repo.open(str(carol.root)).workspace
    assert not reach(workspace, "origin").has_news()
    remove_bob(ada)
    assert reach(workspace, "origin").has_news()


def test_killed_at_any_step_members_go_on_and_the_next_rotation_finishes(ada, bob, carol, place, tmp_path):
    ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    roots = (ada.root, carol.root, place)
    for root in roots:
        shutil.copytree(root, tmp_path / "kept" / root.name, symlinks=True)
    steps = 0
    while True:
        for root in roots:
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "kept" / root.name, root, symlinks=True)
        repo = Repo.open(str(ada.root), Context(disk=DyingDisk(steps, place), cwd=str(ada.root)))
        try:
            repo.rotate_key(remote="origin")
        except DeadError:
            pass
        else:
            break
        add(carol, "between.txt", "between\n")
        carol("push")
        ada("pull")
        assert ada.read("data/between.txt") == "between\n"
        assert ada("fsck", "--remote", "origin", "--json").json["clean"], steps
        carol("gc", "--remote", "origin", "--grace", "0")
        if (place / LOCK).exists():
            os.utime(place / LOCK, (1, 1))  # nobody waits an hour in a test
        ada("key", "rotate", "--remote", "origin")
        assert openable(place, bob) == set(), steps
        bob("fetch", code=40)
        carol("fetch")
        assert ada("fsck", "--remote", "origin", "--full", "--json").json["clean"], steps
        steps += 1
    assert steps > 8


def test_a_clone_that_is_made_after_it(ada, place, clone_of):
    remove_bob(ada)
    assert clone_of("carol", CAROL).read("data/a.txt") == "a\n"
    with pytest.raises(AssertionError, match="40"):
        clone_of("bob", BOB)


FORGED = log.MoveRef(name="heads/forged", old=None, new=bytes([1]) * 32)


def forge(stale, number, previous, *, actions=(FORGED,)):
    """Append an entry under a log key of which somebody kept a copy; return its name."""
    store, label, old = stale
    entry = log.Entry(
        version=log.VERSION,
        store=store.format.store,
        number=number,
        previous=previous,
        write=bytes(16),
        time=store.state.time,
        operation="push",
        checkpoint=store.state.checkpoint,
        actions=actions,
    )
    name = log.file_name(number)
    blob = sealed.seal(sealed.LOG_ENTRY, old, label, bytes(32), store.format.store + name.encode(), log.encode(entry))
    store.backend.create(name, blob)
    return name


@pytest.fixture
def stale(bob):
    """The remote's store as Bob opened it when he was a member, and its log key, of which he kept a copy."""
    with bob.monkeypatch.context() as patch:
        patch.setenv("DV_IDENTITY", bob.path)
        store = reach(Repo.open(str(bob.root)).workspace, "origin").open()
    label = store.state.label
    return store, label, keys.read_log_key(store.backend, store.format.store, store.secrets.wrap, label).key


def test_an_entry_under_a_log_key_from_before_is_refused(ada, carol, stale, place):
    remove_bob(ada)
    seen = remembered(ada.root)
    name = forge(stale, seen.number + 1, seen.head)
    for member in (ada, carol):
        error = member("fetch", "--json", code=20).error
        assert "given up" in error["what"]
        add(member, "more.txt", "more\n")
        assert "given up" in member("push", "--json", code=20).error["what"]
        assert member("branch", "--json").json[0]["name"] == "main"
    with pytest.raises(IntegrityError, match="given up"):
        Repo.open(str(ada.root)).fetch("origin")
    (place / name).unlink()
    ada("push")
    carol("fetch")
    assert ada("fsck", "--remote", "origin", "--json").json["clean"]


def test_an_entry_that_comes_while_keys_are_sealed_anew_ends_no_key_too_early(ada, carol, stale, place, monkeypatch):
    """Somebody with the old secret, who keeps to no rule, appends right behind the switch."""
    _store, label, _old = stale
    switch = rotating._Switch._switch
    names = []

    def forged(self):
        switch(self)
        state = self.store.refresh()
        names.append(forge(stale, state.number + 1, state.head, actions=()))

    ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    with monkeypatch.context() as patch:
        patch.setattr(rotating._Switch, "_switch", forged)
        error = ada("key", "rotate", "--remote", "origin", "--json", code=12).error
    assert "nothing was lost" in error["next"]
    assert not (place / LOCK).exists()
    ada("key", "rotate", "--remote", "origin")
    assert len(names) == 1
    assert ada("fsck", "--remote", "origin", "--json").json["clean"]
    assert carol("fetch", "--json").json
    assert set(openable(place, ada)) >= {f"log-{label.hex()}"}


def test_a_clone_that_was_there_in_the_middle_of_it_gives_the_old_secret_up(ada, carol, stale, place, monkeypatch):
    """Else the old log key, put back as it was, would open for that clone for ever."""
    _store, label, _old = stale
    file = place / keys.log_key_name(label)
    kept = file.read_bytes()
    seal = rotating._Switch._seal_log_keys

    def visited(self):
        carol("fetch")
        return seal(self)

    with monkeypatch.context() as patch:
        patch.setattr(rotating._Switch, "_seal_log_keys", visited)
        remove_bob(ada)
    assert remembered(carol.root).previous
    sealed_anew = file.read_bytes()
    file.write_bytes(kept)
    seen = remembered(ada.root)
    name = forge(stale, seen.number + 1, seen.head)
    carol("fetch", code=40)
    add(carol, "more.txt", "more\n")
    carol("push", code=40)
    (place / name).unlink()
    file.write_bytes(sealed_anew)
    carol("push")
    assert remembered(carol.root).previous == b""


def test_a_writer_from_before_is_refused_when_the_switch_was_made(ada, bob, stale, place):
    """Bob's push began before the rotation and ends after it."""
    store, _label, _old = stale
    remove_bob(ada)
    number = remembered(ada.root).number
    with pytest.raises(DvError):
        store.log.append("push", lambda _state: [log.MoveRef(name="heads/late", old=None, new=bytes([1]) * 32)])
    assert not (place / log.file_name(number + 1)).exists()


def test_a_key_from_before_that_was_put_back_is_not_built_on(ada, carol, place):
    old = (place / REPO).read_bytes()
    remove_bob(ada)
    new = (place / REPO).read_bytes()
    (place / REPO).write_bytes(old)
    for command in (
        ["key", "recipients", "add", "--remote", "origin", "bob.txt"],
        ["key", "recipients", "remove", "--remote", "origin", "Carol"],
        ["key", "protect", "--remote", "origin", "--recipient", "ada.txt"],
        ["key", "rotate", "--remote", "origin"],
        ["key", "recipients", "list", "--remote", "origin"],
    ):
        error = ada(*command, "--json", code=40).error
        assert "put back" in error["why"]
        assert (place / REPO).read_bytes() == old, "nothing was written over"
        assert not (place / LOCK).exists()
    add(ada, "new.txt", "new\n")
    ada("push")
    (place / REPO).write_bytes(new)
    carol("pull")


def test_a_key_that_somebody_made_up_is_not_sealed_anew(ada, place):
    form = Repo.open(str(ada.root)).workspace.session.store.format
    to = repokey.Recipients(recipients=(identity.decode_recipient(ada.read("ada.txt").strip()),))
    made = repokey.Opened(secret=bytes(32), wrapping=bytes(32))
    (place / REPO).write_bytes(repokey.encode(form.repository, made, to, SystemEntropy()))
    for command in (["recipients", "add", "bob.txt"], ["protect", "--recipient", "ada.txt"], ["rotate"]):
        error = ada("key", *command, "--remote", "origin", "--json", code=40).error
        assert "not that of this repository" in error["what"]


def test_a_key_that_is_exchanged_while_it_is_rotated_is_not_sealed_anew(ada, place, monkeypatch):
    """The secret that the store needs would be lost if what was put there were sealed in its place."""
    run = rotating._Switch.run
    form = Repo.open(str(ada.root)).workspace.session.store.format
    to = repokey.Recipients(recipients=(identity.decode_recipient(ada.read("ada.txt").strip()),))
    secret = keys.open_repokey(Repo.open(str(ada.root)).workspace.session.store.backend, form.repository).secret
    evil = repokey.encode(form.repository, repokey.Opened(secret=secret, wrapping=bytes(32)), to, SystemEntropy())
    kept = []

    def exchange(self):
        done = run(self)
        kept.append((place / REPO).read_bytes())
        (place / REPO).write_bytes(evil)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(rotating._Switch, "run", exchange)
        assert ada("key", "rotate", "--remote", "origin", "--json", code=12).error["kind"] == "conflict"
    assert (place / REPO).read_bytes() == evil
    (place / REPO).write_bytes(kept[0])
    ada("key", "rotate", "--remote", "origin")
    assert ada("fsck", "--remote", "origin", "--json").json["clean"]


PLAIN = repokey.Plain()
EMPTY: dict[str, Any] = dict.fromkeys(log.TABLES, log.Table(count=0))
EMPTY_STORE = log.Checkpoint(**EMPTY, segments=(), lock=b"", writes=())


def members_of(ada):
    """The recipients who are left when Bob is gone; their lines are public."""
    lines = [ada.read(f"{name}.txt").strip() for name in ("ada", "carol")]
    return repokey.Recipients(recipients=tuple(map(identity.decode_recipient, lines)))


def take_over(place, bob, protection, *, seen=None, beside=None):
    """Put keys of Bob's own making there, and an entry under them behind the real head, or behind what is ``seen``.

    His wrapping secret stands alone, or as one that a rotation gives up for ``beside``.
    """
    there = backend(place)
    here = Repo.open(str(bob.root)).workspace.session.store
    form = storeformat.decode(there.read("format"))
    secret = keys.open_repokey(here.backend, form.repository).secret
    made = repokey.Opened(secret=secret, wrapping=bytes([7]) * 32)
    put = msgspec.structs.replace(made, wrapping=beside, previous=made.wrapping) if beside else made
    there.replace(REPO, repokey.encode(form.repository, put, protection, SystemEntropy()))
    wrap = keys.Secrets(made).wrap
    label = keys.write_log_key(there, form.store, wrap, SystemEntropy())
    key = keys.read_log_key(there, form.store, wrap, label).key
    if seen is None:
        last = max(filter(None, map(log.number_of, there.names("log"))))
        seen = last, log.chain(there.read(log.file_name(last)))
    number = seen[0] + 1
    name = log.file_name(number)
    entry = log.Entry(
        version=log.VERSION,
        store=form.store,
        number=number,
        previous=seen[1],
        write=bytes(16),
        time=0,
        operation="push",
        checkpoint=number,
        actions=(EMPTY_STORE,),
    )
    blob = sealed.seal(sealed.LOG_ENTRY, key, label, bytes(32), form.store + name.encode(), log.encode(entry))
    there.replace(name, blob)
    return number


def all_refused(member, name, code=40):
    """No command builds on the remote, and nothing there or remembered of it changes; return the error of a fetch."""
    add(member, f"{name}.txt", "for members only\n")
    place = member.root.parent / "remote"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    memory_before = remembered(member.root)
    error = member("fetch", "--json", code=code).error
    for command in (
        ["pull"],
        ["push"],
        ["push", "--force-with-lease"],
        ["key", "rotate", "--remote", "origin"],
        ["gc", "--remote", "origin"],
    ):
        member(*command, code=code)
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert remembered(member.root) == memory_before
    return error


@pytest.mark.parametrize("bare", [True, False])
def test_who_left_cannot_take_a_remote_over(ada, bob, carol, place, bare):
    remove_bob(ada)
    carol("fetch")
    kept = (place / REPO).read_bytes()
    number = take_over(place, bob, PLAIN if bare else members_of(ada))
    for member, name in ((ada, "ada"), (carol, "carol")):
        error = all_refused(member, name)
        assert ("stands in the clear" in error["what"]) == bare
        assert "set-url origin" in error["next"]
    (place / log.file_name(number)).unlink()
    (place / REPO).write_bytes(kept)
    ada("push")
    carol("fetch")


@pytest.mark.parametrize("way", ["stub", "no key", "damaged"])
def test_who_left_gains_nothing_by_spoiling_what_was_seen(ada, bob, carol, place, way):
    remove_bob(ada)
    carol("fetch")
    seen = remembered(carol.root)
    take_over(place, bob, members_of(ada), seen=(seen.number, seen.head))
    file = place / log.file_name(seen.number)
    if way == "stub":
        file.write_bytes(log.STUB)
    elif way == "no key":
        label = sealed.label_of(file.read_bytes(), sealed.LOG_ENTRY, what="log entry")
        (place / keys.log_key_name(label)).unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    all_refused(carol, "carol", 20 if way == "damaged" else 40)


def test_keys_of_who_left_are_not_taken_to_mend_a_remote(ada, bob, carol, place):
    """Whoever mends it could else seal what they make anew under those."""
    remove_bob(ada)
    carol("fetch")
    take_over(place, bob, members_of(ada))
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = carol("fsck", "--remote", "origin", "--repair", "--json", code=20)
    assert "not those of the store" in done.json["problems"][0]["what"]
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    with carol.monkeypatch.context() as patch:
        patch.setenv("DV_IDENTITY", carol.path)
        remote = reach(Repo.open(str(carol.root)).workspace, "origin")
        with pytest.raises(KeyAccessError, match="not those of the store"):
            remote.unlock_proven(remote.session.store.format.repository)


def test_a_head_behind_entries_that_nobody_followed_is_not_built_on(ada, bob, carol, place):
    """Carol saw nothing since before the rotation; its entries do not open with the keys that were put there."""
    remove_bob(ada)
    add(ada, "more.txt", "more\n")
    ada("push")
    take_over(place, bob, members_of(ada))
    assert "not those of the store" in all_refused(carol, "carol")["what"]


def test_keys_that_stand_beside_a_remembered_one_prove_themselves_as_well(ada, bob, carol, place):
    """Bob knows the one that Carol remembers, and puts it there as if a rotation gave his own up for it."""
    form = storeformat.decode(backend(place).read("format"))
    old = keys.open_repokey(backend(place), form.repository, repokey.Unlock(identities=lambda: (BOB,))).wrapping
    remove_bob(ada)
    add(ada, "more.txt", "more\n")
    ada("push")
    take_over(place, bob, members_of(ada), beside=old)
    assert "not those of the store" in all_refused(carol, "carol")["what"]


def test_members_who_saw_any_earlier_head_follow_a_rotation(ada, carol, clone_of):
    add(ada, "one.txt", "1\n")
    ada("push")
    later = clone_of("later", CAROL)
    remove_bob(ada)
    add(ada, "two.txt", "2\n")
    ada("push")
    ada("key", "rotate", "--remote", "origin")
    add(ada, "three.txt", "3\n")
    ada("push")
    for member in (carol, later):
        member("pull")
        assert member.read("data/three.txt") == "3\n"
        assert remembered(member.root).wrap == remembered(ada.root).wrap


def test_a_key_that_was_bared_on_purpose_is_taken_when_that_is_said(ada, carol, place):
    ada("key", "protect", "--remote", "origin", "--plain-keys")
    carol("fetch")
    ada("key", "rotate", "--remote", "origin")
    ada("fetch")
    assert "stands in the clear" in carol("fetch", "--json", code=40).error["what"]
    carol("remote", "set-url", "origin", str(place))
    carol("fetch")


def test_a_passphrase_has_to_be_another_one(data, place, capsysbinary, monkeypatch, tmp_path):
    data.write("old", "correct horse\n")
    data.write("new", "another horse\n")
    data("remote", "add", "origin", str(place), "--passphrase-file", "old")
    data("push")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    data("clone", str(place), str(tmp_path / "other"))
    other = Dv(tmp_path / "other", capsysbinary)
    assert "--passphrase-file" in data("key", "rotate", "--remote", "origin", "--json", code=2).error["next"]
    data("key", "rotate", "--remote", "origin", "--passphrase-file", "new")
    assert "the passphrase is wrong" in other("fetch", code=40).told
    monkeypatch.delenv("DV_PASSPHRASE")
    add(data, "new.txt", "new\n")
    data("push")
    other("fetch", code=40)
    monkeypatch.setenv("DV_PASSPHRASE", "another horse")
    other("pull")
    monkeypatch.delenv("DV_PASSPHRASE")
    other("fetch")


def test_what_it_says(ada):
    assert "dv key rotate --remote origin" in ada("key", "recipients", "remove", "--remote", "origin", "Bob").text
    text = ada("key", "rotate", "--remote", "origin").text
    assert "other clones read the new key" in text
    assert "dv key export" not in text


def test_only_one_changes_the_key_at_a_time(ada, place):
    lock = place / LOCK
    lock.write_bytes(b"somebody else's")
    before = (place / REPO).read_bytes()
    for command in (
        ["protect", "--recipient", "ada.txt"],
        ["recipients", "add", "bob.txt"],
        ["recipients", "remove", "Bob"],
        ["rotate"],
    ):
        error = ada("key", *command, "--remote", "origin", "--json", code=12).error
        assert error["where"] == LOCK
        assert "1 minute" in error["why"]
    assert (place / REPO).read_bytes() == before
    ada("key", "recipients", "list", "--remote", "origin")
    hour = time.time() - 3601
    os.utime(lock, (hour, hour))
    done = ada("key", "recipients", "remove", "--remote", "origin", "Bob")
    assert "taken for dead" in done.told
    assert not lock.exists()


def test_who_was_taken_over_stops(ada, place, monkeypatch):
    """A machine that slept for hours goes on where it was, while another has changed the key."""
    run = rotating._Switch._seal_log_keys

    def sleep(self):
        (place / LOCK).write_bytes(b"another's")
        return run(self)

    with monkeypatch.context() as patch:
        patch.setattr(rotating._Switch, "_seal_log_keys", sleep)
        assert "took over" in ada("key", "rotate", "--remote", "origin", "--json", code=12).error["what"]
    assert (place / LOCK).read_bytes() == b"another's", "what is another's stays"
    (place / LOCK).unlink()
    ada("key", "rotate", "--remote", "origin")
    assert ada("fsck", "--remote", "origin", "--json").json["clean"]


@pytest.fixture
def bucket(data, moto_bucket):
    """(repository, client of boto3, name of its bucket, which keeps versions)."""
    url, options = moto_bucket
    data.write("phrase", "correct horse\n")
    data.write("me.txt", data("key", "identity").text)
    with moto_client(options["endpoint_url"]) as client:
        name = url.removeprefix("s3://")
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        flags = [part for item in options.items() for part in ("--option", "=".join(item))]
        data("remote", "add", "origin", url, *flags, "--plain-keys")
        data("push")
        yield data, client, name


def versions(client, name, key):
    found = client.list_object_versions(Bucket=name, Prefix=key)
    return [each["VersionId"] for each in (*found.get("Versions", ()), *found.get("DeleteMarkers", ()))]


def test_earlier_versions_go_with_each_change(bucket, monkeypatch):
    data, client, name = bucket
    for command in (
        ["protect", "--passphrase-file", "phrase"],
        ["protect", "--recipient", "me.txt"],
        ["recipients", "add", identity.encode_recipient(identity.recipient_of(BOB, "Bob"))],
        ["recipients", "remove", "Bob"],
        ["rotate"],
    ):
        monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
        before = versions(client, name, REPO)
        done = data("key", *command, "--remote", "origin", "--json")
        assert done.json["left"] == []
        assert done.told == ""
        [now] = versions(client, name, REPO)
        assert now not in before
        assert versions(client, name, "acks/") == []
    add(data, "new.txt", "new\n")
    data("push")
    assert data("fsck", "--remote", "origin", "--json").json["clean"]


def test_what_could_not_be_purged_is_told(data, s3_server):
    s3_server.make_bucket("bucket", versioning="Enabled")
    data.write("me.txt", data("key", "identity").text)
    data("remote", "add", "origin", "s3://bucket", "--option", f"endpoint_url={s3_server.url}", "--plain-keys")
    data("push")
    s3_server.denied = frozenset({"versions"})
    done = data("key", "protect", "--remote", "origin", "--recipient", "me.txt", "--json")
    [why] = done.json["left"]
    assert "s3:ListBucketVersions is denied" in why
    assert "earlier versions of the key are left" in done.told
    s3_server.denied = frozenset()
    assert data("key", "rotate", "--remote", "origin", "--json").json["left"] == []
    assert len(s3_server.buckets["bucket"].versions[REPO]) == 1


def test_soft_deletion_is_told(data, gcs_server):
    gcs_server.make_bucket("bucket", soft_delete=7 * 86400)
    data.write("me.txt", data("key", "identity").text)
    options = ["--option", f"endpoint_url={gcs_server.url}", "--option", "anon=true"]
    data("remote", "add", "origin", "gs://bucket", *options, "--plain-keys")
    data("push")
    done = data("key", "rotate", "--remote", "origin", "--recipient", "me.txt", "--json")
    assert done.json["left"][0].startswith("soft deletion keeps it until 20")


def test_a_key_that_somebody_wrote_over_meanwhile_is_not_purged(bucket, monkeypatch):
    """What is wanted is an earlier version then."""
    data, client, name = bucket
    change = protecting.change

    def overtaken(*arguments, **options):
        done = change(*arguments, **options)
        client.put_object(Bucket=name, Key=REPO, Body=b"put there by somebody else")
        return done

    before = len(versions(client, name, REPO))
    with monkeypatch.context() as patch:
        patch.setattr(protecting, "change", overtaken)
        data("key", "protect", "--remote", "origin", "--recipient", "me.txt", "--json", code=40)
    assert len(versions(client, name, REPO)) == before + 2


def test_a_key_at_another_place_is_rotated_there(data, tmp_path, capsysbinary):
    data("remote", "add", "origin", str(tmp_path / "remote"), "--keys", str(tmp_path / "guarded"))
    data("push")
    data("clone", str(tmp_path / "remote"), str(tmp_path / "other"), "--keys", str(tmp_path / "guarded"))
    before = (tmp_path / "guarded" / REPO).read_bytes()
    data("key", "rotate", "--remote", "origin")
    assert (tmp_path / "guarded" / REPO).read_bytes() != before
    assert not (tmp_path / "remote" / REPO).exists()
    add(data, "new.txt", "new\n")
    data("push")
    other = Dv(tmp_path / "other", capsysbinary)
    other("pull")
    assert other.read("data/new.txt") == "new\n"
