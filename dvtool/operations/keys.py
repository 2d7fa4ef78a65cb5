"""``dv key``: how the key of the repository is protected, who may open it, and its backup."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import (
    ConflictError,
    DvError,
    ExistsError,
    FormatError,
    KeyAccessError,
    NotFoundError,
    UsageError,
)
from dvtool.formats import identity as identities
from dvtool.formats import repokey, storeformat
from dvtool.formats.repokey import Passphrase, Recipients
from dvtool.sharing.reaching import Remote, reach
from dvtool.storage import holding
from dvtool.storage.backend import Backend
from dvtool.storage.disk import Disk, read_regular, sweep_directory, temporary_name
from dvtool.store import keys, protecting, rotating
from dvtool.store import store as stores
from dvtool.worktree import layout, locking, unlocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dvtool.formats.identity import Recipient
    from dvtool.formats.repokey import Protection
    from dvtool.workspace import Workspace
    from dvtool.worktree.session import Context

WORDS: Final = {repokey.PLAIN: "plain", repokey.PASSPHRASE: "passphrase", repokey.RECIPIENTS: "recipients"}
PREFIX_LEAST: Final = 4
"""Letters by which a recipient can be named at least."""


class KeyPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a store keeps its key: the place of the store, and the id of the repository (16 bytes).

    ``lock`` is the path of a file that whoever changes the key of the store here holds locked.  That of a ``remote`` is
    guarded by a file at its place.
    """

    backend: Backend
    repository: bytes
    lock: str = ""
    remote: Remote | None = None


class RecipientItem(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient as its line begins, what its owner is called, and whether it is the user's own."""

    recipient: str
    comment: str
    own: bool


class KeyState(msgspec.Struct, frozen=True, kw_only=True):
    """How the key is protected (``plain``, ``passphrase`` or ``recipients``), and for whom."""

    protection: str
    recipients: tuple[RecipientItem, ...]


class KeyChange(KeyState, frozen=True, kw_only=True):
    """How the key is protected from now on, for whom, and why earlier versions of it are still there, if they are."""

    left: tuple[str, ...] = ()


class KeyRotation(KeyChange, frozen=True, kw_only=True):
    """How the key is protected from now on, for whom, and how many key files and log keys were sealed anew.

    ``left`` says why earlier versions of it are still at the place, if they are.
    """

    key_files: int
    log_keys: int


class KeyBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Where a backup of the key lies, and how it is protected."""

    path: str
    protection: str


class IdentityItem(msgspec.Struct, frozen=True, kw_only=True):
    """Where the user's identity lies, the line to be given to others, and whether it was made now."""

    path: str
    recipient: str
    created: bool


def of_store(workspace: Workspace) -> KeyPlace:
    """Return where the key of this clone's store lies."""
    session = workspace.session
    lock = _lock_beside(session.layout.store())
    return KeyPlace(backend=session.store.backend, repository=session.store.format.repository, lock=lock)


def of_remote(workspace: Workspace, name: str) -> KeyPlace:
    """Return where the key of a remote's store lies.

    Raises:
        NotFoundError: when there is no remote of this name, or no store there yet.
    """
    remote = reach(workspace, name)
    if not remote.is_made():
        raise NotFoundError(
            "there is no store at this remote yet",
            where=remote.settings.url,
            next=f"say how its key is to be kept: dv key protect --remote {remote.name}; then push",
        )
    repository = workspace.session.store.format.repository
    return KeyPlace(backend=remote.backend, repository=repository, remote=remote)


def protect_remote(workspace: Workspace, name: str, protection: Protection) -> KeyChange:
    """Seal the key of a remote's store anew, or say how it is to be sealed when the first push makes the store.

    Raises:
        NotFoundError: when there is no remote of this name.
        DvError: as :func:`protect`.
    """
    context = workspace.session.context
    remote = reach(workspace, name)
    if remote.is_made():
        return protect(of_remote(workspace, name), context, protection)
    remote.protect(protection)
    said = _said(repokey.describe(remote.pending_key, workspace.session.store.format.repository), context)
    return KeyChange(protection=said.protection, recipients=said.recipients)


def protect(place: KeyPlace, context: Context, protection: Protection) -> KeyChange:
    """Seal the key of a store anew; nothing else is rewritten.

    Raises:
        UsageError: when there are no recipients, or the user is none of them, or the passphrase is unfit.
        KeyAccessError: when it does not open as it is, or at a remote is not that of the store.
        ConflictError: when another command changes it at the same time.
        StorageError: when the place refuses; the key is then as it was, or as it was to be.
    """
    with _changing(place, context) as hold:
        return _change(place, context, protection, hold)


def state(place: KeyPlace, context: Context) -> KeyState:
    """Return how the key of a store is protected, and for whom; it is opened, so that its list can be relied on.

    Raises:
        KeyAccessError: when it does not open, or at a remote is not that of the store.
    """
    data = keys.read_repokey(place.backend)
    opened = repokey.decode(data, place.repository, context.unlock)
    if place.remote is not None:
        place.remote.require_key(opened)
    return _said(repokey.describe(data, place.repository), context)


def add_recipients(place: KeyPlace, context: Context, arguments: Sequence[str]) -> KeyChange:
    """Seal the key for more recipients.

    Args:
        place: where the key is.
        context: what opens it now.
        arguments: files that hold recipients, or their lines.

    Raises:
        ConflictError: when the key is not sealed for recipients.
        NotFoundError: when a file is not there.
        FormatError: when one is malformed.
        UsageError: when there would be too many.
    """
    new = recipients_of(arguments, context.cwd)
    with _changing(place, context) as hold:
        known = {each.key: each for each in (*_sealed_for(place), *new)}
        return _change(place, context, Recipients(recipients=tuple(known.values())), hold)


def remove_recipients(place: KeyPlace, context: Context, arguments: Sequence[str]) -> KeyChange:
    """Seal the key for fewer recipients; what they have seen of it stays known to them until it is rotated.

    Args:
        place: where the key is.
        context: what opens it now.
        arguments: files that hold recipients, lines, comments, or the first letters of recipients.

    Raises:
        ConflictError: when the key is not sealed for recipients.
        NotFoundError: when one is none.
        UsageError: when an argument fits several, or when none would be left, or the user would be none of them.
    """
    with _changing(place, context) as hold:
        known = _sealed_for(place)
        gone = {each.key for argument in arguments for each in _named(argument, known, context.cwd)}
        kept = tuple(each for each in known if each.key not in gone)
        return _change(place, context, Recipients(recipients=kept), hold)


def rotate(place: KeyPlace, context: Context, protection: Protection | None = None) -> KeyRotation:
    """Give a store another wrapping secret; see :func:`dvtool.store.rotating.rotate`.

    This clone then remembers the new one of a remote; others find that theirs does not open what is new, and read it.

    Args:
        place: where the key is.
        context: what opens it now.
        protection: how it is protected from now on; by default as it is.

    Raises:
        UsageError: when it is sealed by a passphrase, and none is given for the new one.
        KeyAccessError, ConflictError, IntegrityError, StorageError: as that does.
    """
    remote = place.remote
    with _changing(place, context) as hold:
        if remote is not None:
            remote.require_key(keys.open_repokey(place.backend, place.repository, context.unlock))
        if protection is None:
            protection = protecting.current(place.backend, place.repository, context.unlock)
            if isinstance(protection, Passphrase):
                raise UsageError(
                    "a new secret under the old passphrase is a secret from nobody",
                    why="whoever is to be kept out knows the passphrase",
                    next="give --passphrase-file FILE with another one, --recipient FILE, or --plain-keys",
                )
        done = rotating.rotate(
            place.backend,
            context.unlock,
            protection,
            clock=context.clock,
            entropy=context.entropy,
            disk=context.disk,
            hold=hold,
            require=remote.require_secret if remote is not None else lambda opened: opened,
        )
        unlock = protecting.opening(protection, context.unlock)
        if remote is not None:
            remote.learn(unlock, protection)
        said = _changed(place, context, unlock)
    return KeyRotation(
        protection=said.protection,
        recipients=said.recipients,
        left=said.left,
        key_files=done.key_files,
        log_keys=done.log_keys,
    )


def export(place: KeyPlace, context: Context, target: str, protection: Protection) -> KeyBackup:
    """Write a backup of the key to a new file, readable by its owner only, durably.

    Raises:
        ExistsError: when there is something at this path.
        NotFoundError: when its directory is not there.
        UsageError: as :func:`protect`.
    """
    path = _absolute(target, context.cwd)
    if os.path.lexists(path):
        raise _is_there(path)
    opened = keys.open_repokey(place.backend, place.repository, context.unlock)
    # A backup may be for others alone: that oneself can open it is asked of the key in use.
    data = repokey.encode(place.repository, opened, protection, context.entropy)
    _write_new(path, data, context.disk)
    kind = repokey.describe(data, place.repository).protection
    return KeyBackup(path=path, protection=WORDS[kind])


def bring_back(directory: str, context: Context, source: str, *, force: bool = False) -> KeyState:
    """Put a backup of the key into the store of the repository that holds ``directory``, whose own is lost.

    The key takes its place protected as the backup is.

    Args:
        directory: where the repository is; it need not open.
        context: what opens the backup, and the disk.
        source: the file with the backup.
        force: replace a key that is sound; the backup must open the store all the same.

    Raises:
        NotFoundError: when there is no repository, or no such file.
        KeyAccessError: when the file is no key, or not that of this store, or does not open.
        ExistsError: when there is a working key, and it is not to be replaced.
    """
    store = layout.find(directory).store()
    backend = stores.local_backend(store, entropy=context.entropy, disk=context.disk)
    path = _absolute(source, context.cwd)
    with locking.WorktreeLock(_lock_beside(store), wait=context.wait, tell=context.tell):
        form = storeformat.decode(backend.read("format"))
        data = _read(path, repokey.SIZE_LIMIT + 1)
        try:
            opened = repokey.decode(data, form.repository, context.unlock)
            protecting.require_fit(backend, form, opened)
            found = repokey.describe(data, form.repository)
        except (KeyAccessError, FormatError) as error:
            if error.where == repokey.PLACE:
                error.where = path
                error.next = error.next if error.next != repokey.RESTORE else "look for another backup of the key"
            raise
        if not force and protecting.is_working(backend, form):
            raise ExistsError(
                "the store has a key, and it is whole",
                where=f"{backend.root}/{keys.REPOSITORY_KEY}",
                why="the backup opens the store as well, so nothing would be gained but its protection",
                next="keep it, or take the backup all the same with --force, where its passphrase is forgotten",
            )
        backend.replace(keys.REPOSITORY_KEY, data)
    return _said(found, context)


def identity(context: Context, *, new: bool = False, comment: str = "") -> IdentityItem:
    """Return the user's identity, which is made if there is none.

    Raises:
        ExistsError: when a new one is wanted and there is one.
        KeyAccessError: when others can read it.
        FormatError: when it is malformed, or the comment is.
    """
    path = unlocking.identity_path()
    if os.path.lexists(path):
        if new:
            raise ExistsError(
                "there is an identity already",
                where=path,
                why="keys that are sealed for it could not be opened without it",
                next="use it, or name another file in DV_IDENTITY",
            )
        found = unlocking.load_identities(path)
        line = identities.shown(read_regular(path, identities.FILE_LIMIT), found[0])
        return IdentityItem(path=path, recipient=identities.encode_recipient(line), created=False)
    private = context.entropy.bytes(identities.KEY_SIZE)
    made = identities.recipient_of(private, identities.check_comment(comment))
    if not os.path.isdir(os.path.dirname(path)):
        context.disk.make_directory(os.path.dirname(path))
    _write_new(path, identities.encode_identity(private, comment), context.disk)
    return IdentityItem(path=path, recipient=identities.encode_recipient(made), created=True)


def recipients_of(arguments: Sequence[str], directory: str) -> tuple[Recipient, ...]:
    """Return the recipients that arguments name: files that hold them, or their lines.

    Raises:
        NotFoundError: when there is no such file.
        FormatError: when one is malformed.
        UsageError: when one cannot be read.
    """
    found: list[Recipient] = []
    for argument in arguments:
        if argument.startswith(identities.RECIPIENT.decode()):
            found.append(identities.decode_recipient(argument))
            continue
        path = _absolute(argument, directory)
        try:
            found += identities.decode_recipients(_read(path, identities.FILE_LIMIT + 1))
        except FormatError as error:
            error.where = error.where or path
            raise
    return tuple(found)


def _said(found: repokey.Description, context: Context) -> KeyState:
    own = {identities.recipient_of(each).key for each in _own(context)} if found.recipients else set()
    items = [
        RecipientItem(recipient=_word(each), comment=each.comment, own=each.key in own) for each in found.recipients
    ]
    return KeyState(
        protection=WORDS[found.protection], recipients=tuple(sorted(items, key=lambda item: item.recipient))
    )


def _change(place: KeyPlace, context: Context, protection: Protection, hold: Callable[[], None]) -> KeyChange:
    protecting.change(
        place.backend,
        place.repository,
        context.unlock,
        protection,
        entropy=context.entropy,
        become=place.remote.require_key if place.remote is not None else lambda opened: opened,
        hold=hold,
    )
    if place.remote is not None:
        place.remote.note_protection(protection)
    return _changed(place, context, protecting.opening(protection, context.unlock))


def _changed(place: KeyPlace, context: Context, unlock: repokey.Unlock) -> KeyChange:
    """Purge earlier versions of a key that was changed, and return what came of it all."""
    left = _purge_earlier(place, unlock) if place.remote is not None else ()
    for why in left:
        context.tell(
            f"warning: earlier versions of the key are left at the place: {why}; who can read them opens them as before"
        )
    said = _said(repokey.describe(keys.read_repokey(place.backend), place.repository), context)
    return KeyChange(protection=said.protection, recipients=said.recipients, left=left)


def _purge_earlier(place: KeyPlace, unlock: repokey.Unlock) -> tuple[str, ...]:
    """Remove what lay there before the key as it is now, and return what could not be done; nothing is raised for it.

    The key is changed already.  What is there now is looked at once more: where somebody else wrote over it, the
    version with the secret is an earlier one.
    """
    try:
        if place.remote is not None:
            place.remote.require_key(keys.open_repokey(place.backend, place.repository, unlock))
        return place.backend.purge(keys.REPOSITORY_KEY, older=True).left
    except DvError as error:
        return (f"they were not removed: {error.finding()}",)


def _sealed_for(place: KeyPlace) -> tuple[Recipient, ...]:
    found = repokey.describe(keys.read_repokey(place.backend), place.repository)
    if found.protection != repokey.RECIPIENTS:
        raise ConflictError(
            "the key is not sealed for recipients",
            why="it stands in the clear" if found.protection == repokey.PLAIN else "it is sealed by a passphrase",
            next="seal it for them: 'dv key protect --recipient FILE --recipient FILE', your own among them",
        )
    return found.recipients


def _named(argument: str, known: Sequence[Recipient], directory: str) -> list[Recipient]:
    """Return those of ``known`` that an argument of ``dv key recipients remove`` names."""
    if os.path.isfile(_absolute(argument, directory)) or " " in argument.removeprefix(identities.RECIPIENT.decode()):
        try:
            wanted = {each.key for each in recipients_of([argument], directory)}
        except (FormatError, NotFoundError):
            wanted = set()
        found = [each for each in known if each.key in wanted or each.comment == argument]
        several = False
    else:
        letters = argument.removeprefix(identities.RECIPIENT.decode())
        found = [each for each in known if each.comment == argument]
        if not found and len(letters) >= PREFIX_LEAST:
            found = [each for each in known if _word(each)[len(identities.RECIPIENT) :].startswith(letters)]
        several = len(found) > 1
    if not found:
        raise NotFoundError(f"{argument!r} is no recipient of this key", next="'dv key recipients list' shows them")
    if several:
        raise UsageError(
            f"{argument!r} fits {len(found):,} recipients", items=tuple(map(identities.encode_recipient, found))
        )
    return found


def _own(context: Context) -> tuple[bytes, ...]:
    """Return the user's identities; none where they cannot be read, which only leaves a mark out."""
    try:
        return context.unlock.identities()
    except DvError:
        return ()


def _word(recipient: Recipient) -> str:
    return identities.encode_recipient(msgspec.structs.replace(recipient, comment=""))


def _lock_beside(store: str) -> str:
    """Return the lock of the worktree in which a store lies: other worktrees use the store, and have other locks."""
    return f"{os.path.dirname(store)}/lock"


@contextlib.contextmanager
def _changing(place: KeyPlace, context: Context) -> Iterator[Callable[[], None]]:
    """Hold others off who would change the same key, and give what makes sure that they still are.

    Raises:
        ConflictError: when somebody changes it.
        DvError: as :meth:`dvtool.sharing.reaching.Remote.open`.
    """
    if place.remote is None:
        # The kernel lets go of the lock when this process ends, and not before.
        with locking.WorktreeLock(place.lock, wait=context.wait, tell=context.tell):
            yield lambda: None
        return
    doing = f"the key of {place.remote.name!r}"
    hold = holding.Hold(place.backend, holding.KEY_CHANGE, entropy=context.entropy, tell=context.tell, doing=doing)
    with hold:
        place.remote.open()  # nothing is built on a store that was rolled back; nobody replaces its key from here on
        yield hold.require


def _absolute(path: str, directory: str) -> str:
    if not path or "\0" in path:
        raise UsageError("an empty path names nothing", next="name a file")
    return os.path.normpath(os.path.join(directory or os.getcwd(), path))


def _read(path: str, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except FileNotFoundError:
        raise NotFoundError("there is no such file", where=path, next="check the path") from None
    except OSError as error:
        raise UsageError("the file cannot be read", where=path, why=error.strerror or "", next="check it") from None


def _is_there(path: str) -> ExistsError:
    return ExistsError("there is something at this path already", where=path, next="name a file that is not there yet")


def _write_new(path: str, data: bytes, disk: Disk) -> None:
    """Write a file that is not there yet, readable by its owner only: whole and durably, or not at all."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise NotFoundError("there is no such directory", where=directory, next="make it first")
    sweep_directory(directory, paths.PARTIAL)
    temporary = f"{directory}/{paths.PARTIAL}{temporary_name()}"
    try:
        disk.write(temporary, data)
        disk.sync(temporary)
        try:
            disk.link(temporary, path)
        except ExistsError:
            raise _is_there(path) from None
    finally:
        disk.unlink(temporary)
    disk.sync_directory(directory)
