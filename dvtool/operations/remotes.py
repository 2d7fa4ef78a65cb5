"""``dv remote``: which stores elsewhere a repository knows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from dvtool.errors import ConflictError, ExistsError, UsageError
from dvtool.formats import log, project, repokey, tree
from dvtool.history.revisions import check_name
from dvtool.sharing import configuring, lazily, memory, reaching
from dvtool.store import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dvtool.formats.repokey import Protection
    from dvtool.store.state import State
    from dvtool.workspace import Workspace


class RemoteItem(msgspec.Struct, frozen=True, kw_only=True):
    """A remote: its name and URL, where its key is kept if not with it, and whether it was ever reached from here."""

    name: str
    url: str
    keys: str | None
    seen: bool


def list_remotes(workspace: Workspace) -> list[RemoteItem]:
    """Return the remotes of ``dv.toml``, sorted by name; raises as :func:`dvtool.sharing.configuring.read`."""
    known = set(memory.known(workspace.session))
    return [_item(name, each, seen=name in known) for name, each in sorted(configuring.remotes(workspace).items())]


def add(
    workspace: Workspace,
    name: str,
    url: str,
    *,
    options: Mapping[str, Any] | None = None,
    keys_url: str | None = None,
    protection: Protection | None = None,
    single_writer: bool = False,
) -> RemoteItem:
    """Write a remote into ``dv.toml``; nothing is asked of it yet.

    Args:
        workspace: the worktree.
        name: what it is to be called.
        url: a directory, or a URL.
        options: for its file system; never credentials.
        keys_url: where the key is kept, if not with the data; in the clear unless ``protection`` says more.
        single_writer: whether a place will do that cannot keep two writers apart.
        protection: how the key is kept there, if the first push has to make a store; it can be said later.

    Raises:
        ExistsError: when there is one of this name.
        UsageError: when the name or URL cannot be used.
    """
    check_name(name, what="remote")
    settings = project.Remote(
        url=_place(workspace, url),
        options=dict(options or {}),
        keys=_place(workspace, keys_url) if keys_url is not None else None,
        single_writer=single_writer or msgspec.UNSET,
    )
    remote = reaching.Remote(workspace, name, settings, is_new=True)  # which refuses a URL that names no place
    with workspace.changing():
        configuring.add(workspace.session.root, name, settings, workspace.session.context.disk)
        memory.forget(workspace.session, name)
        if protection is not None or keys_url is not None:
            remote.protect(protection or repokey.Plain())
    return _item(name, settings, seen=False)


def remove(workspace: Workspace, name: str, *, force: bool = False) -> RemoteItem:
    """Take a remote out of ``dv.toml``, with what is known here of its branches; nothing happens at the remote.

    Args:
        workspace: the worktree.
        name: the remote.
        force: remove it although this clone has no data of its own, and brings them from there.

    Raises:
        NotFoundError: when there is none of this name.
        ConflictError: when this clone has no data of its own, and brings them from there.
    """
    name, settings = configuring.find(workspace, name)
    with workspace.changing():
        if not force and workspace.session.lazy == name:
            lacking = tuple(_lacking(workspace))
            count = f"{len(lacking):,} {'file' if len(lacking) == 1 else 'files'}"
            raise ConflictError(
                f"this is a lazy clone, and what it lacks is at {name!r}",
                where=settings.url,
                why=f"without it the content of {count} of the current snapshot, and of files of others, is out of "
                "reach",
                items=lacking,
                next="bring what you need with 'dv get' first, or give the place another name with 'dv remote rename'; "
                f"'dv remote remove {name} --force' removes it all the same",
            )
        _move_refs(workspace, name, None)
        configuring.remove(workspace.session.root, name, workspace.session.context.disk)
        memory.forget(workspace.session, name)
        workspace.after_change()
    return _item(name, settings, seen=False)


def rename(workspace: Workspace, old: str, new: str) -> RemoteItem:
    """Give a remote another name, here alone.

    Raises:
        NotFoundError: when there is none of the old name.
        ExistsError: when there is one of the new name.
    """
    old, settings = configuring.find(workspace, old)
    check_name(new, what="remote")
    session = workspace.session
    with workspace.changing():
        if new in configuring.remotes(workspace):
            raise ExistsError(f"there is a remote {new!r} already", next="choose another name")
        seen = memory.recall(session, old)
        if seen is not None:
            memory.remember(session, new, seen)
        _move_refs(workspace, old, new)
        if session.lazy == old:
            lazily.note(workspace, new)
        # Last of what counts: stopped before it, the same command goes on.
        configuring.rename(session.root, old, new, session.context.disk)
        memory.forget(session, old)
        workspace.after_change()
    return _item(new, settings, seen=seen is not None)


def set_url(workspace: Workspace, name: str, url: str) -> RemoteItem:
    """Give a remote another URL, and forget what was seen at the old one.

    Raises:
        NotFoundError: when there is none of this name.
        UsageError: when the URL cannot be used.
    """
    name, settings = configuring.find(workspace, name)
    before = settings.url
    settings = msgspec.structs.replace(settings, url=_place(workspace, url))
    reaching.Remote(workspace, name, settings, is_new=True)
    session = workspace.session
    if session.lazy == name and settings.url != before:
        session.context.tell(
            f"warning: this is a lazy clone, and what it lacks was at {before}; it has to be at {settings.url} as well"
        )
    with workspace.changing():
        configuring.set_url(session.root, name, settings.url, session.context.disk)
        memory.forget(session, name)
    return _item(name, settings, seen=False)


def _lacking(workspace: Workspace) -> Iterator[str]:
    """Yield the paths of the current snapshot of which not all content is in the store here."""
    session = workspace.session
    root = session.head_tree()
    if root is None:
        return
    store = session.store
    for path, entry in session.trees.walk(root, ""):
        if not entry.size or entry.kind in {tree.DIRECTORY, tree.ERASED}:
            continue
        if entry.kind not in tree.LONG:
            is_here = store.has(entry.id)
        else:
            is_here = all(store.has(chunk) for chunk, _length in manifests.chunks_of(store, entry.id, entry.size))
        if not is_here:
            yield path


def _place(workspace: Workspace, url: str) -> str:
    """Return a URL that means the same from every directory.

    Raises:
        UsageError: when it is empty.
    """
    if not url.strip() or "\0" in url:
        raise UsageError("an empty URL names no place", next="write a directory, or a URL such as s3://bucket/prefix")
    if "://" in url:
        return url
    return os.path.normpath(os.path.join(workspace.session.context.cwd or os.getcwd(), url))


def _move_refs(workspace: Workspace, old: str, new: str | None) -> None:
    """Give what is known of a remote's branches other names, or forget it."""
    store = workspace.session.store
    before = f"remotes/{old}/"

    def build(state: State) -> list[log.Action]:
        known = state.ref_names(before)
        moves: list[log.Action] = [log.MoveRef(name=name, old=value, new=None) for name, value in known]
        if new is not None:
            after = f"remotes/{new}/"
            moves += [log.MoveRef(name=after + name.removeprefix(before), old=None, new=value) for name, value in known]
        return moves

    if build(store.refresh()):
        store.log.append("remote", build)
        store.refresh()


def _item(name: str, settings: project.Remote, *, seen: bool) -> RemoteItem:
    return RemoteItem(name=name, url=settings.url, keys=settings.keys, seen=seen)
