"""Who left a remote, and can still write there, gains nothing by it: nothing that they add or exchange counts."""

from typing import Any

import msgspec
import pytest

from dvtool.effects import SystemEntropy
from dvtool.errors import DvError, IntegrityError, KeyAccessError
from dvtool.formats import identity, log, repokey, sealed, storeformat
from dvtool.repo import Repo
from dvtool.sharing.reaching import reach
from dvtool.store import keys, rotating
from tests.cli.members import BOB, CAROL, LOCK, REPO, add, backend, openable, remembered, remove_bob

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
