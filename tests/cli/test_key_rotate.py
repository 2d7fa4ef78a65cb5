"""``dv key rotate``: who knew the secrets of a store can read nothing that is added from then on."""

import shutil

import pytest

from dvtool.effects import SystemClock, SystemEntropy
from dvtool.errors import ConflictError, DvError, IntegrityError, KeyAccessError
from dvtool.formats import identity, log, repokey, sealed, storeformat
from dvtool.repo import Repo
from dvtool.storage.disk import Disk
from dvtool.store import checkpoints, keys, rotating
from dvtool.store import store as stores
from dvtool.worktree.session import Context

REPO = ".dv/store/keys/repo"
BOB = bytes(range(32))


@pytest.fixture
def several(data):
    """A repository with a few snapshots, some of whose key files were merged, and a passed-over log key."""
    for number in range(3):
        data.write(f"data/n{number}", f"content {number}\n" * 50)
        data.commit(f"number {number}")
    return data


def names(root, directory):
    return {path.name: path.read_bytes() for path in (root / ".dv/store" / directory).iterdir()}


def opened_with(root, before):
    """The secrets of somebody who kept a copy of the key, and this store's id."""
    form = storeformat.decode((root / ".dv/store/format").read_bytes())
    return keys.Secrets(repokey.decode(before, form.repository)), form.store


def openable(root, secrets, store):
    """What somebody can open of the store as it is now: names of key files, log keys and entries."""
    found = set()
    backend = stores.local_backend(str(root / ".dv/store"), entropy=SystemEntropy())
    for name in sorted(backend.names("keys")):
        kind = sealed.LOG_KEY if name.startswith("log-") else sealed.KEY_FILE
        try:
            secrets.wrap.open(kind, store + f"keys/{name}".encode(), backend.read(f"keys/{name}"), what="it")
            found.add(f"keys/{name}")
        except DvError:
            continue
    return found - {"keys/repo"}


def test_a_rotation_rewrites_keys_and_nothing_else(several):
    before = {directory: names(several.root, directory) for directory in ("packs", "index", "keys", "log")}
    found = several("key", "rotate", "--json").json
    assert found["protection"] == "plain"
    assert found["key_files"] >= 1
    assert found["log_keys"] == 1
    after = {directory: names(several.root, directory) for directory in ("packs", "index", "keys", "log")}
    for directory in ("packs", "index", "log"):
        assert before[directory].items() <= after[directory].items()
    assert {name for name in before["keys"] if len(name) == 32} & set(after["keys"]) == set()
    assert several.status()["clean"]
    assert several("fsck", "--full", "--json").json["clean"]
    assert len(several("oplog", "--json").json) > 5, "what was before can still be read by those who may"
    assert several("cat", "HEAD~2:data/n0").text.startswith("content 0")


def test_who_knew_the_old_secret_opens_nothing_of_what_is_there_now(several):
    kept = (several.root / REPO).read_bytes()
    secrets, store = opened_with(several.root, kept)
    assert openable(several.root, secrets, store)
    several("key", "rotate")
    assert openable(several.root, secrets, store) == set()
    several.write("data/secret", "for members only\n")
    several.commit("after")
    assert openable(several.root, secrets, store) == set()
    (several.root / REPO).write_bytes(kept)
    assert several("status", "--json", code=40).error["kind"] == "keys"


def test_who_kept_the_old_log_keys_opens_no_entry_that_comes_after(several):
    secrets, store = opened_with(several.root, (several.root / REPO).read_bytes())
    backend = stores.local_backend(str(several.root / ".dv/store"), entropy=SystemEntropy())
    kept = [
        keys.read_log_key(backend, store, secrets.wrap, bytes.fromhex(name.removeprefix("log-"))).key
        for name in sorted(backend.names("keys"))
        if name.startswith("log-")
    ]
    last = len(names(several.root, "log"))
    several("key", "rotate")
    several.write("data/secret", "for members only\n")
    several.commit("after")
    assert len(names(several.root, "log")) > last + 2
    for number in range(1, len(names(several.root, "log")) + 1):
        name = log.file_name(number)
        opens = False
        for key in kept:
            try:
                sealed.open_blob(sealed.LOG_ENTRY, key, store + name.encode(), backend.read(name), what="it")
                opens = True
            except KeyAccessError:
                continue
        assert opens == (number <= last), number


def test_rotated_again_and_again_all_stays_readable(several):
    for number in range(3):
        several("key", "rotate")
        several.write(f"data/after{number}", f"after {number}\n")
        several.commit(f"after {number}")
    several("gc", "--grace", "0")
    assert several("fsck", "--full", "--json").json["clean"]
    assert several("cat", "HEAD~5:data/n0").text.startswith("content 0")
    first = several("oplog", "--json").json[-1]
    assert first["number"] == 1


def test_a_writer_from_before_is_refused_and_loses_nothing(several):
    stale = Repo.open(str(several.root))
    several("key", "rotate")
    number = len(names(several.root, "log"))
    several.write("data/late", "late\n")
    with pytest.raises(KeyAccessError) as caught:
        stale.add(["data"])
    assert "replaced while this command ran" in caught.value.why
    assert len(names(several.root, "log")) == number
    several.commit("late")
    assert several("cat", "HEAD:data/late").text == "late\n"


def test_a_writer_that_comes_in_between_is_not_overlooked(several, monkeypatch):
    """Another writer, who opened the store before the rotation, appends while key files are being sealed anew."""
    several("worktree", "add", "-b", "side", "../other")
    stale = Repo.open(str(several.root.parent / "other"))
    several.write("../other/data/late", "late\n")
    renew = rotating._Switch._renew
    called: list[int] = []

    def late(switch, segments):
        made = renew(switch, segments)
        called.append(1)
        if len(called) == 1:
            stale.add(["data"])
        return made

    monkeypatch.setattr(rotating._Switch, "_renew", late)
    several("key", "rotate")
    assert len(called) == 2, "the first try was overtaken"
    several("commit", "-m", "late", at="../other")
    assert several("cat", "side:data/late").text == "late\n"
    assert several("fsck", "--full", "--json").json["clean"]


def test_a_rotation_beside_a_writer_who_knows_both_secrets(several, monkeypatch):
    """Somebody opens the store between the first step and the switch, and writes after it."""
    write = checkpoints.write
    opened: list[Repo] = []

    def early(store, **arguments):
        if not opened:
            opened.append(Repo.open(str(several.root)))
        return write(store, **arguments)

    monkeypatch.setattr(checkpoints, "write", early)
    kept = (several.root / REPO).read_bytes()
    several("key", "rotate")
    several.write("data/late", "late\n")
    opened[0].add(["data"])
    secrets, store = opened_with(several.root, kept)
    assert openable(several.root, secrets, store) == set(), "it sealed under the new secret"
    assert several("fsck", "--full", "--json").json["clean"]


class _StoppedError(Exception):
    pass


class StoppingDisk(Disk):
    """Ends the command before the n-th file is moved to its place."""

    def __init__(self, after):
        self.after = after

    def rename(self, source, target):
        if self.after == 0:
            raise _StoppedError
        self.after -= 1
        super().rename(source, target)


def test_stopped_at_any_step_the_store_works_and_the_next_rotation_finishes(several, tmp_path):
    template = tmp_path / "template"
    shutil.copytree(several.root, template)
    kept = (several.root / REPO).read_bytes()
    after = 0
    while True:
        shutil.rmtree(several.root)
        shutil.copytree(template, several.root)
        repo = Repo.open(str(several.root), Context(disk=StoppingDisk(after), cwd=str(several.root)))
        try:
            repo.rotate_key()
        except _StoppedError:
            pass
        else:
            break
        found = {check["name"]: check for check in several("doctor", "--json").json["checks"]}["keys"]
        assert (found["result"] == "warning") == (after > 0)
        several.write("data/between", "between\n")
        several.commit("between")
        assert several("fsck", "--json").json["clean"], after
        several("key", "rotate")
        secrets, store = opened_with(several.root, kept)
        assert openable(several.root, secrets, store) == set(), after
        assert several("cat", "HEAD:data/between").text == "between\n"
        assert several("fsck", "--full", "--json").json["clean"], after
        after += 1
    assert after > 4


def test_an_entry_by_somebody_with_the_old_keys_is_refused(several):
    """Who still can write to the place, and kept the log key, appends an entry that looks right."""
    stale = Repo.open(str(several.root)).workspace.session.store
    label = stale.refresh().label
    old = keys.read_log_key(stale.backend, stale.format.store, stale.secrets.wrap, label).key
    several("key", "rotate")
    store = Repo.open(str(several.root)).workspace.session.store
    state = store.refresh()
    entry = log.Entry(
        version=log.VERSION,
        store=store.format.store,
        number=state.number + 1,
        previous=state.head,
        write=bytes(16),
        time=state.time,
        operation="add",
        checkpoint=state.checkpoint,
        actions=(log.MoveRef(name="heads/forged", old=None, new=bytes([1]) * 32),),
    )
    name = log.file_name(entry.number)
    blob = sealed.seal(sealed.LOG_ENTRY, old, label, bytes(32), store.format.store + name.encode(), log.encode(entry))
    store.backend.create(name, blob)
    with pytest.raises(IntegrityError, match="given up"):
        store.refresh()
    assert "given up" in several("status", "--json", code=20).error["what"]
    store.backend.delete(name)
    assert several.status()["clean"]


def test_a_member_who_left_is_kept_out(several, monkeypatch, tmp_path):
    several.write("me.txt", several("key", "identity").text)
    several.write("bob.txt", identity.encode_recipient(identity.recipient_of(BOB, "Bob")))
    several("key", "protect", "--recipient", "me.txt", "--recipient", "bob.txt")
    several("key", "recipients", "remove", "Bob")
    found = several("key", "rotate", "--json").json
    assert [item["own"] for item in found["recipients"]] == [True]
    assert several.status()["clean"]
    (tmp_path / "bob").write_bytes(identity.encode_identity(BOB))
    (tmp_path / "bob").chmod(0o600)
    monkeypatch.setenv("DV_IDENTITY", str(tmp_path / "bob"))
    several("status", code=40)


def test_a_passphrase_has_to_be_another_one(several, monkeypatch):
    several.write("old", "correct horse\n")
    several.write("new", "another horse\n")
    several("key", "protect", "--passphrase-file", "old")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    before = (several.root / REPO).read_bytes()
    assert "--passphrase-file" in several("key", "rotate", "--json", code=2).error["next"]
    assert (several.root / REPO).read_bytes() == before
    several("key", "rotate", "--passphrase-file", "new")
    several("status", code=40)
    monkeypatch.setenv("DV_PASSPHRASE", "another horse")
    assert several.status()["clean"]


def test_backups_from_before_do_not_fit_any_more(several):
    several("key", "export", "before", "--plain-keys")
    several("key", "rotate")
    several("key", "export", "after", "--plain-keys")
    (several.root / REPO).unlink()
    assert "older than the last" in several("key", "import", "before", "--json", code=40).error["why"]
    several("key", "import", "after")
    assert several.status()["clean"]


def test_a_store_without_entries_is_not_rotated(tmp_path):
    entropy, clock = SystemEntropy(), SystemClock()
    store = stores.create_local(str(tmp_path / "store"), clock=clock, entropy=entropy)
    with pytest.raises(ConflictError, match="empty"):
        rotating.rotate(store.backend, repokey.LOCKED, repokey.Plain(), clock=clock, entropy=entropy)
    assert keys.open_repokey(store.backend, store.format.repository).previous is None
