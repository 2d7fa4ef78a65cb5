"""``dv config``: personal settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool.errors import NotFoundError, UsageError
from dvtool.formats import project
from dvtool.worktree import settings

if TYPE_CHECKING:
    from dvtool.storage.disk import Disk
    from dvtool.workspace import Workspace


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, its value (None: it was removed), and where it stands: ``worktree`` or ``user``."""

    key: str
    value: str | None
    origin: str


def show(workspace: Workspace | None) -> list[Setting]:
    """Return all settings in force, sorted by key; the worktree's win over the user's."""
    user = settings.load(settings.user_path())
    own = settings.load(workspace.session.layout.config) if workspace is not None else {}
    found = [Setting(key=key, value=value, origin="user") for key, value in user.items() if key not in own]
    found += [Setting(key=key, value=value, origin="worktree") for key, value in own.items()]
    return sorted(found, key=lambda setting: setting.key)


def get(workspace: Workspace | None, key: str) -> Setting:
    """Return one setting.

    Raises:
        UsageError: when there is no such setting.
        NotFoundError: when it has no value.
    """
    _check_key(key)
    for setting in show(workspace):
        if setting.key == key:
            return setting
    raise NotFoundError(f"{key} is not set", next=f"set it: dv config {key} VALUE")


def put(workspace: Workspace | None, key: str, value: str | None, disk: Disk) -> Setting:
    """Set one setting of the worktree, or of the user where there is no worktree; None removes it.

    Raises:
        UsageError: when there is no such setting, or the value is blank or cannot be printed.
    """
    _check_key(key)
    if value is not None and not (value.strip() and value.isprintable()):
        raise UsageError(
            f"{value!r} cannot be the value of {key}",
            why="it is blank, or holds what cannot be printed",
            next=f"give another value, or remove the setting: dv config --unset {key}",
        )
    path = workspace.session.layout.config if workspace is not None else settings.user_path()
    settings.store(path, key, value, disk)
    return Setting(key=key, value=value, origin="worktree" if workspace is not None else "user")


def _check_key(key: str) -> str:
    """Return ``key`` if it is a personal setting; what all who share the data have in common stands in dv.toml."""
    if key.partition(".")[0] in project.KEYS:
        raise UsageError(
            f"{key!r} is no personal setting",
            why="it stands in dv.toml, for all who share the data",
            next="edit dv.toml, then check it with 'dv doctor'",
        )
    return settings.check_key(key)
