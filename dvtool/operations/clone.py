"""``dv clone``: makes a repository out of a remote."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from dvtool import advancing, paths
from dvtool.erasure import following
from dvtool.errors import ConflictError, DvError, FormatError, KeyAccessError, NotFoundError
from dvtool.formats import log, project, repokey, storeformat, tree
from dvtool.formats.tree import Entry
from dvtool.git import beside
from dvtool.sharing import clones, configuring, fetching, lazily, memory, places, reaching
from dvtool.sharing.fetching import FetchResult
from dvtool.storage.disk import temporary_name
from dvtool.store import keys
from dvtool.workspace import Workspace, free_target
from dvtool.worktree import founding, layout, projects
from dvtool.worktree.materialise import Contents
from dvtool.worktree.session import DEFAULT_BRANCH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dvtool.formats.repokey import Opened
    from dvtool.sharing.reaching import Remote
    from dvtool.worktree.session import Context


class CloneResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where the clone is, what came from the remote, and where its worktree stands."""

    path: str
    lazy: bool
    fetched: FetchResult
    branch: str
    snapshot: str | None
    written: int


def clone(
    url: str,
    directory: str,
    context: Context,
    *,
    lazy: bool = False,
    options: Mapping[str, Any] | None = None,
    keys_url: str | None = None,
    expires: int = 0,
) -> CloneResult:
    """Make a repository in a new or empty directory, with what a remote has.

    Args:
        url: where the remote is.
        directory: where the repository is to be.
        context: the command's.
        lazy: leave the content of files at the remote until it is wanted.
        options: for the remote's file system, as in ``dv.toml``.
        keys_url: where the remote's key is kept, if not with it.
        expires: days after which no erasure waits for this clone any more; 0: none.

    Raises:
        UsageError: when no clone can expire so.
        ExistsError: when the directory is there and not empty.
        ConflictError: when it would lie inside another repository.
        NotFoundError: when there is no store at the remote.
        KeyAccessError: when its key cannot be opened.
        DvError: as :func:`dvtool.sharing.fetching.fetch`; the directory then goes on with ``dv pull``.
    """
    clones.wanted_days()
    clones.check_days(expires)
    free_target(directory, what=f"{directory!r}")
    root = os.path.realpath(directory)
    settings = project.Remote(
        url=_absolute(url), options=dict(options or {}), keys=_absolute(keys_url) if keys_url else None
    )
    try:
        return fill(found(root, settings, context), settings, lazy=lazy, expires=expires)
    except DvError as error:
        if not os.path.lexists(f"{root}/{layout.DIRECTORY}"):
            raise
        error.next = f"{error.next}; then go on in {root} with 'dv pull'" if error.next else f"run 'dv pull' in {root}"
        raise


def found_here(path: str, context: Context) -> Workspace:
    """Open the repository that holds a directory, or make it from the remote that a ``dv.toml`` there names.

    So that after ``git clone`` one ``dv pull`` is all it takes.

    Raises:
        NotFoundError: when there is neither a repository nor such a ``dv.toml``.
        DvError: as :func:`found`.
    """
    try:
        return Workspace.open(path, context)
    except NotFoundError:
        root = os.path.realpath(path)
        while not os.path.isfile(f"{root}/{projects.FILE}") and root != os.path.dirname(root):
            root = os.path.dirname(root)
        known = configuring.remotes_of(root)
        if not known or os.path.lexists(f"{root}/{layout.DIRECTORY}"):
            raise
        name = configuring.DEFAULT if configuring.DEFAULT in known else min(known)
        return found(root, known[name], context)


def found(root: str, settings: project.Remote, context: Context) -> Workspace:
    """Make the repository itself, empty and with the remote's key, and the remote as ``origin`` in ``dv.toml``.

    Raises:
        ConflictError: when it would lie inside another repository.
        NotFoundError, KeyAccessError, StorageError, IntegrityError: when the remote cannot be opened.
    """
    outer = layout.enclosing(root) if os.path.isdir(root) else layout.enclosing(os.path.dirname(root))
    if outer is not None:
        raise ConflictError(
            "a repository cannot lie inside another", where=root, why=f"{outer} is one", next="name another place"
        )
    described, opened, protection = _look(settings, context)
    context.disk.make_directory(root)
    is_new = not os.path.lexists(f"{root}/{projects.FILE}")
    fresh = f"{root}/{paths.PARTIAL}{temporary_name()}"
    try:
        context.disk.make_directory(fresh)
        os.chmod(fresh, 0o700)
        founding.make_control(
            fresh,
            context,
            described=msgspec.structs.replace(described, store=context.entropy.bytes(16)),
            opened=keys.for_another_store(opened, context.entropy),
            branch=DEFAULT_BRANCH,
        )
        if is_new:  # before the repository counts, so that one which is cut off here knows where to go on
            configuring.add(root, configuring.DEFAULT, settings, context.disk)
        context.disk.rename(fresh, f"{root}/{layout.DIRECTORY}")
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if is_new:
            with contextlib.suppress(DvError):
                context.disk.unlink(f"{root}/{projects.FILE}")
        raise
    context.disk.sync_directory(root)
    beside.ignore_roots(root, [], context.disk)
    workspace = Workspace.open(root, context)
    wrap = keys.Secrets(opened).wrap
    seen = memory.Memory(
        place=memory.aim(settings),
        protection=protection,
        format=storeformat.encode(described),
        wrap=wrap.current,
        previous=wrap.previous or b"",
        number=0,
        head=bytes(32),
        checkpoint=0,
    )
    memory.remember(workspace.session, configuring.DEFAULT, seen)  # so that nobody is asked for a passphrase again
    return workspace


def _look(settings: project.Remote, context: Context) -> tuple[storeformat.StoreFormat, Opened, int]:
    """Return what the remote says of itself, its secrets, and how they are protected there."""
    place = places.with_key(places.open_place(settings, context), settings, context)
    try:
        described = storeformat.decode(place.read("format"))
    except NotFoundError:
        raise NotFoundError(
            "there is no store at this place",
            where=settings.url,
            next="check the URL; a store gets there by 'dv push' from a repository",
        ) from None
    try:
        data = keys.read_repokey(place)
        opened = repokey.decode(data, described.repository, context.unlock)
    except KeyAccessError as error:
        if settings.keys is None and not place.exists(keys.REPOSITORY_KEY):
            error.next = f"if it is kept at another place, name that with --keys URL; else {error.next}"
        raise
    return described, opened, repokey.describe(data, described.repository).protection


def fill(workspace: Workspace, settings: project.Remote, *, lazy: bool, expires: int = 0) -> CloneResult:
    """Fetch into a new repository, and write the files of its default branch."""
    session = workspace.session
    remote = reaching.Remote(workspace, configuring.DEFAULT, settings)
    lazily.enable(workspace, remote)
    if expires:
        clones.set_lifetime(workspace, expires)
    with workspace.changing():
        if lazy:
            lazily.note(workspace, remote.name)
            session.set_sparse(only=(), dropped=("",))
        fetched = fetching.fetch(remote, with_data=not lazy, follow=following.followed)
        branch = _default(remote)
        written = 0
        snapshot = None
        if branch is not None:
            theirs = session.state.ref(remote.prefix + branch)
            _settle_on(workspace, branch)
            if theirs is not None:
                snapshot = session.state.standing(theirs) or theirs
                written = advancing.fast_forward(workspace, snapshot, operation="clone").files
                _take_settings(workspace, settings, snapshot)
        _keep_remote(workspace, settings)
        workspace.after_change()
    return CloneResult(
        path=session.root,
        lazy=lazy,
        fetched=fetched,
        branch=branch or DEFAULT_BRANCH,
        snapshot=snapshot.hex() if snapshot is not None else None,
        written=written,
    )


def _default(remote: Remote) -> str | None:
    """Return the branch to begin with: ``main``, or the first by name; None when the remote has none."""
    state = remote.session.state
    names = [name.removeprefix(remote.prefix) for name, _value in state.ref_names(remote.prefix)]
    return DEFAULT_BRANCH if DEFAULT_BRANCH in names else min(names, default=None)


def _settle_on(workspace: Workspace, branch: str) -> None:
    """Put HEAD on a branch that is not there yet."""
    session = workspace.session
    head = session.head()
    value = log.to_symbolic(f"heads/{branch}")
    if head.value != value:
        move = log.MoveRef(name=session.head_ref, old=head.value, new=value)
        session.store.log.append("clone", lambda _state: [move])
        session.store.refresh()


def _take_settings(workspace: Workspace, settings: project.Remote, snapshot: bytes) -> None:
    """Bring the ``dv.toml`` of the snapshot in the place of one that only names the remote."""
    session = workspace.session
    if workspace.in_git() or projects.read(session.root) != project.Project(remotes={configuring.DEFAULT: settings}):
        return
    for name, identity, size in session.snapshot(snapshot).settings:
        if name == projects.FILE:
            entry = Entry(tree.FILE, size, identity)
            session.bring((entry,))
            data = Contents(session.store).whole(entry)
            try:
                project.decode(data)
            except FormatError as error:
                session.context.tell(
                    f"warning: the dv.toml of the snapshot cannot be used, and was left out: {error.why}"
                )
                return
            layout.write_file(f"{session.root}/{name}", data, session.context.disk, mode=0o644)


def _keep_remote(workspace: Workspace, settings: project.Remote) -> None:
    """Have ``dv.toml`` name the place that was cloned, whatever the snapshot brought."""
    session = workspace.session
    known = configuring.remotes_of(session.root).get(configuring.DEFAULT)
    if known is None:
        configuring.add(session.root, configuring.DEFAULT, settings, session.context.disk)
        return
    if settings.single_writer is msgspec.UNSET:  # nobody said it, and it leads nowhere else
        settings = msgspec.structs.replace(settings, single_writer=known.single_writer)
    if known != settings:
        before, now = memory.aim(known), memory.aim(settings)
        session.context.tell(
            f"note: dv.toml named another place as {configuring.DEFAULT!r}, {before}; it names {now} now"
            if before != now
            else f"note: dv.toml had other options for {configuring.DEFAULT!r}; it has those that were given now"
        )
        configuring.remove(session.root, configuring.DEFAULT, session.context.disk)
        configuring.add(session.root, configuring.DEFAULT, settings, session.context.disk)


def _absolute(url: str) -> str:
    """Return a URL that means the same from every directory."""
    return url if "://" in url else os.path.abspath(url)
