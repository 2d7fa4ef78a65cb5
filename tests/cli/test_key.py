"""``dv key``: who can open a repository, and what the key's file says to those who cannot."""

import os
import pty
import select
import shutil
import stat
import subprocess
import sys

import pytest

from dvtool.formats import identity, repokey, storeformat

ADA = bytes(range(32))
REPO = ".dv/store/keys/repo"


@pytest.fixture
def key(data):
    """The path of the key of a repository with one snapshot."""
    return data.root / REPO


@pytest.fixture
def members(data):
    """me.txt and ada.txt: the recipients of the user and of Ada."""
    data.write("me.txt", data("key", "identity", "--comment", "me").text)
    data.write("ada.txt", identity.encode_recipient(identity.recipient_of(ADA, "Ada")) + "\n")
    return data


def as_ada(monkeypatch, tmp_path):
    path = tmp_path / "ada"
    path.write_bytes(identity.encode_identity(ADA, "Ada"))
    path.chmod(0o600)
    monkeypatch.setenv("DV_IDENTITY", str(path))


def files(root):
    store = root / ".dv/store"
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name != "repo"
    }


def test_a_key_sealed_by_a_passphrase_opens_with_it_alone(data, key, monkeypatch):
    data.write("phrase", "correct horse\nand no more\n")
    before, clear = files(data.root), key.read_bytes()
    assert data("key", "protect", "--passphrase-file", "phrase", "--json").json == {
        "protection": "passphrase",
        "recipients": [],
        "left": [],
    }
    assert files(data.root) == before, "nothing but the key is rewritten"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert clear[28:60] not in key.read_bytes()
    error = data("status", "--json", code=40).error
    assert error["kind"] == "keys"
    assert "DV_PASSPHRASE" in error["next"]
    monkeypatch.setenv("DV_PASSPHRASE", "wrong horse")
    assert "the passphrase is wrong" in data("status", code=40).told
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    assert data.status()["clean"]
    monkeypatch.delenv("DV_PASSPHRASE")
    monkeypatch.setenv("DV_PASSPHRASE_FILE", str(data.root / "phrase"))
    assert data.status()["clean"]
    assert data("fsck", "--json").json["clean"]


def test_a_sealed_repository_is_worked_in_as_before(data, monkeypatch):
    data.write("phrase", "correct horse\n")
    data("key", "protect", "--passphrase-file", "phrase")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    data.write("data/new.txt", "new\n")
    data.commit("second")
    data("worktree", "add", "../other", "main~1")
    data("gc", "--grace", "0")
    data("key", "protect", "--plain-keys")
    monkeypatch.delenv("DV_PASSPHRASE")
    assert data("fsck", "--json").json["clean"]


def test_a_passphrase_is_asked_for_on_a_terminal_and_is_not_shown(data):
    data.write("phrase", "correct horse\n")
    data("key", "protect", "--passphrase-file", "phrase")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dvtool.cli.main", "status"],
        cwd=data.root,
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        start_new_session=True,
    )
    try:
        shown = b""
        waiting = select.poll()
        waiting.register(parent, select.POLLIN)
        while not shown.endswith(b": "):  # what is typed before the question is thrown away
            assert waiting.poll(30_000), shown
            shown += os.read(parent, 4096)
        os.write(parent, b"correct horse\n")
        out, _ = process.communicate(timeout=30)
        after = os.read(parent, 4096)
    finally:
        process.kill()
        process.communicate()
        os.close(child)
        os.close(parent)
    assert process.returncode == 0
    assert b"on branch main" in out
    assert shown == b"passphrase of the repository key: "
    assert b"horse" not in after


def test_a_key_is_sealed_for_its_recipients(members, key, monkeypatch, tmp_path):
    found = members("key", "protect", "--recipient", "me.txt", "--recipient", "ada.txt", "--json").json
    assert found["protection"] == "recipients"
    assert {(item["comment"], item["own"]) for item in found["recipients"]} == {("me", True), ("Ada", False)}
    assert found.pop("left") == []
    assert members("key", "recipients", "list", "--json").json == found
    assert members.status()["clean"]
    as_ada(monkeypatch, tmp_path)
    assert members.status()["clean"]
    monkeypatch.setenv("DV_IDENTITY", str(tmp_path / "nowhere"))
    error = members("status", "--json", code=40).error
    assert "dv key recipients add" in error["next"]


def test_recipients_are_added_and_removed(members, monkeypatch, tmp_path):
    members("key", "protect", "--recipient", "me.txt")
    with monkeypatch.context() as other:
        as_ada(other, tmp_path)
        assert "not sealed for you" in members("status", code=40).told
    assert len(members("key", "recipients", "add", "ada.txt", "--json").json["recipients"]) == 2
    with monkeypatch.context() as other:
        as_ada(other, tmp_path)
        members("status")
    done = members("key", "recipients", "remove", "Ada")
    assert "Ada" not in done.text
    assert "dv key rotate" in done.text
    with monkeypatch.context() as other:
        as_ada(other, tmp_path)
        members("status", code=40)


@pytest.mark.parametrize("how", ["ada.txt", "Ada", "line", "letters"])
def test_a_recipient_is_named_in_several_ways(members, how):
    line = members.read("ada.txt").split()[0]
    word = {"line": line, "letters": line[: len("dv-recipient-1:") + 6]}.get(how, how)
    members("key", "protect", "--recipient", "me.txt", "--recipient", line)
    members("key", "recipients", "add", "ada.txt")
    found = members("key", "recipients", "remove", word, "--json").json["recipients"]
    assert [item["comment"] for item in found] == ["me"]


def test_who_is_no_recipient_cannot_be_removed(members):
    members("key", "protect", "--recipient", "me.txt")
    assert members("key", "recipients", "remove", "ada.txt", "--json", code=10).error["kind"] == "not-found"
    assert members("key", "recipients", "remove", "x", "--json", code=10).error["kind"] == "not-found"


def test_nobody_locks_themselves_out(members, key):
    before = key.read_bytes()
    error = members("key", "protect", "--recipient", "ada.txt", "--json", code=2).error
    assert "dv key identity" in error["next"]
    assert key.read_bytes() == before
    members("key", "protect", "--recipient", "me.txt", "--recipient", "ada.txt")
    before = key.read_bytes()
    members("key", "recipients", "remove", "me.txt", code=2)
    members("key", "recipients", "remove", "me.txt", "ada.txt", code=2)
    assert key.read_bytes() == before


def test_recipients_of_a_key_that_is_sealed_otherwise_are_a_conflict(members):
    error = members("key", "recipients", "add", "ada.txt", "--json", code=12).error
    assert "dv key protect --recipient" in error["next"]


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--plain-keys", "--passphrase-file", "phrase"], 2),
        (["--recipient", "ada.txt", "--plain-keys"], 2),
        (["--passphrase-file", "nowhere"], 2),
        (["--passphrase-file", "blank"], 2),
        (["--recipient", "nowhere"], 10),
        (["--recipient", "phrase"], 21),
        (["--recipient", "dv-recipient-1:abc"], 21),
        ([], 40),
    ],
)
def test_wrong_ways_to_protect_change_nothing(members, key, flags, code):
    members.write("phrase", "correct horse\n")
    members.write("blank", "\nsecond line\n")
    before = key.read_bytes()
    error = members("key", "protect", *flags, "--json", code=code).error
    assert error["next"]
    assert key.read_bytes() == before


def test_a_private_key_where_a_recipient_is_wanted_is_not_repeated(members, hermetic):
    done = members("key", "protect", "--recipient", str(hermetic / ".config/dv/identity"), code=21)
    assert "private" in done.told
    secret = (hermetic / ".config/dv/identity").read_text(encoding="utf-8").split("dv-identity-1:")[1].strip()
    assert secret not in done.told


def test_an_identity_is_made_once(data, hermetic):
    made = data("key", "identity", "--comment", "Ada Lovelace", "--json").json
    path = hermetic / ".config/dv/identity"
    assert made["path"] == str(path)
    assert made["created"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = data("key", "identity", "--json").json
    assert again == made | {"created": False}
    assert again["recipient"].endswith(" Ada Lovelace")
    assert data("key", "identity", "--new", "--json", code=11).error["kind"] == "exists"


def test_an_identity_needs_no_repository(empty):
    assert empty("key", "identity").text.startswith("dv-recipient-1:")


def test_an_identity_that_others_can_read_is_refused(members, hermetic):
    members("key", "protect", "--recipient", "me.txt")
    (hermetic / ".config/dv/identity").chmod(0o640)
    error = members("status", "--json", code=40).error
    assert "others can read the identity" in error["what"]
    assert "chmod 600" in error["next"]
    members("key", "identity", code=40)


def test_a_pipe_in_the_place_of_the_identity_keeps_nobody_waiting(members, hermetic):
    members("key", "protect", "--recipient", "me.txt")
    path = hermetic / ".config/dv/identity"
    path.unlink()
    os.mkfifo(path, 0o600)
    assert members("status", "--json", code=40).error["kind"] == "keys"


def test_a_backup_brings_a_lost_key_back(data, key, monkeypatch):
    data.write("phrase", "correct horse\n")
    data("key", "export", "../backup", "--passphrase-file", "phrase")
    backup = data.root.parent / "backup"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    clear = key.read_bytes()[28:60]
    assert clear not in backup.read_bytes()
    assert data("key", "export", "../backup", "--plain-keys", "--json", code=11).error["kind"] == "exists"
    key.unlink()
    assert "dv key import" in data("status", "--json", code=40).error["next"]
    data("key", "import", "../backup", code=40)
    assert not key.exists()
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    assert data("key", "import", "../backup", "--json").json["protection"] == "passphrase"
    assert data.status()["clean"]
    data("key", "protect", "--plain-keys")
    monkeypatch.delenv("DV_PASSPHRASE")
    assert data.status()["clean"]
    assert data("fsck", "--json").json["clean"]


@pytest.mark.parametrize("damage", [b"", b"noise", None])
def test_a_damaged_key_is_replaced_by_its_backup(data, key, damage):
    data("key", "export", "../backup", "--plain-keys")
    key.write_bytes(key.read_bytes()[:-1] + b"x" if damage is None else damage)
    data("status", code=40)
    data("key", "import", "../backup")
    assert data.status()["clean"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_working_key_is_not_replaced_unless_told_to(data, key):
    data("key", "export", "../backup", "--plain-keys")
    before = key.read_bytes()
    assert data("key", "import", "../backup", "--json", code=11).error["kind"] == "exists"
    assert key.read_bytes() == before
    data("key", "import", "../backup", "--force")
    assert data.status()["clean"]


def test_a_forgotten_passphrase_is_helped_by_a_backup(data):
    data("key", "export", "../backup", "--plain-keys")
    data.write("phrase", "correct horse\n")
    data("key", "protect", "--passphrase-file", "phrase")
    assert "--force" in data("key", "import", "../backup", code=11).told
    data("key", "import", "../backup", "--force")
    assert data.status()["clean"]


def test_a_key_that_does_not_belong_here_is_never_taken(data, key, empty):
    before = key.read_bytes()
    (empty.root.parent / "second").mkdir()
    data("init", at="../second")
    for source in ("../second/" + REPO, "data/a.txt"):
        data("key", "import", "--force", source, code=40)
        assert key.read_bytes() == before
    other = repokey.encode(
        before[8:24], repokey.Opened(secret=bytes(32), wrapping=bytes(32)), repokey.Plain(), _Nought()
    )
    data.write("other", other)
    key.unlink()
    error = data("key", "import", "other", "--json", code=40).error
    assert "does not open the store" in error["what"]
    assert not key.exists()
    assert data("key", "import", "nowhere", "--json", code=10).error["kind"] == "not-found"


class _Nought:
    def bytes(self, count):
        return bytes(count)


def test_a_damaged_list_of_recipients_is_damage_and_no_report_of_a_bug(members, key):
    members("key", "protect", "--recipient", "me.txt", "--recipient", "ada.txt")
    good = key.read_bytes()
    for at in range(0, len(good), 9):
        key.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert members("status", "--json", code=40 if at not in {6, 7} else 21).error["kind"] in {"keys", "format"}


def test_a_sealed_key_is_put_back_by_a_repair_from_another_copy(data, key, tmp_path, monkeypatch):
    data.write("phrase", "correct horse\n")
    data("key", "protect", "--passphrase-file", "phrase")
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    shutil.copytree(data.root, tmp_path / "copy")
    key.unlink()
    [log_key] = [path for path in key.parent.iterdir() if path.name.startswith("log-")]
    log_key.unlink()
    data("fsck", "--repair", "--from", str(tmp_path / "copy"))
    assert data("fsck", "--json").json["clean"]


def test_no_secret_is_printed(members, monkeypatch):
    members.write("phrase", "correct horse\n")
    members("key", "protect", "--passphrase-file", "phrase")
    monkeypatch.setenv("DV_PASSPHRASE", "correct h0rse")
    done = members("--debug", "status", code=40)
    assert "h0rse" not in done.told
    monkeypatch.setenv("DV_PASSPHRASE", "correct horse")
    done = members("key", "recipients", "list")
    assert "horse" not in done.text + done.told


def test_a_repair_does_not_take_the_key_of_another_store_for_this_ones(data, key, tmp_path, monkeypatch):
    shutil.copytree(data.root, tmp_path / "clone")
    form = storeformat.decode((data.root / ".dv/store/format").read_bytes())
    opened = repokey.decode(key.read_bytes(), form.repository)
    clone = tmp_path / "clone" / REPO
    another = repokey.Opened(secret=opened.secret, wrapping=bytes(32))
    clone.write_bytes(repokey.encode(form.repository, another, repokey.Plain(), _Nought()))
    before = key.read_bytes()
    key.unlink()
    data("fsck", "--repair", "--from", str(tmp_path / "clone"), code=40)
    assert not key.exists()
    key.write_bytes(before)
    key.chmod(0o600)
    assert data.status()["clean"]


def test_a_repair_leaves_a_sealed_key_alone_that_it_cannot_open(data, key, tmp_path, monkeypatch):
    shutil.copytree(data.root, tmp_path / "copy")
    data.write("phrase", "correct horse\n")
    data("key", "protect", "--passphrase-file", "phrase")
    before = key.read_bytes()
    data("fsck", "--repair", "--from", str(tmp_path / "copy"), code=40)
    assert key.read_bytes() == before
