"""``dv branch`` and ``dv tag``: names for snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import ConflictError, ExistsError, NotFoundError
from dvtool.formats import log
from dvtool.history import graph
from dvtool.history.revisions import check_name

if TYPE_CHECKING:
    from dvtool.store.state import State
    from dvtool.workspace import Workspace


class RefItem(msgspec.Struct, frozen=True, kw_only=True):
    """A branch or tag, the snapshot it names, and whether the worktree is on it."""

    name: str
    snapshot: str
    current: bool


def branches(workspace: Workspace) -> list[RefItem]:
    """Return the branches, sorted by name."""
    return _list(workspace, "heads/")


def tags(workspace: Workspace) -> list[RefItem]:
    """Return the tags, sorted by name."""
    return _list(workspace, "tags/")


def create_branch(workspace: Workspace, name: str, revision: str | None = None) -> RefItem:
    """Make a branch at ``revision`` (HEAD by default).

    Raises:
        ExistsError: when there is one of this name.
        UsageError: when the name is not allowed.
    """
    return _create(workspace, "heads/", name, revision, what="branch")


def create_tag(workspace: Workspace, name: str, revision: str | None = None) -> RefItem:
    """Make a tag at ``revision`` (HEAD by default); raises as :func:`create_branch`."""
    return _create(workspace, "tags/", name, revision, what="tag")


def delete_branch(workspace: Workspace, name: str, *, force: bool = False) -> RefItem:
    """Remove a branch; its snapshots stay as long as something else leads to them.

    Raises:
        NotFoundError: when there is none of this name.
        ConflictError: when a worktree is on it, or its snapshots are on no other branch and ``force`` was not said.
    """
    session = workspace.session
    session.store.refresh()
    value = _existing(workspace, "heads/", name, what="branch")
    pointing = log.to_symbolic(f"heads/{name}")
    if any(found == pointing for _worktree, found in session.state.ref_names("worktrees/")):
        raise ConflictError(f"a worktree is on branch {name!r}", next="switch it to another branch first")
    if not force:
        others = [tip for ref, tip in session.state.ref_names("heads/") if ref != f"heads/{name}"]
        others += [tip for _ref, tip in session.state.ref_names("tags/")]
        others += [tip for _ref, tip in session.state.ref_names("remotes/")]
        read, current = session.snapshot, session.resolve_superseded
        if not any(graph.is_ancestor(value, tip, read, current) for tip in others):
            raise ConflictError(
                f"branch {name!r} has snapshots that are on no other branch or tag",
                next=f"merge or tag them, or delete the branch all the same: dv branch -d --force {name}",
            )
    return _delete(workspace, "heads/", name, value)


def delete_tag(workspace: Workspace, name: str) -> RefItem:
    """Remove a tag.

    Raises:
        NotFoundError: when there is none of this name.
    """
    workspace.session.store.refresh()
    return _delete(workspace, "tags/", name, _existing(workspace, "tags/", name, what="tag"))


def rename_branch(workspace: Workspace, old: str, new: str) -> RefItem:
    """Give a branch another name; worktrees that are on it follow.

    Raises:
        NotFoundError: when there is no branch ``old``.
        ExistsError: when there is a branch ``new``.
    """
    session = workspace.session
    check_name(new, what="branch")

    def build(current: State) -> list[log.Action]:
        value = current.ref(f"heads/{old}")
        before, after = log.to_symbolic(f"heads/{old}"), log.to_symbolic(f"heads/{new}")
        followers = [ref for ref, found in current.ref_names("worktrees/") if found == before]
        if value is None and not followers:
            raise NotFoundError(f"there is no branch {old!r}", next="run 'dv branch' to see which there are")
        if current.ref(f"heads/{new}") is not None:
            raise ExistsError(f"there is a branch {new!r} already", next="choose another name")
        actions: list[log.Action] = [log.MoveRef(name=ref, old=before, new=after) for ref in followers]
        if value is not None:
            actions += [
                log.MoveRef(name=f"heads/{old}", old=value, new=None),
                log.MoveRef(name=f"heads/{new}", old=None, new=value),
            ]
        return actions

    with workspace.changing():
        session.store.log.append("branch", build)
        state = session.store.refresh()
        workspace.after_change()
    value = state.ref(f"heads/{new}")
    return RefItem(name=new, snapshot=value.hex() if value else "", current=session.head().branch == new)


def _list(workspace: Workspace, prefix: str) -> list[RefItem]:
    session = workspace.session
    current = session.head().branch if prefix == "heads/" else None
    return [
        RefItem(name=name.removeprefix(prefix), snapshot=value.hex(), current=name.removeprefix(prefix) == current)
        for name, value in session.state.ref_names(prefix)
    ]


def _create(workspace: Workspace, prefix: str, name: str, revision: str | None, *, what: str) -> RefItem:
    session = workspace.session
    check_name(name, what=what)
    session.store.refresh()
    identity = workspace.resolve_kept(revision or "HEAD").id
    if session.state.ref(prefix + name) is not None:
        raise ExistsError(
            f"there is a {what} {name!r} already",
            next=f"choose another name, or remove it: dv {what} -d {name}",
        )
    move = log.MoveRef(name=prefix + name, old=None, new=identity)
    session.store.log.append(what, lambda _state: [move])
    workspace.after_change()
    return RefItem(name=name, snapshot=identity.hex(), current=False)


def _existing(workspace: Workspace, prefix: str, name: str, *, what: str) -> bytes:
    value = workspace.session.state.ref(prefix + name)
    if value is None:
        raise NotFoundError(f"there is no {what} {name!r}", next=f"run 'dv {what}' to see which there are")
    return value


def _delete(workspace: Workspace, prefix: str, name: str, value: bytes) -> RefItem:
    move = log.MoveRef(name=prefix + name, old=value, new=None)
    workspace.session.store.log.append("branch" if prefix == "heads/" else "tag", lambda _state: [move])
    workspace.after_change()
    return RefItem(name=name, snapshot=value.hex(), current=False)
