"""Clones that a remote knows: registered, copied, expired, forgotten; and what they acknowledge there."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from dvtool import ids
from dvtool.erasure import signed
from dvtool.errors import ConflictError, UsageError
from dvtool.formats import clone as formats
from dvtool.formats import log
from dvtool.repo import Repo
from dvtool.sharing import clones, reaching
from dvtool.storage.disk import Disk, as_ours
from dvtool.store import erasing
from dvtool.testing.audit import audit
from dvtool.worktree.session import Context
from tests.cli.calling import Dv
from tests.cli.sharing import change, clone, pushed, sound, there

DAY = clones.DAY
FIRST, SECOND = b"1" * 16, b"2" * 16


class At:
    """A clock that stands still."""

    def __init__(self, now):
        self._now = now

    def now(self):
        return self._now


class ReadOnly(Disk):
    """A disk on which nothing can be written at a place."""

    def __init__(self, place):
        self.place = f"{place}/"

    def _refuse(self, path):
        if path.startswith(self.place):
            raise as_ours(OSError(errno.EACCES, os.strerror(errno.EACCES)), path)

    def link(self, source, target):
        self._refuse(target)
        super().link(source, target)

    def rename(self, source, target):
        self._refuse(target)
        super().rename(source, target)


def remote(dv, **context):
    """The remote of a repository, opened."""
    found = reaching.reach(Repo.open(str(dv.root), Context(**context)).workspace)
    found.open()
    return found


def me(dv):
    return clones.me(Repo.open(str(dv.root)).workspace).hex()


def known(dv, **options):
    """The clones that the remote knows, by id."""
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return {each["id"]: each for each in dv("erasure", "clones", *arguments, "--json").json}


def acks(dv):
    top = dv.root.parent / "remote" / "acks"
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def erase(store, erasure, *, located=True, until=log.FINISHED):
    """Write into a log what an erasure of nothing writes; return the id by which it was announced."""
    planned = erasing.announce(store, erasure, b"sealed", ())
    for phase in (log.ERASED, log.FINISHED)[: until // 2]:
        locator = b"sealed" if located else b""
        action = log.Erasure(erasure=erasure, phase=phase, planned=planned, locator=locator)
        store.log.append("erase", lambda _state, action=action: [action])
        store.refresh()
    return planned


def followed(dv, *erasures):
    """Have a repository know erasures, as if it had followed them."""
    for each in erasures:
        erase(Repo.open(str(dv.root)).workspace.session.store, each, located=False)


def waiting(dv, erasure=FIRST, **context):
    return [each.id.hex() for each in clones.waiting(remote(dv, **context).open(), erasure)]


def is_located(dv, erasure=FIRST):
    return remote(dv).open().state.locators.get(erasure) is not None


# ------------------------------------------------------------------------------------------------------- registered


def test_the_first_push_registers_by_its_own_entry(one):
    one("push")
    store = remote(one).open()
    assert store.state.number == 1
    assert [each.hex() for each in (found.id for found in clones.registered(store))] == [me(one)]
    pushed(one, "more")
    assert remote(one).open().state.number == 2
    assert list(known(one)) == [me(one)]


def test_a_registration_says_nothing_of_person_or_machine(one):
    one("push")
    found = clones.registered(remote(one).open())[0]
    assert (found.name, found.author, found.expires, found.sections) == ("", "", 0, {})


def test_a_clone_is_called_what_its_user_says(one):
    one("config", "clone.name", "big machine")
    one("push")
    assert known(one)[me(one)]["name"] == "big machine"
    assert "big machine" in one("erasure", "clones").text


def test_a_name_that_is_too_long_is_refused_before_anything_is_sent(one):
    one("config", "clone.name", "x" * 2000)
    one("push", code=2)
    assert remote(one).open().state.number == 0


def test_a_clone_registers_once_and_then_a_fetch_writes_nothing(one, two):
    assert set(known(one)) == {me(one), me(two)}
    number = remote(one).open().state.number
    two("fetch")
    two("pull")
    assert remote(one).open().state.number == number
    pushed(one, "more")
    two("fetch")
    assert remote(one).open().state.number == number + 1
    sound(two)
    assert one("fsck", "--remote", "origin", "--json").json["clean"]


def test_registrations_stay_at_the_remote(one, two):
    pushed(one, "more")
    two("pull")
    for dv in (one, two):
        assert not Repo.open(str(dv.root)).workspace.session.store.refresh().refs.items(b"clones/")
    shutil.rmtree(one.root.parent / "remote")
    one("remote", "set-url", "origin", "../remote")
    one("remote", "remove", "origin")
    one("remote", "add", "origin", "../remote", "--plain-keys")
    one("push")
    assert list(known(one)) == [me(one)]


def test_a_removal_registers_nobody(one, two):
    one("branch", "side")
    one("push", "origin", "side")
    three = clone(one, "three")
    before = remote(one).open().state.number
    (three.root / ".dv" / "clone").unlink()
    three("push", "origin", "side", "--delete")
    assert remote(one).open().state.number == before + 2
    assert len(known(one)) == 4


def test_a_copy_registers_by_an_id_of_its_own(one, two):
    shutil.copytree(two.root, two.root.parent / "copy", symlinks=True)
    copy = Dv(two.root.parent / "copy", one._capture)
    pushed(one, "more")
    copy("pull")
    two("pull")
    assert len({me(one), me(two), me(copy)}) == 3
    assert set(known(one)) == {me(one), me(two), me(copy)}


def test_a_clone_that_was_moved_is_the_same(one, two):
    before = me(two)
    os.rename(two.root, two.root.parent / "moved")
    moved = Dv(two.root.parent / "moved", one._capture)
    pushed(one, "more")
    moved("pull")
    assert me(moved) == before
    assert len(known(one)) == 2


def test_worktrees_of_a_store_are_one_clone(one, two):
    two("worktree", "add", "../other", "-b", "side")
    assert me(Dv(two.root.parent / "other", one._capture)) == me(two)


def test_who_may_only_read_is_not_registered_and_not_told_off(one, tmp_path):
    one("push")
    context = Context(disk=ReadOnly(tmp_path / "remote"))
    found = Repo.clone(str(tmp_path / "remote"), str(tmp_path / "reader"), context)
    assert found.written == 3
    assert list(known(one)) == [me(one)]
    change(one, "more")
    one("push")
    assert Repo.open(str(tmp_path / "reader"), context).fetch().refs
    assert list(known(one)) == [me(one)]
    reader = Dv(tmp_path / "reader", one._capture)
    pushed(one, "still more")
    reader("fetch")
    assert set(known(one)) == {me(one), me(reader)}


def test_a_fetch_writes_nothing_where_two_writers_are_not_kept_apart(one, two):
    before = set(known(one))
    (two.root / ".dv" / "clone").unlink()
    two("remote", "remove", "origin")
    two("remote", "add", "origin", "../remote", "--single-writer")
    two("fetch")
    assert set(known(one)) == before
    change(two, "more")
    two("push")
    assert set(known(one)) == before | {me(two)}


def test_clones_that_register_at_once_are_all_known(one, tmp_path):
    one("push")
    place = str(tmp_path / "remote")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: Repo.clone(place, str(tmp_path / f"clone-{number}")), range(4)))
    found = [me(Dv(tmp_path / f"clone-{number}", None)) for number in range(4)]
    assert set(known(one)) == {me(one), *found}
    audit(remote(one).open())


def test_while_an_erasure_is_under_way_nobody_registers_and_a_fetch_goes_on(one, two, tmp_path):
    erase(remote(one).open(), FIRST, until=log.ERASING)
    three = clone(one, "three")
    assert set(known(one)) == {me(one), me(two)}
    assert me(three) not in known(one)


def test_a_record_that_is_lost_at_the_remote_comes_back_from_its_clone(one):
    one("push")
    state = remote(one).open().state
    store = remote(one).open()
    found = store.segments.find(state.ref(f"clones/{me(one)}"))
    os.unlink(one.root.parent / "remote" / found[0].pack(found[1].pack).file)
    report = one("fsck", "--remote", "origin", "--repair", "--json").json
    assert report["clean"]
    assert list(known(one)) == [me(one)]


def test_a_ref_that_names_another_clone_is_damage(one, two):
    store = remote(one).open()
    names = [formats.ref_name(each.id) for each in clones.registered(store)]
    move = log.MoveRef(name=names[0], old=store.state.ref(names[0]), new=store.state.ref(names[1]))
    store.log.append("x", lambda _state: [move])
    report = one("fsck", "--remote", "origin", "--json", code=20).json
    assert report["objects"][0]["kind"] == "clone record"
    one("erasure", "clones", code=21)


# --------------------------------------------------------------------------------------------------------- expiring


def test_a_clone_that_expires_is_awaited_until_then(one):
    one("push")
    two = clone(one, "two", "--expires", "2")
    found = known(one)[me(two)]
    assert (found["state"], found["here"]) == ("active", False)
    erase(remote(one).open(), FIRST)
    start = clones.registered(remote(one).open())[1].registered
    assert set(waiting(one, clock=At(start + 2 * DAY - 1))) == {me(one), me(two)}
    assert waiting(one, clock=At(start + 2 * DAY)) == [me(one)]


def test_the_environment_says_for_how_long_a_clone_is_there(one, monkeypatch):
    one("push")
    monkeypatch.setenv(clones.EXPIRES, "1")
    two = clone(one, "two")
    start, end = (known(one)[me(two)][name] for name in ("registered", "expires"))
    assert end > start
    monkeypatch.setenv(clones.EXPIRES, "0")
    three = clone(one, "three", "--expires", "3")
    assert known(one)[me(three)]["expires"] is None


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "36501", "9" * 99, "\u0663"])
def test_an_environment_that_says_no_number_of_days_is_told_before_anything_is_done(one, monkeypatch, text):
    one("push")
    monkeypatch.setenv(clones.EXPIRES, text)
    one("clone", "../remote", "../two", code=2)
    assert not (one.root.parent / "two").exists()
    change(one, "more")
    one("push", code=2)
    assert remote(one).open().state.number == 1


@pytest.mark.parametrize("days", ["0", "-1", "x", "36501"])
def test_a_clone_cannot_expire_at_no_time(one, days):
    one("push")
    one("clone", "../remote", "../two", "--expires", days, code=2)
    assert not (one.root.parent / "two").exists()


def test_a_clone_that_has_expired_registers_again_when_it_comes_back(one):
    one("push")
    two = clone(one, "two", "--expires", "1")
    late = At(clones.registered(remote(one).open())[1].registered + 5 * DAY)
    pushed(one, "more")
    Repo.open(str(two.root), Context(clock=late)).fetch()
    found = {each.id.hex(): each for each in clones.registered(remote(one).open())}
    assert found[me(two)].registered == late.now()
    assert found[me(two)].expires == late.now() + DAY


# ---------------------------------------------------------------------------------------------------- acknowledging


def test_an_erasure_waits_for_all_clones_until_they_acknowledge(one, two):
    followed(one, FIRST)
    erase(remote(one).open(), FIRST)
    assert set(waiting(one)) == {me(one), me(two)}
    pushed(one, "more")
    assert waiting(one) == [me(two)]
    two("fetch")
    assert waiting(one) == [], "it follows before it fetches"
    assert acks(one) == sorted(f"{each}/{FIRST.hex()}" for each in (me(one), me(two)))


def test_the_last_who_acknowledges_ends_the_locator(one, two):
    planned = erase(remote(one).open(), FIRST)
    for dv in (one, two):
        assert is_located(one)
        followed(dv, FIRST)
        found = remote(dv)
        assert clones.acknowledge(found, clones.due(found.session.store.refresh(), found.open().state)) == [FIRST]
    assert not is_located(one)
    assert log.step(remote(one).open().state.erasures.get(FIRST)) == (log.FINISHED, planned)
    assert one("fsck", "--remote", "origin", "--json").json["clean"]


def test_a_locator_stays_while_the_erasure_is_not_finished(one):
    one("push")
    followed(one, FIRST)
    erase(remote(one).open(), FIRST, until=log.ERASED)
    found = remote(one)
    assert clones.acknowledge(found, [FIRST]) == [FIRST]
    assert is_located(one)


def test_a_locator_ends_in_no_other_way_than_finished(one):
    one("push")
    store = remote(one).open()
    planned = erase(store, FIRST)
    for phase, named, locator in [
        (log.FINISHED, bytes(16), b""),
        (log.ERASED, planned, b""),
        (log.ABORTED, planned, b""),
    ]:
        action = log.Erasure(erasure=FIRST, phase=phase, planned=named, locator=locator)
        with pytest.raises(ConflictError):
            store.log.append("x", lambda _state, action=action: [action])
    assert is_located(one)


def test_what_was_acknowledged_is_not_said_twice(one, two):
    followed(one, FIRST)
    erase(remote(one).open(), FIRST)
    assert clones.acknowledge(remote(one), [FIRST]) == [FIRST]
    shutil.rmtree(one.root.parent / "remote" / "acks")
    assert clones.acknowledge(remote(one), [FIRST]) == []
    assert acks(one) == []


def test_an_erasure_that_is_carried_out_anew_in_a_restored_store_is_acknowledged_anew(one, two):
    kept = one.root.parent / "kept"
    shutil.copytree(one.root.parent / "remote", kept)
    followed(one, FIRST)
    erase(remote(one).open(), FIRST)
    clones.acknowledge(remote(one), [FIRST])
    shutil.rmtree(one.root.parent / "remote")
    os.rename(kept, one.root.parent / "remote")
    one("remote", "set-url", "origin", "../remote")
    erase(remote(one).open(), FIRST)
    assert clones.acknowledge(remote(one), [FIRST]) == [FIRST]
    assert waiting(one) == [me(two)]


def test_an_erasure_that_nobody_waits_for_any_more_is_not_acknowledged(one):
    one("push")
    followed(one, FIRST)
    erase(remote(one).open(), FIRST, located=False)
    pushed(one, "more")
    assert acks(one) == []


def test_what_is_not_finished_here_is_not_due(one):
    one("push")
    erase(remote(one).open(), FIRST)
    here = Repo.open(str(one.root)).workspace.session.store
    assert clones.due(here.refresh(), remote(one).open().state) == []
    erase(here, FIRST, until=log.ERASED)
    assert clones.due(here.refresh(), remote(one).open().state) == []


@pytest.mark.parametrize("forged", [b"", b"x", bytes(200), bytes(100_000)])
def test_what_somebody_puts_in_the_place_of_an_acknowledgement_does_not_count(one, forged):
    one("push")
    followed(one, FIRST)
    erase(remote(one).open(), FIRST)
    place = one.root.parent / "remote" / formats.file_name(bytes.fromhex(me(one)), FIRST)
    place.parent.mkdir()
    place.write_bytes(forged)
    assert waiting(one) == [me(one)]
    assert clones.acknowledge(remote(one), [FIRST]) == [FIRST]
    assert waiting(one) == []


def test_an_acknowledgement_under_another_name_does_not_count(one, two):
    followed(one, FIRST)
    for each in (FIRST, SECOND):
        erase(remote(one).open(), each)
    clones.acknowledge(remote(one), [FIRST])
    top = one.root.parent / "remote" / "acks"
    own = top / me(one) / FIRST.hex()
    shutil.copy(own, top / me(one) / SECOND.hex())
    (top / me(two)).mkdir()
    shutil.copy(own, top / me(two) / FIRST.hex())
    assert waiting(one) == [me(two)]
    assert set(waiting(one, SECOND)) == {me(one), me(two)}


def test_what_else_lies_beside_acknowledgements_is_passed_over(one):
    one("push")
    top = one.root.parent / "remote" / "acks"
    (top / "key-change").write_bytes(b"x")
    (top / me(one)).mkdir()
    (top / me(one) / "..x").write_bytes(b"x")
    (top / ("0" * 32)).write_bytes(b"x")
    erase(remote(one).open(), FIRST)
    assert waiting(one) == [me(one)]
    assert one("fsck", "--remote", "origin", "--json").json["clean"]
    one("gc", "--remote", "origin")
    assert acks(one) == sorted(["0" * 32, f"{me(one)}/..x", "key-change"])


def test_a_remote_that_takes_no_acknowledgement_keeps_no_fetch_from_its_end(one, two, tmp_path):
    followed(two, FIRST)
    erase(remote(one).open(), FIRST)
    pushed(one, "more")
    told: list[str] = []
    repo = Repo.open(str(two.root), Context(disk=ReadOnly(tmp_path / "remote" / "acks"), tell=told.append))
    assert repo.fetch().refs
    assert any("does not know what this clone has followed" in each for each in told)
    assert me(two) in waiting(one)


def test_two_who_are_the_last_at_once_end_the_locator_once(one, two):
    for dv in (one, two):
        followed(dv, FIRST)
    erase(remote(one).open(), FIRST)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda dv: clones.acknowledge(remote(dv), [FIRST]), (one, two)))
    assert waiting(one) == []
    one("gc", "--remote", "origin")
    assert not is_located(one)


# ------------------------------------------------------------------------------------------------------- forgetting


def test_a_clone_that_is_gone_is_forgotten_by_somebody(one, two):
    followed(one, FIRST)
    erase(remote(one).open(), FIRST)
    clones.acknowledge(remote(one), [FIRST])
    gone = one("erasure", "forget-clone", me(two)[:8], "--json").json
    assert [(each["id"], each["state"], each["waiting"]) for each in gone] == [(me(two), "forgotten", [])]
    found = known(one)[me(two)]
    assert found["forgotten"] is not None
    assert found["author"] == os.environ["DV_AUTHOR"]
    assert not is_located(one), "nobody else was waited for"
    again = one("erasure", "forget-clone", me(two), "--json").json[0]
    assert again["forgotten"] == found["forgotten"]


def test_a_forgotten_clone_that_comes_back_registers_again(one, two):
    one("erasure", "forget-clone", me(two))
    assert "forgotten" in one("erasure", "clones").text
    pushed(one, "more")
    two("fetch")
    found = known(one)[me(two)]
    assert (found["state"], found["forgotten"], found["author"]) == ("active", None, None)


def test_a_clone_is_forgotten_at_all_remotes_or_at_one(one, two):
    two("remote", "add", "backup", "../backup", "--plain-keys")
    two("push", "backup")
    one("remote", "add", "backup", "../backup")
    found = one("erasure", "forget-clone", me(two), "--remote", "backup", "--json").json
    assert [each["remote"] for each in found] == ["backup"]
    assert known(one, remote="origin")[me(two)]["state"] == "active"
    found = one("erasure", "forget-clone", me(two), "--json").json
    assert [each["remote"] for each in found] == ["backup", "origin"]


@pytest.mark.parametrize(("word", "code"), [("x", 2), ("", 2), ("abc", 2), ("0" * 33, 2), ("0" * 32, 10), ("0000", 10)])
def test_a_word_that_means_no_clone_is_told(one, word, code):
    one("push")
    one("erasure", "forget-clone", word, code=code)


def test_a_word_that_means_several_clones_is_told(one):
    one("push")
    store = remote(one).open()
    for last in (b"x", b"y"):
        found = formats.Registration(id=b"\xab" * 15 + last, nonce=bytes(32), registered=1, expires=0)
        with store.transaction() as transaction:
            value = transaction.put_object(ids.CLONE, formats.encode(found))
            move = log.MoveRef(name=formats.ref_name(found.id), old=None, new=value)
            transaction.commit("x", lambda _state, move=move: [move])
    error = one("erasure", "forget-clone", "abab", "--json", code=2).error
    assert len(error["items"]) == 2


def test_without_a_remote_there_are_no_clones_to_ask_for(data):
    data("erasure", "clones", code=10)
    data("erasure", "forget-clone", "abcd", code=10)


def test_a_remote_that_cannot_be_asked_is_told_of(one, two):
    one("remote", "add", "away", "../away")
    done = one("erasure", "clones", "--json")
    assert len(done.json) == 2
    assert "away was not asked" in done.told
    one("erasure", "clones", "--remote", "away", code=10)


def test_who_has_forgotten_a_clone_is_taken_out_with_their_name(one, two):
    one("erasure", "forget-clone", me(two))
    store = remote(one).open()
    name = f"clones/{me(two)}"
    found = signed.rewritten(store, name, store.state.ref(name), lambda _author: "", lambda record: record)
    assert found is not None
    assert (found[0], formats.decode(found[1]).author) == (ids.CLONE, "")
    assert signed.rewritten(store, name, store.state.ref(name), lambda author: author, lambda record: record) is None
    own = f"clones/{me(one)}"
    assert signed.rewritten(store, own, store.state.ref(own), lambda _author: "x", lambda record: record) is None


# --------------------------------------------------------------------------------------------- collected, and shown


def test_a_collection_keeps_what_is_awaited_and_removes_the_rest(one, two):
    three = clone(one, "three")
    for dv in (one, two):
        followed(dv, FIRST, SECOND)
    for each in (FIRST, SECOND):
        erase(remote(one).open(), each)
    for dv in (one, two):
        clones.acknowledge(remote(dv), [FIRST, SECOND])
    one("gc", "--remote", "origin", "--dry-run")
    assert len(acks(one)) == 4
    one("gc", "--remote", "origin")
    assert len(acks(one)) == 4, "the third is awaited still"
    one("erasure", "forget-clone", me(two))
    one("gc", "--remote", "origin")
    assert {name[:32] for name in acks(one)} == {me(one)}
    one("erasure", "forget-clone", me(three))
    one("gc", "--remote", "origin")
    assert acks(one) == []
    assert not is_located(one)
    assert known(one)[me(three)]["state"] == "forgotten", "that it was, and who said so, stays on record"
    there(one)


def test_a_collection_takes_expired_clones_off_the_record(one):
    one("push")
    two = clone(one, "two", "--expires", "1")
    late = At(clones.registered(remote(one).open())[1].registered + 5 * DAY)
    clones.tidy(remote(one, clock=late).open())
    assert list(known(one)) == [me(one)]
    pushed(one, "more")
    two("fetch")
    assert set(known(one)) == {me(one), me(two)}


def test_a_clone_that_comes_back_after_a_collection_says_again_what_it_has_followed(one):
    one("push")
    two = clone(one, "two", "--expires", "1")
    followed(two, FIRST)
    erase(remote(one).open(), FIRST)
    clones.acknowledge(remote(two), [FIRST])
    late = At(clones.registered(remote(one).open())[1].registered + 5 * DAY)
    clones.tidy(remote(one, clock=late).open())
    assert acks(one) == []
    pushed(two, "more")
    assert waiting(one) == [me(one)]


def test_an_erasure_shows_who_has_not_acknowledged_it(one, two):
    two("config", "clone.name", "laptop")
    (two.root / ".dv" / "clone").unlink()
    pushed(one, "more")
    two("pull")
    one("erase", "data/sub", "--yes")
    shown = one("erasure", "show", "--json").json
    laptop = {"remote": "origin", "id": me(two), "name": "laptop"}
    assert laptop in shown["clones"]
    assert f"clone {me(two)[:8]} (laptop) of origin: it has not acknowledged this" in shown["outstanding"]
    assert f"awaited by E-{shown['id'][:8]}" in one("erasure", "clones").text
    os.rename(one.root.parent / "remote", one.root.parent / "away")
    shown = one("erasure", "show", "--json").json
    assert shown["clones"] == []
    assert any(each.startswith("clones of origin: it was not asked") for each in shown["outstanding"])


def test_days_that_no_clone_can_have_are_refused(one):
    one("push")
    workspace = Repo.open(str(one.root)).workspace
    for days in (-1, clones.LONGEST + 1):
        with pytest.raises(UsageError):
            clones.set_lifetime(workspace, days)


def test_a_record_is_written_with_a_new_nonce_each_time(one, two):
    before = {each.id: each for each in clones.registered(remote(one).open())}
    one("erasure", "forget-clone", me(two))
    after = {each.id: each for each in clones.registered(remote(one).open())}
    own = bytes.fromhex(me(two))
    assert before[own].nonce != after[own].nonce
    assert msgspec.structs.replace(after[own], nonce=before[own].nonce, forgotten=0, author="") == before[own]
