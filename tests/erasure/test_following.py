"""What one person erased goes from every clone at its next contact, however far that is behind."""

import functools
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool.effects import Silence
from dvtool.erasure import asking, certificate, keyring, locating
from dvtool.erasure.steps import Steps
from dvtool.erasure.targets import Targets
from dvtool.errors import ConflictError, IntegrityError
from dvtool.formats import erasure as formats
from dvtool.formats import repokey
from dvtool.repo import Repo
from dvtool.sharing import reaching
from dvtool.store import erasing
from dvtool.testing import attacker
from dvtool.testing.canary import Wanted
from dvtool.testing.recording import RecordingDisk
from dvtool.testing.volume import Survival
from dvtool.worktree.session import Context
from tests.faults.conftest import noise, put

WORD = "Zacharias-Quandt"
TEXT = b"diagnosis of the one who asked to be forgotten, born 1962-04-17, in Aachen\n"
WHO = f"data/people/{WORD}"
OTHER = "data/people/p3"
AWAY = formats.Place(name="clones", done=False, left=("some have not followed yet",))


def build(base):
    """A repository with a person in it, its remote, and three clones that have all of it; one of them lazy."""
    os.makedirs(f"{base}/one")
    root = f"{base}/one"
    for number in range(6):
        put(f"{root}/data/people/p{number}/record.txt", b"nobody in particular, number %d\n" % number)
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("before")
    repo.create_tag("clean")
    put(f"{root}/{WHO}/record.txt", TEXT)
    put(f"{root}/{WHO}/scan.bin", noise(5, 300_000))
    repo.commit("with", everything=True)
    repo.create_tag("v1")
    put(f"{root}/{WHO}/record.txt", TEXT + b"and more\n")
    put(f"{root}/data/people/p7/record.txt", b"came later\n")
    repo.commit("later", everything=True)
    repo.add_remote("origin", f"{base}/remote", protection=repokey.Plain())
    repo.push("origin")
    Repo.clone(f"{base}/remote", f"{base}/two", Context())
    Repo.clone(f"{base}/remote", f"{base}/lazy", Context(), lazy=True)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
        base = os.path.realpath(tmp_path_factory.mktemp("following"))
        build(base)
    return base


@pytest.fixture
def base(made, monkeypatch):
    """A copy at the place at which it was made: clones know where their remote is."""
    kept = f"{made}-kept"
    if not os.path.isdir(kept):
        shutil.copytree(made, kept, symlinks=True)
    shutil.rmtree(made)
    shutil.copytree(kept, made, symlinks=True)
    monkeypatch.setenv("DV_AUTHOR", "Test Author <test@example.org>")
    return made


def at(base, name):
    return Repo.open(f"{base}/{name}", Context(cwd=f"{base}/{name}"))


def store_of(repo):
    repo.workspace.session.store.refresh()
    return repo.workspace.session.store


def erase_there(base, *patterns, by="one", places=(AWAY,), erasure=None, key=None, **options):
    """Erase at the remote, as a clone does that knows what; return the id of the erasure."""
    workspace = at(base, by).workspace
    there = reaching.reach(workspace).open()
    entropy = there.entropy
    request = asking.Request(
        erasure=erasure or entropy.bytes(16),
        key=key or entropy.bytes(32),
        targets=Targets(patterns=patterns),
        **options,
    )
    steps = Steps(there, request, Silence(), certified=functools.partial(certificate.certified, workspace))
    plan = steps.plan()
    planned = steps.announce(plan)
    steps.commit(planned, plan)
    erasing.destroy(there)
    steps.finish(planned, (formats.Place(name="there", done=True), *places), keep=bool(places))
    return request.erasure


def tips(state, *tops):
    return {name: value for name, value in state.ref_names("") if name.startswith(tops or ("heads/", "tags/"))}


WANTED = Wanted(
    contents=(TEXT, TEXT + b"and more\n", noise(5, 300_000)),
    files=((f"{WHO}/record.txt", TEXT + b"and more\n"), (f"{WHO}/scan.bin", noise(5, 300_000))),
    words=(WORD, f"{WHO}/record.txt", "scan.bin"),
)


def left_in(base, name):
    """What an attacker finds of the person in a clone."""
    return attacker.search(f"{base}/{name}", WANTED)


def snapshots(state, *tops):
    """The branches and tags of a store, by their names; those of the remote that a clone knows of, by its."""
    found = {}
    for name, value in state.ref_names(""):
        if name.startswith(("remotes/origin/", "tags/")) and "remotes/origin/" in tops:
            found[name.replace("remotes/origin/", "heads/")] = value
        elif name.startswith(("heads/", "tags/")) and not tops:
            found[name] = value
    return found


def there(base, by="one"):
    return reaching.reach(at(base, by).workspace).open()


def require_followed(base, name, erasure):
    """The clone is as the remote, and nothing is left in it."""
    repo = at(base, name)
    state = store_of(repo).state
    assert snapshots(state, "remotes/origin/") == snapshots(there(base).state)
    (item,) = [each for each in repo.erasures() if each.id == erasure.hex()]
    assert (item.state, item.outstanding) == ("finished", ())
    assert repo.verify_erasure(erasure.hex(), deep=True).problems == ()
    assert left_in(base, name) == ()
    assert Repo.fsck(f"{base}/{name}").clean
    assert not os.path.lexists(f"{base}/{name}/.dv/erasing")
    assert not os.path.lexists(f"{base}/{name}/.dv/erasure-keys")


@pytest.mark.parametrize("verb", ["fetch", "pull", "push", "gc"])
@pytest.mark.parametrize("name", ["one", "two", "lazy"])
def test_every_clone_follows_at_its_next_contact(base, name, verb):
    assert left_in(base, name)
    old = at(base, name).status().snapshot
    erasure = erase_there(base, WHO)
    repo = at(base, name)
    result = repo.gc(remote="origin") if verb == "gc" else getattr(repo, verb)()
    (item,) = (result.fetched if verb == "pull" else result).followed
    assert (item.erasure, item.known, item.snapshots, item.outstanding) == (erasure.hex(), False, 2, ())
    require_followed(base, name, erasure)
    assert not os.path.lexists(f"{base}/{name}/{WHO}")
    assert at(base, name).status().clean
    assert at(base, name).show(old).superseded_by == at(base, name).status().snapshot
    for again in ("fetch", "pull", "push"):
        result = getattr(at(base, name), again)()
        assert (result.fetched if again == "pull" else result).followed == ()


def test_what_only_a_clone_has_goes_with_it_or_stays(base):
    two = at(base, "two")
    put(f"{base}/two/data/people/p8/record.txt", b"only here\n")
    two.commit("still with", everything=True)
    put(f"{base}/two/{WHO}/late.txt", TEXT)
    with_late = two.commit("more", everything=True).snapshot
    two.create_branch("aside", "clean")
    two.add_worktree(f"{base}/second", "aside")
    second = Repo.open(f"{base}/second", Context(cwd=f"{base}/second"))
    put(f"{base}/second/data/people/p9/record.txt", b"nothing of it\n")
    kept = second.commit("without", everything=True).snapshot
    put(f"{base}/second/{WHO}/again.txt", TEXT + b"again\n")
    second.add(["data"])
    put(f"{base}/two/{WHO}/staged.txt", TEXT + b"staged\n")
    put(f"{base}/two/data/people/p9/record.txt", b"staged as well\n")
    at(base, "two").add(["data"])
    erasure = erase_there(base, WHO)
    result = at(base, "two").push()
    (item,) = result.followed
    assert item.snapshots == 4
    assert item.worktree == 5
    require_followed(base, "two", erasure)
    assert attacker.search(f"{base}/two", WANTED, stores=(f"{base}/remote",)) == ()
    state = store_of(at(base, "two")).state
    assert state.ref("heads/aside") == bytes.fromhex(kept)
    assert state.standing(bytes.fromhex(with_late)) == there(base).state.ref("heads/main")
    assert at(base, "two").status().staged.added == ("data/people/p9/record.txt",)
    assert not os.path.lexists(f"{base}/second/{WHO}")
    assert os.path.lexists(f"{base}/second/data/people/p9/record.txt")
    lazy = at(base, "lazy")
    lazy.pull()
    assert lazy.status().snapshot == at(base, "two").status().snapshot
    require_followed(base, "lazy", erasure)


def test_a_new_clone_takes_the_erasures_with_it(base):
    old = at(base, "one").status().snapshot
    erasure = erase_there(base, WHO)
    second = erase_there(base, OTHER)
    result = Repo.clone(f"{base}/remote", f"{base}/three", Context())
    assert {each.erasure for each in result.fetched.followed} == {erasure.hex(), second.hex()}
    assert all(each.known for each in result.fetched.followed)
    three = at(base, "three")
    assert {(each.id, each.state) for each in three.erasures()} == {
        (erasure.hex(), "finished"),
        (second.hex(), "finished"),
    }
    require_followed(base, "three", erasure)
    assert three.show(old).superseded_by == result.snapshot
    assert three.push().followed == ()


def test_a_clone_with_nothing_of_it_knows_and_says_what_it_cannot_tell(base, tmp_path):
    root = f"{tmp_path}/early"
    os.makedirs(root)
    put(f"{root}/data/a.txt", b"first\n")
    repo = Repo.init(root)
    repo.add(["data"])
    repo.commit("first")
    repo.add_remote("origin", f"{tmp_path}/place", protection=repokey.Plain())
    repo.push("origin")
    for name in ("quiet", "busy"):
        Repo.clone(f"{tmp_path}/place", f"{tmp_path}/{name}", Context())
    put(f"{tmp_path}/busy/data/{WORD}.txt", TEXT)
    at(tmp_path, "busy").commit("only here", everything=True)
    put(f"{root}/{WHO}/record.txt", TEXT)
    repo.commit("with", everything=True)
    repo.push("origin")
    erase_there(tmp_path, WHO, by="early")
    (quiet,) = at(tmp_path, "quiet").fetch().followed
    assert (quiet.known, quiet.outstanding) == (True, ())
    (busy,) = at(tmp_path, "busy").fetch().followed
    assert busy.known
    assert "no remote has" in " ".join(busy.outstanding)
    (item,) = at(tmp_path, "busy").erasures()
    assert item.outstanding == busy.outstanding


def test_several_erasures_are_followed_in_the_order_in_which_they_were_made(base):
    erase_there(base, WHO)
    at(base, "lazy").pull()
    put(f"{base}/one/data/people/p10/record.txt", b"of later\n")
    at(base, "one").pull()
    at(base, "one").commit("since", everything=True)
    at(base, "one").push()
    erase_there(base, "data/people/p10", OTHER)
    erase_there(base, "data/people/p7/**")
    two = at(base, "two")
    assert [each.known for each in two.pull().fetched.followed] == [False, False, False]
    assert len(at(base, "lazy").pull().fetched.followed) == 2
    for name in ("two", "lazy"):
        assert snapshots(store_of(at(base, name)).state, "remotes/origin/") == snapshots(there(base).state)
        assert at(base, name).status().snapshot == there(base).state.ref("heads/main").hex()
    assert not os.path.lexists(f"{base}/two/{OTHER}")


def test_a_clone_that_cannot_follow_yet_is_refused_and_told_why(base):
    erase_there(base, WHO)
    two = at(base, "two")
    two.add_hold([WHO], ground="in dispute")
    for verb in ("push", "fetch", "pull"):
        with pytest.raises(ConflictError, match="is held here") as caught:
            getattr(at(base, "two"), verb)()
        assert "dv hold release" in caught.value.next
    assert at(base, "two").status().pending_erasures == ()
    assert os.path.lexists(f"{base}/two/{WHO}/record.txt")
    two.release_holds([WHO])
    assert len(at(base, "two").push().followed) == 1


def test_who_has_something_of_what_nobody_can_open_any_more_is_refused(base):
    erase_there(base, WHO, places=())
    for verb in ("push", "fetch", "pull"):
        with pytest.raises(ConflictError, match="cannot follow") as caught:
            getattr(at(base, "two"), verb)()
        assert "dv archive" in caught.value.next
    assert Repo.clone(f"{base}/remote", f"{base}/three", Context()).fetched.followed[0].known


def test_what_goes_on_keeps_a_clone_from_following_and_so_from_pushing(base):
    erase_there(base, WHO)
    two = at(base, "two")
    held = Repo.open(f"{base}/two", Context(cwd=f"{base}/two", wait=0.1))
    with two.workspace.session.lock(), pytest.raises(ConflictError):
        held.push()
    assert at(base, "two").status().pending_erasures == ()
    assert len(at(base, "two").push().followed) == 1


def test_a_clone_that_was_put_back_from_a_backup_follows_again(base):
    shutil.copytree(f"{base}/two", f"{base}/backup", symlinks=True)
    erasure = erase_there(base, WHO)
    at(base, "two").pull()
    shutil.rmtree(f"{base}/two/.dv")
    shutil.copytree(f"{base}/backup/.dv", f"{base}/two/.dv", symlinks=True)
    shutil.copytree(f"{base}/backup/data", f"{base}/two/data", symlinks=True, dirs_exist_ok=True)
    assert left_in(base, "two")
    (item,) = at(base, "two").pull().fetched.followed
    assert item.worktree == 2
    require_followed(base, "two", erasure)


def test_a_store_that_was_put_back_alone_follows_again_although_the_remote_has_no_news(base):
    shutil.copytree(f"{base}/two/.dv/store", f"{base}/backup", symlinks=True)
    erasure = erase_there(base, WHO)
    at(base, "two").pull()
    shutil.rmtree(f"{base}/two/.dv/store")
    shutil.copytree(f"{base}/backup", f"{base}/two/.dv/store", symlinks=True)
    os.unlink(f"{base}/two/.dv/cache/head")
    assert len(at(base, "two").fetch().followed) == 1
    require_followed(base, "two", erasure)


def test_a_remote_that_was_put_back_from_a_backup_is_noticed_and_brings_nothing_back(base):
    shutil.copytree(f"{base}/remote", f"{base}/backup", symlinks=True)
    erase_there(base, WHO)
    at(base, "two").pull()
    shutil.rmtree(f"{base}/remote")
    shutil.copytree(f"{base}/backup", f"{base}/remote", symlinks=True)
    for verb in ("fetch", "pull", "push"):
        with pytest.raises(IntegrityError, match="rolled back") as caught:
            getattr(at(base, "two"), verb)()
        assert "lacks an erasure" in caught.value.why
    at(base, "two").set_remote_url("origin", f"{base}/remote")
    for verb in ("fetch", "pull", "push"):
        with pytest.raises(ConflictError, match="erased here"):
            getattr(at(base, "two"), verb)()
    assert left_in(base, "two") == ()


def test_a_lazy_clone_brings_nothing_before_it_has_followed(base):
    erase_there(base, WHO)
    lazy = at(base, "lazy")
    for read in (lambda: b"".join(lazy.cat("HEAD:data/people/p1/record.txt")), lambda: lazy.get(["data/people/p1"])):
        with pytest.raises(ConflictError, match="others have erased") as caught:
            read()
        assert "dv fetch" in caught.value.next
    assert len(at(base, "lazy").fetch().followed) == 1
    assert b"".join(at(base, "lazy").cat("HEAD:data/people/p1/record.txt")) == b"nobody in particular, number 1\n"
    assert at(base, "lazy").get(["data/people/p1"]).files == 1
    assert left_in(base, "lazy") == ()


# ------------------------------------------------------------------------------------------------- made apart


def apart(base, name, targets, **options):
    """Erase in a clone while its remote cannot be reached."""
    os.rename(f"{base}/remote", f"{base}/away")
    try:
        return bytes.fromhex(at(base, name).erase(targets, **options).erasure)
    finally:
        os.rename(f"{base}/away", f"{base}/remote")


def carry(base, name, erasure):
    """Bring an erasure of a clone to the remote."""
    repo = at(base, name)
    key = keyring.keys(repo.workspace.session.layout.store())[erasure]
    locator, _key = locating.locator_of(store_of(repo).state, erasure, store_of(repo), [key])
    found = asking.request_of(erasure, key, locator)
    erase_there(
        base, *found.targets.patterns, by=name, erasure=erasure, key=key, copies=found.copies, keep_path=found.keep_path
    )


def test_two_erasures_that_were_made_apart_end_up_everywhere(base):
    put(f"{base}/two/data/people/p8/record.txt", b"only here\n")
    at(base, "two").commit("local", everything=True)
    first = erase_there(base, WHO)
    second = apart(base, "two", [OTHER])
    with pytest.raises(ConflictError, match="erased here") as caught:
        at(base, "two").fetch()
    assert "dv erasure resume" in caught.value.next
    assert {each.id for each in at(base, "two").erasures()} == {first.hex(), second.hex()}
    carry(base, "two", second)
    assert at(base, "two").push().refs
    for name in ("two", "one", "lazy"):
        at(base, name).pull()
        assert not os.path.lexists(f"{base}/{name}/{OTHER}")
        assert not os.path.lexists(f"{base}/{name}/{WHO}")
        assert at(base, name).status().snapshot == there(base).state.ref("heads/main").hex()
        require_followed(base, name, first)
        assert at(base, name).verify_erasure(second.hex(), deep=True).problems == ()


def test_two_erasures_of_the_same_come_to_what_the_remote_has(base):
    put(f"{base}/two/data/people/p8/record.txt", b"only here\n")
    at(base, "two").commit("local", everything=True)
    first = erase_there(base, WHO)
    second = apart(base, "two", ["data/people/p3", f"{WHO}/scan.bin"])
    with pytest.raises(ConflictError, match="erased here"):
        at(base, "two").fetch()
    carry(base, "two", second)
    before = at(base, "two").status().snapshot
    # Each file is counted under the erasure that took it first, in each place.
    at(base, "two").fetch()
    assert at(base, "two").status().clean
    assert at(base, "two").push().refs
    assert at(base, "two").show(before).snapshot == there(base).state.ref("heads/main").hex()
    for name in ("two", "one", "lazy"):
        at(base, name).pull()
        require_followed(base, name, first)
        assert at(base, name).verify_erasure(second.hex(), deep=True).problems == ()
        assert at(base, name).status().snapshot == there(base).state.ref("heads/main").hex()
    assert at(base, "two").fetch().refs == ()


def test_runs_that_two_erasures_met_apart_come_to_what_the_remote_has(base):
    command = [
        sys.executable,
        "-m",
        "dvtool.cli.main",
        "run",
        "--name",
        "read",
        "--in",
        "data/people=train",
        "--",
        "true",
    ]
    subprocess.run(command, cwd=f"{base}/one", check=True, capture_output=True)
    at(base, "one").push()
    at(base, "two").pull()
    first = erase_there(base, WHO)
    second = apart(base, "two", [OTHER])
    with pytest.raises(ConflictError, match="erased here"):
        at(base, "two").fetch()
    carry(base, "two", second)
    for name in ("two", "one", "lazy"):
        at(base, name).pull()
        assert at(base, name).verify_erasure(first.hex(), deep=True).problems == ()
        assert left_in(base, name) == ()
        state = store_of(at(base, name)).state
        assert state.ref_names("runs/") == there(base).state.ref_names("runs/")
        assert len(state.ref_names("runs/")) == 1


NAMES = ("a", "b", "c/a", "c/b", "c/d/a", "d/a")
FILES = st.dictionaries(st.sampled_from(NAMES), st.binary(min_size=1, max_size=3), min_size=1)
TARGETS = st.sampled_from(["a", "c", "c/a", "c/d", "**/a", "d", "**/b", "c/*", "b"])


def erase_in(root, pattern, erasure, *, keep_path):
    workspace = Repo.open(root, Context(cwd=root)).workspace
    store = workspace.session.store
    request = asking.Request(
        erasure=erasure,
        key=erasure * 2,
        targets=Targets(patterns=(f"data/{pattern}",)),
        copies="keep",
        keep_path=keep_path,
    )
    steps = Steps(store, request, Silence(), certified=functools.partial(certificate.certified, workspace))
    plan = steps.plan()
    planned = steps.announce(plan)
    steps.commit(planned, plan)
    erasing.destroy(store)
    steps.finish(planned, (formats.Place(name="here", done=True),), keep=False)
    return plan.paths


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return os.path.realpath(tmp_path_factory.mktemp("orders"))


@settings(max_examples=15)
@given(versions=st.lists(FILES, min_size=1, max_size=4), targets=st.tuples(TARGETS, TARGETS), keep_path=st.booleans())
def test_in_which_order_erasures_come_makes_no_difference(place, versions, targets, keep_path):
    for name in os.listdir(place):
        shutil.rmtree(f"{place}/{name}")
    root = f"{place}/one"
    os.makedirs(f"{root}/data")
    repo = Repo.init(root)
    for number, files in enumerate(versions):
        shutil.rmtree(f"{root}/data")
        os.makedirs(f"{root}/data")
        for name, content in files.items():
            put(f"{root}/data/{name}", content)
        repo.add(["data"])
        repo.commit(f"number {number}", allow_empty=True)
        repo.create_tag(f"v{number}")
    shutil.copytree(root, f"{place}/two", symlinks=True)
    erasures = [(targets[0], b"1" * 16), (targets[1], b"2" * 16)]
    taken = [erase_in(root, pattern, each, keep_path=keep_path) for pattern, each in erasures]
    for pattern, each in reversed(erasures):
        taken.append(erase_in(f"{place}/two", pattern, each, keep_path=keep_path))
    one, two = (store_of(at(place, name)).state for name in ("one", "two"))
    if set(taken[0]) == set(taken[3]) and set(taken[1]) == set(taken[2]):  # none was met by both
        assert snapshots(one) == snapshots(two)
        known = {old for old, _new in one.superseded.items()} & {old for old, _new in two.superseded.items()}
        assert {old: one.standing(old) for old in known} == {old: two.standing(old) for old in known}
    for name, value in snapshots(one).items():
        ours, theirs = at(place, "one"), at(place, "two")
        assert listed(ours, value) == listed(theirs, snapshots(two)[name])


def listed(repo, identity):
    return [(each.path, each.kind, each.size) for each in repo.ls(identity.hex(), recursive=True)]


# --------------------------------------------------------------------------------------------------- stopped


def test_stopped_at_any_moment_following_is_finished_by_the_next_contact(base, tmp_path):
    erasure = erase_there(base, WHO)
    put(f"{base}/two/{WHO}/late.txt", TEXT)
    at(base, "two").commit("only here", everything=True)
    disk = RecordingDisk(str(base))  # the remote too, where the clone acknowledges
    Repo.open(f"{base}/two", Context(disk=disk, cwd=f"{base}/two")).fetch()
    steps = disk.finish()
    wanted = snapshots(store_of(at(base, "two")).state)
    seen = set()
    for k, volume in disk.moments():
        if k % 23 and k < len(steps) - 1:
            continue
        for survival in (Survival.ALL, Survival.DURABLE):
            image = hash(volume.image(survival, 0))
            if image in seen:
                continue
            seen.add(image)
            volume.write_to(str(base), survival, 0)
            at(base, "two").fetch()
            require_followed(base, "two", erasure)
            assert snapshots(store_of(at(base, "two")).state) == wanted, (k, survival)
            assert at(base, "two").status().pending_erasures == ()
