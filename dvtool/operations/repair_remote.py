"""``dv fsck --remote NAME --repair``: mends the store of a remote with what this clone has.

First whole files, by name: packs that are here under the same name, and index files of which a copy was kept.  Then key
and index files, which follow from the packs; then objects, by id.  A copy of whatever was damaged is kept here first.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.checking import Repair
from dvtool.errors import DvError
from dvtool.formats import pack, storeformat
from dvtool.history.describe import rfc3339
from dvtool.sharing import clones, fetching, memory, reaching
from dvtool.sharing.examining import RemoteCheck
from dvtool.sharing.recovering import Aside, Recovery
from dvtool.storage.local import LocalBackend
from dvtool.store import keys, mending, restoring
from dvtool.store.store import Known, Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from dvtool.checking import Report
    from dvtool.formats import log
    from dvtool.workspace import Workspace

DIRECTORY: Final = "quarantine"


def repair_remote(workspace: Workspace, name: str) -> Report:
    """Mend the store of a remote as far as this clone has what is lost there, and check it again.

    Nothing that is sound is written over, and of what was damaged a copy is kept in ``.dv/quarantine/remote-NAME``.
    Damaged packs of which something is found nowhere stay where they are: another clone may have it.

    Args:
        workspace: the worktree.
        name: which remote.

    Raises:
        NotFoundError: when there is no such remote, or no store there.
        StorageError: when it does not answer, or refuses; what is mended by then is.
        ConflictError: when it is the store of another repository, or an erasure is under way there.
        KeyAccessError: when its key is missing or wrong.
    """
    with workspace.changing(), contextlib.ExitStack() as closing:
        return _RemoteRepair(workspace, name, closing).run()


class _RemoteRepair:
    def __init__(self, workspace: Workspace, name: str, closing: contextlib.ExitStack) -> None:
        self.workspace = workspace
        self.name = name
        self.session = workspace.session
        self.context = workspace.session.context
        self.closing = closing
        self.check = self._examine()
        self.backend = self.check.backend
        when = rfc3339(self.context.clock.now()).replace(":", "").replace("-", "")
        beside = os.path.dirname(self.session.layout.store())
        place = f"{beside}/{DIRECTORY}/remote-{name.replace('/', '%2F')}/{when}"
        self.aside = Aside(self.backend, place, self.context.disk)
        here = restoring.Spare(self.session.store.backend, "the store here", only=("packs",))
        copies = _Copies(memory.mirror(self.session, name), "", entropy=self.context.entropy, disk=self.context.disk)
        self.restorer = restoring.Restorer(
            self.backend,
            [here, restoring.Spare(copies, "copies of the remote's files", only=("index", "packs"))],
            self.aside,
            disk=self.context.disk,
            clock=self.context.clock,
            entropy=self.context.entropy,
            unlock=self.context.unlock,
        )
        self.recovery = Recovery(
            self._store, self.aside, self._look, tell=self.context.tell, known=self._known_keys, shared=True
        )
        self.restored: list[str] = []

    def run(self) -> Report:
        """Mend what can be mended and return what is left, with what was done."""
        self._whole_files()
        self.recovery.segments()
        self.recovery.tables()
        self._whole_files()
        check = self._examine()
        report = check.run(quick=False)
        if not report.clean:
            self.recovery.whole(check, self.restorer, self._examine)
            self.backend.flush()
            check = self._examine()
            report = check.run(quick=False)
        if check.store is not None:
            fetching.note(check.remote)
        held = tuple(sorted(self.aside.held))
        done = Repair(
            quarantine=self.aside.place if held else None,
            quarantined=held,
            restored=tuple(sorted([*self.restorer.restored, *self.restored])),
            rebuilt=tuple(sorted(self.recovery.rebuilt)),
            copied=self.recovery.copied,
            recovered=self.recovery.recovered,
            given_up=(),
            unnamed=(),
        )
        return msgspec.structs.replace(report, repair=done)

    def _examine(self) -> RemoteCheck:
        self.check = RemoteCheck(self.workspace, self.name)
        self.closing.callback(self.check.close)
        return self.check

    def _whole_files(self) -> None:
        """Put back by name what is missing or damaged, as long as that brings more to light."""
        while True:
            check = self._examine()
            _names, live = check.surface()
            self.backend.prepare(storeformat.DIRECTORIES)  # nothing could be put back into those that are missing
            damaged = {damage.file for damage in check.damages}
            self._format(damaged)
            for name, (segment, position) in live.items():
                size = segment.index.directory.packs[position].size
                file = pack.file_name(name)
                if not check.backend.exists(file) or check.backend.size(file) != size:
                    damaged.add(file)
            if not self.restorer.restore(damaged):
                return

    def _format(self, damaged: AbstractSet[str]) -> None:
        """Write the file ``format`` as it was when it was last seen, if it is damaged or missing."""
        seen = self.check.remote.memory
        if reaching.FORMAT in damaged and seen is not None and seen.format:
            self.aside.keep(reaching.FORMAT)
            self.backend.replace(reaching.FORMAT, seen.format)
            self.restored.append(reaching.FORMAT)

    def _store(self, instead: Mapping[str, log.Segment] | None = None) -> Store:
        context = self.context
        return Store(
            self.backend,
            clock=context.clock,
            entropy=context.entropy,
            disk=context.disk,
            instead=instead,
            known=self._known(),
        )

    def _known(self) -> Known:
        """Return what must be known of the remote's store, whether its log can be read or not."""
        store = self.check.store
        if store is not None:
            return Known(format=store.format, secrets=store.secrets)
        seen = self.check.remote.memory
        described = storeformat.decode(
            seen.format if seen is not None and seen.format else self.backend.read(reaching.FORMAT)
        )
        try:
            secrets = self.check.remote.unlock_proven(described.repository)
        except DvError:
            if seen is None or not seen.format:
                raise
            wrap = keys.Wrapping(current=seen.wrap, previous=seen.previous or None)
            secrets = self.session.store.secrets.with_wrap(wrap)
        return Known(format=described, secrets=secrets)

    def _known_keys(self) -> dict[bytes, bytes]:
        """Return the keys of packs that are here: one that moved whole has the same name and key at both places."""
        store = self.session.store
        store.refresh()
        found: dict[bytes, bytes] = {}
        for segment in store.segments.live():
            try:
                found.update(segment.keys.packs)
            except DvError:
                continue  # what is lost here cannot help there
        return found

    def _look(self, _store: Store, wanted: mending.Wanted, _near: AbstractSet[str]) -> None:
        """Look for what is wanted in the store here, and in what this clone has said of itself."""
        wanted.take_from(self.session.store)
        record = clones.own_record(self.check.remote)
        if record is not None:
            wanted.put_object(ids.CLONE, record)


class _Copies(LocalBackend):
    """The copies that were kept here of a remote's small files."""

    def path(self, name: str) -> str:
        """Return where the copy of a file would lie."""
        return f"{self.root}/{name.replace('/', '-')}"
