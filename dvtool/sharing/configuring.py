"""The remotes of ``dv.toml``: reading what people wrote there, and changing it without touching the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import urls
from dvtool.errors import ExistsError, FormatError, NotFoundError, UsageError
from dvtool.formats import project
from dvtool.storage.disk import read_regular
from dvtool.worktree import layout
from dvtool.worktree.projects import FILE, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.formats.project import Remote
    from dvtool.storage.disk import Disk
    from dvtool.workspace import Workspace

DEFAULT: Final = "origin"


def remotes(workspace: Workspace) -> dict[str, Remote]:
    """Return the remotes by name, as :func:`remotes_of`; raises as :func:`read`."""
    return remotes_of(workspace.session.root)


def remotes_of(root: str) -> dict[str, Remote]:
    """Return the remotes that ``dv.toml`` in ``root`` names, with places that mean the same from every directory.

    Raises:
        FormatError, StorageError: as :func:`read`.
    """
    return {
        name: msgspec.structs.replace(
            each,
            url=urls.anchored(each.url, root),
            keys=urls.anchored(each.keys, root) if each.keys is not None else None,
        )
        for name, each in read(root).remotes.items()
    }


def find(workspace: Workspace, name: str | None) -> tuple[str, Remote]:
    """Return a remote by its name: ``origin`` or the only one when there is no name.

    Raises:
        NotFoundError: when there is none of this name, or none at all.
        UsageError: when there are several, none is called ``origin``, and none was named.
    """
    known = remotes(workspace)
    if name is None and len(known) == 1:
        return next(iter(known.items()))
    wanted = name or DEFAULT
    if wanted in known:
        return wanted, known[wanted]
    if name is None and known:
        raise UsageError("there are several remotes", items=tuple(sorted(known)), next="name one of them")
    if name is None:
        raise NotFoundError("there is no remote", next="add one: dv remote add origin URL")
    raise NotFoundError(f"there is no remote {name!r}", next="run 'dv remote list' to see which there are")


def add(root: str, name: str, remote: Remote, disk: Disk) -> None:
    """Write a new remote into ``dv.toml``, which is made if there is none.

    Raises:
        ExistsError: when there is one of this name.
        UsageError: when the name or the URL cannot be used.
        FormatError: when ``dv.toml`` cannot be used as it is.
    """
    if name in read(root).remotes:
        raise ExistsError(
            f"there is a remote {name!r} already",
            next=f"choose another name, or change it: dv remote set-url {name} URL",
        )

    def change(document: Any) -> None:
        import tomlkit

        above = document.setdefault("remote", tomlkit.table(is_super_table=True))
        table = tomlkit.table()
        table["url"] = remote.url
        if remote.keys is not None:
            table["keys"] = remote.keys
        if remote.single_writer is True:
            table["single-writer"] = True
        if remote.options:
            table["options"] = dict(remote.options)
        above[name] = table

    _edit(root, change, disk)


def remove(root: str, name: str, disk: Disk) -> None:
    """Take a remote out of ``dv.toml``."""

    def change(document: Any) -> None:
        del document["remote"][name]
        if not document["remote"]:
            del document["remote"]

    _edit(root, change, disk)


def rename(root: str, old: str, new: str, disk: Disk) -> None:
    """Give a remote of ``dv.toml`` another name, which no other has."""

    def change(document: Any) -> None:
        document["remote"][new] = document["remote"].pop(old)

    _edit(root, change, disk)


def set_url(root: str, name: str, url: str, disk: Disk) -> None:
    """Give a remote of ``dv.toml`` another URL."""

    def change(document: Any) -> None:
        document["remote"][name]["url"] = url

    _edit(root, change, disk)


def _edit(root: str, change: Callable[[Any], None], disk: Disk) -> None:
    """Change ``dv.toml``, comments and order kept; what comes out is read before it is written."""
    import tomlkit

    path = f"{root}/{FILE}"
    try:
        before = read_regular(path, project.SIZE_LIMIT + 1).decode()
        mode = os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        before, mode = "", 0o644
    document = tomlkit.parse(before)
    change(document)
    data = tomlkit.dumps(document).encode()
    try:
        project.decode(data)
    except FormatError as error:
        raise UsageError("the remote cannot be written into dv.toml", why=error.why, next=error.next) from None
    layout.write_file(path, data, disk, mode=mode)
