"""What a repository does with others: remotes, and the key that is shared; a part of :class:`dvtool.repo.Repo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvtool.errors import UsageError
from dvtool.worktree.session import Context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dvtool.checking import Report
    from dvtool.formats.repokey import Protection
    from dvtool.operations.fetch import PullResult
    from dvtool.operations.keys import KeyBackup, KeyChange, KeyRotation, KeyState
    from dvtool.operations.push import PushResult
    from dvtool.operations.remote_check import RemoteReport
    from dvtool.operations.remotes import RemoteItem
    from dvtool.sharing.fetching import FetchResult
    from dvtool.workspace import Workspace


def several(arguments: Sequence[str]) -> Sequence[str]:
    """Return a list of words, unless it is one text: every letter of that would be taken for one.

    Raises:
        UsageError: when it is one text.
    """
    if isinstance(arguments, str):
        raise UsageError(f"{arguments!r} is one path where a list is expected", next=f"write [{arguments!r}]")
    return arguments


class SharedRepo:
    """The methods of a repository that deal with remotes and keys; see :class:`dvtool.repo.Repo`."""

    _workspace: Workspace

    def fetch(self, remote: str | None = None) -> FetchResult:
        """Bring a remote's branches and tags here; see :func:`dvtool.operations.fetch.fetch`."""
        from dvtool.operations import fetch

        return fetch.fetch(self._workspace, remote)

    def pull(self, remote: str | None = None) -> PullResult:
        """Fetch, and follow the remote's branch; see :func:`dvtool.operations.fetch.pull`."""
        from dvtool.operations import fetch

        return fetch.pull(self._workspace, remote)

    def push(
        self,
        remote: str | None = None,
        refs: Sequence[str] = (),
        *,
        delete: bool = False,
        force_with_lease: bool = False,
    ) -> PushResult:
        """Send branches and tags to a remote; see :func:`dvtool.operations.push.push`."""
        from dvtool.operations import push
        from dvtool.sharing import reaching

        reached = reaching.reach(self._workspace, remote)
        return push.push(self._workspace, reached, several(refs), delete=delete, lease=force_with_lease)

    def remotes(self) -> list[RemoteItem]:
        """Return the remotes; see :func:`dvtool.operations.remotes.list_remotes`."""
        from dvtool.operations import remotes

        return remotes.list_remotes(self._workspace)

    def add_remote(
        self,
        name: str,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        keys: str | None = None,
        protection: Protection | None = None,
        single_writer: bool = False,
    ) -> RemoteItem:
        """Write a remote into ``dv.toml``; see :func:`dvtool.operations.remotes.add`."""
        from dvtool.operations import remotes

        return remotes.add(
            self._workspace,
            name,
            url,
            options=options,
            keys_url=keys,
            protection=protection,
            single_writer=single_writer,
        )

    def check_remote(self, name: str | None = None) -> RemoteReport:
        """Find out what a remote can do; see :func:`dvtool.operations.remote_check.check`."""
        from dvtool.operations import remote_check

        return remote_check.check(self._workspace, name)

    def remove_remote(self, name: str, *, force: bool = False) -> RemoteItem:
        """Take a remote out of ``dv.toml``; see :func:`dvtool.operations.remotes.remove`."""
        from dvtool.operations import remotes

        return remotes.remove(self._workspace, name, force=force)

    def rename_remote(self, old: str, new: str) -> RemoteItem:
        """Give a remote another name; see :func:`dvtool.operations.remotes.rename`."""
        from dvtool.operations import remotes

        return remotes.rename(self._workspace, old, new)

    def set_remote_url(self, name: str, url: str) -> RemoteItem:
        """Give a remote another URL; see :func:`dvtool.operations.remotes.set_url`."""
        from dvtool.operations import remotes

        return remotes.set_url(self._workspace, name, url)

    def fsck_remote(self, remote: str, *, quick: bool = False, max_bytes: int | None = None) -> Report:
        """Check the store of a remote; see :func:`dvtool.operations.fsck.fsck_remote`."""
        from dvtool.operations import fsck

        return fsck.fsck_remote(self._workspace, remote, quick=quick, max_bytes=max_bytes)

    def repair_remote(self, remote: str) -> Report:
        """Mend the store of a remote; see :func:`dvtool.operations.repair_remote.repair_remote`."""
        from dvtool.operations import repair_remote

        return repair_remote.repair_remote(self._workspace, remote)

    def protect_key(self, protection: Protection) -> KeyChange:
        """Seal the key of this store anew; see :func:`dvtool.operations.keys.protect`."""
        from dvtool.operations import keys

        return keys.protect(keys.of_store(self._workspace), self._workspace.session.context, protection)

    def export_key(self, target: str, protection: Protection) -> KeyBackup:
        """Write a backup of the key; see :func:`dvtool.operations.keys.export`."""
        from dvtool.operations import keys

        return keys.export(keys.of_store(self._workspace), self._workspace.session.context, target, protection)

    def rotate_key(self, protection: Protection | None = None, *, remote: str | None = None) -> KeyRotation:
        """Give the store, or that of a remote, another wrapping secret; see :func:`dvtool.operations.keys.rotate`.

        This object keeps the old one of its own store: open the repository anew after that.
        """
        from dvtool.operations import keys

        place = keys.of_store(self._workspace) if remote is None else keys.of_remote(self._workspace, remote)
        return keys.rotate(place, self._workspace.session.context, protection)

    @staticmethod
    def import_key(source: str, path: str = ".", context: Context | None = None, *, force: bool = False) -> KeyState:
        """Put a backup of the key back, in the repository that holds ``path``, which need not open for that.

        See :func:`dvtool.operations.keys.bring_back`.
        """
        from dvtool.operations import keys

        return keys.bring_back(path, context or Context(), source, force=force)
