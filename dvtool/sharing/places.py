"""Opens the place of a remote, with its key where the settings say that it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.storage import opening
from dvtool.storage.apart import Apart
from dvtool.store import keys

if TYPE_CHECKING:
    from dvtool.formats.project import Remote as Settings
    from dvtool.storage.backend import Backend
    from dvtool.worktree.session import Context


def open_place(settings: Settings, context: Context, scratch: str | None = None) -> Backend:
    """Return the place of a remote's store; raises as :func:`dvtool.storage.opening.open_place`.

    Args:
        settings: the remote's.
        context: the command's.
        scratch: where unfinished files for it lie on this machine.
    """
    return opening.open_place(
        settings.url, settings.options, entropy=context.entropy, disk=context.disk, scratch=scratch
    )


def with_key(place: Backend, settings: Settings, context: Context) -> Backend:
    """Return the place of a remote's store, in which the key is the one that it keeps at another place, if it does.

    The options of the remote hold for that place as well when it is of the same kind: others would be refused there.

    Raises:
        UsageError: when the settings name no place for the key.
    """
    if settings.keys is None:
        return place
    options = settings.options if _kind(settings.keys) == _kind(settings.url) else {}
    elsewhere = opening.open_place(settings.keys, options, entropy=context.entropy, disk=context.disk)
    return Apart(place, keys.REPOSITORY_KEY, elsewhere, disk=context.disk)


def _kind(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""
