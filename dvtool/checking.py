"""Proves that a store holds what it should, and says what does not; changes nothing.

It joins the parts of the floor below, for the verbs that check and mend.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.errors import DvError, KeyAccessError
from dvtool.formats import codec, pack, sealed, storeformat
from dvtool.history.links import Links
from dvtool.store import keys, scrub
from dvtool.store import store as stores
from dvtool.worktree import layout, workers
from dvtool.worktree.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dvtool.store.scrub import Damage
    from dvtool.store.segments import Segment
    from dvtool.store.store import Store
    from dvtool.worktree.session import Context

MEMORY: Final = "fsck"
"""Name of the cache that says when each pack was opened last."""
QUICK_MEMORY: Final = "fsck-quick"
"""The same of quick checks, which prove less."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at: files and bytes of the store, packs and frames among them, snapshots followed."""

    files: int
    bytes: int
    packs: int
    frames: int
    snapshots: int


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the store that is damaged or missing: what, why, and the ids of the objects that are lost by it."""

    file: str
    what: str
    why: str
    ids: tuple[str, ...]


class LostObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object that something needs and that is missing, damaged, or not what it should be."""

    kind: str
    id: str
    why: str


class LostPath(msgspec.Struct, frozen=True, kw_only=True):
    """A path that is damaged, the reason, and the snapshots (or stages) in which it is."""

    path: str
    why: str
    snapshots: tuple[str, ...]


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What was mended.

    ``quarantine`` is the directory that holds the files which were damaged, ``quarantined`` their names in the store
    (``worktree`` is ``.dv/worktree``); it is None when there were none.  ``restored`` were taken by name from another
    copy of the store, ``rebuilt`` are key files and index files that were written anew, ``copied`` counts the sound
    objects of damaged packs, and ``recovered`` the lost ones that were found elsewhere.  ``given_up`` are entries of
    the log that the store goes on without, ``unnamed`` the snapshots that lost their names with them.  ``worktree`` is
    the id of this worktree if its ``.dv/worktree`` was lost and made anew: what it lacks counts as left out since.
    """

    quarantine: str | None
    quarantined: tuple[str, ...]
    restored: tuple[str, ...]
    rebuilt: tuple[str, ...]
    copied: int
    recovered: int
    given_up: tuple[str, ...]
    unnamed: tuple[str, ...]
    worktree: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    ``left`` packs were not looked at, because of the budget; ``unreferenced`` packs are named by nothing, which is no
    damage: a command that was stopped leaves such, and one at work has some.  ``repair`` is None where none was asked
    for; after one, the rest says what is still wrong.
    """

    mode: str
    clean: bool
    checked: Checked
    left: int
    unreferenced: int
    problems: tuple[Problem, ...]
    objects: tuple[LostObject, ...]
    paths: tuple[LostPath, ...]
    repair: Repair | None = None


class Check:
    """One look at a whole store, which need not open."""

    def __init__(self, place: layout.Layout, context: Context, max_bytes: int | None = None) -> None:
        """Prepare to check the store of a worktree, reading packs of about ``max_bytes`` at most.

        Raises:
            NotFoundError: when there is no store.
        """
        self.context = context
        self.max_bytes = max_bytes
        self.backend = stores.local_backend(place.store(), entropy=context.entropy, disk=context.disk)
        self.place = place
        self.memory = MEMORY
        self.session: Session | None = None
        self.links: Links | None = None
        self.damages: list[Damage] = []
        self.files = self.size = self.packs = self.frames = self.left = 0

    def run(self, *, quick: bool) -> Report:
        """Look at everything outside packs, then at packs, then at what the refs lead to.

        Raises:
            KeyAccessError: when the key is missing or wrong; a quick check needs none.
        """
        self.memory = QUICK_MEMORY if quick else MEMORY
        names, live = self.surface(quick=quick)
        unreferenced = len(set(names) - live.keys()) if self.session is not None else 0
        if quick or self.session is None:
            self._look(sorted({*names, *live}), lambda name: (*scrub.pack_file(self.backend, name), 0))
        else:
            store = self.session.store

            def open_frames(name: bytes) -> tuple[int, Damage | None, int]:
                size, frames, damage = scrub.frames(store, *live[name])
                return size, damage, frames

            self._look(sorted(live), open_frames)
            self._leave_copies(store)
            self.links = Links(store, {identity for damage in self.damages for identity in damage.ids})
            self.links.follow()
        return self._report("quick" if quick else "full", unreferenced)

    def _leave_copies(self, store: Store) -> None:
        """Take from the damages the objects of which another pack has a sound copy: they are not lost."""
        bad = {damage.file for damage in self.damages}
        for number, damage in enumerate(self.damages):
            lost = tuple(identity for identity in damage.ids if not store.segments.is_held(identity, bad))
            self.damages[number] = msgspec.structs.replace(damage, ids=lost)

    def surface(self, *, quick: bool = False) -> tuple[list[bytes], dict[bytes, tuple[Segment, int]]]:
        """Look at everything outside packs, and whether the store opens with it.

        Returns:
            the names of the packs that are there, and where the log lists those that it names.

        Raises:
            KeyAccessError: as :meth:`run`.
        """
        top = sorted(set(os.listdir(self.backend.root)) - scrub.TOP)
        self.damages += [scrub.Damage(file=name, what=scrub.STRANGER) for name in top]
        for size, damage in scrub.sealed_files(self.backend):
            self.files += 1
            self.size += size
            self.damages += [damage] if damage is not None else []
        self._open(quick=quick)
        names, strangers = scrub.pack_names(self.backend)
        self.damages += strangers
        live = self._live()
        if self.session is not None and not quick:
            self.damages += [
                scrub.Damage(file=file, what="the log does not hang together", why=why)
                for file, why in self.session.store.log.faults()
            ]
            known = {damage.file for damage in self.damages}
            self.damages += [each for each in scrub.log_keys(self.session.store) if each.file not in known]
        return names, live

    def _open(self, *, quick: bool) -> None:
        """Open the store, if it opens; else that is one more thing which is wrong with it.

        Raises:
            KeyAccessError: when there is no key, and a full check was asked for.
        """
        try:
            self.session = Session(self.place, self.context)
        except DvError as error:
            if isinstance(error, KeyAccessError) and not self._has_key(quick=quick):
                return
            where = error.where.removeprefix(self.backend.root + "/")
            if where not in {damage.file for damage in self.damages}:
                self.damages.append(scrub.Damage(file=where, what=error.what, why=error.why))

    def _has_key(self, *, quick: bool) -> bool:
        """Return whether there is the key, and something else does not open with it.

        Raises:
            KeyAccessError: when there is none, and a full check was asked for.
        """
        try:
            repository = storeformat.decode(self.backend.read("format")).repository
            keys.load_secrets(self.backend, repository, self.context.unlock)
        except KeyAccessError:
            if quick:
                return False
            raise
        return True

    def _live(self) -> dict[bytes, tuple[Segment, int]]:
        """Return every pack that the log names, with where its index file lists it."""
        found: dict[bytes, tuple[Segment, int]] = {}
        known = {damage.file for damage in self.damages}
        for segment in self.session.store.segments.live() if self.session is not None else ():
            file = segment.description.keys
            try:
                _ = segment.keys
                file = segment.description.index
                packs = segment.index.directory.packs
                segment.index.verify()
            except DvError as error:
                if file not in known:
                    self.damages.append(scrub.Damage(file=file, what=error.what, why=error.why))
                continue
            found.update({entry.name: (segment, position) for position, entry in enumerate(packs)})
        return found

    def _look(self, names: Sequence[bytes], look: Callable[[bytes], tuple[int, Damage | None, int]]) -> None:
        """Look at packs, with all cores, within the budget."""
        chosen = self._choose(names)
        turns = workers.Turns(len(chosen))
        progress = self.context.progress
        progress.start("checking", files=len(chosen), size=sum(map(self._size, chosen)))

        def work(_number: int, counter: workers.Counter) -> scrub.Scrubbed:
            result = scrub.Scrubbed(damages=[])
            for turn in turns:
                size, damage, frames = look(chosen[turn])
                result.damages += [damage] if damage is not None else []
                result.packs += 1
                result.size += size
                result.frames += frames
                counter.add(size)
            return result

        count = min(workers.count(), len(chosen)) or 1
        try:
            results = workers.run(range(count), work, scrub.Scrubbed, progress, clean=lambda _process: None)
        finally:
            turns.close()
            progress.finish()
        for result in results:
            self.damages += result.damages
            self.size += result.size
            self.frames += result.frames
            self.packs += result.packs
        self.files += self.packs
        self._remember(chosen, names)

    def _size(self, name: bytes) -> int:
        try:
            return self.backend.size(pack.file_name(name))
        except DvError:
            return 0

    def _choose(self, names: Sequence[bytes]) -> list[bytes]:
        """Return the packs to look at: all, or those whose last check is longest ago, up to the budget."""
        if self.max_bytes is None:
            return list(names)
        known = self._recall()
        chosen: list[bytes] = []
        budget = self.max_bytes
        for name in sorted(names, key=lambda name: (known.get(name, 0), name)):
            budget -= self._size(name)
            if budget < 0 and chosen:
                break
            chosen.append(name)
        self.left = len(names) - len(chosen)
        return chosen

    def _recall(self) -> dict[bytes, int]:
        """Return when each pack was checked last, in microseconds; nothing where no store opens, or none was."""
        if self.session is None:
            return {}
        try:
            with open(f"{self.place.cache}/{self.memory}", "rb") as file:
                blob = file.read()
            cache = self.session.store.secrets.cache
            payload = sealed.open_blob(
                sealed.CACHE, cache, self.session.store.format.store + self.memory.encode(), blob, what="cache"
            )
            found = codec.decode(dict[str, int], payload, what="cache")
            return {bytes.fromhex(name): when for name, when in found.items()}
        except (OSError, DvError, ValueError):
            return {}

    def _remember(self, chosen: Sequence[bytes], names: Sequence[bytes]) -> None:
        if self.session is None:
            return
        now = self.context.clock.now()
        there = set(names)
        known = {name: when for name, when in self._recall().items() if name in there} | dict.fromkeys(chosen, now)
        entropy = self.context.entropy
        blob = sealed.seal(
            sealed.CACHE,
            self.session.store.secrets.cache,
            bytes(sealed.LABEL_SIZE),
            entropy.bytes(sealed.SALT_SIZE),
            self.session.store.format.store + self.memory.encode(),
            codec.encode({name.hex(): when for name, when in known.items()}),
        )
        try:
            if not os.path.isdir(self.place.cache):
                self.context.disk.make_directory(self.place.cache)
            layout.write_file(f"{self.place.cache}/{self.memory}", blob, self.context.disk, durable=False)
        except DvError:
            return  # a disk that takes nothing is no reason to say nothing

    def _report(self, mode: str, unreferenced: int) -> Report:
        links = self.links
        objects: list[LostObject] = []
        lost: list[LostPath] = []
        if links is not None:
            objects = [
                LostObject(kind=broken.kind, id=broken.id.hex(), why=broken.why)
                for _id, broken in sorted(links.broken.items())
            ]
            lost = [
                LostPath(path=path, why=where[0][1], snapshots=tuple(identity.hex() for identity, _why in where))
                for path, where in links.damage().items()
            ]
        problems = tuple(
            Problem(
                file=damage.file,
                what=damage.what,
                why=damage.why,
                ids=tuple(identity.hex() for identity in damage.ids if len(identity) == ids.ID_SIZE),
            )
            for damage in sorted(self.damages, key=lambda damage: (damage.file, damage.what))
        )
        return Report(
            mode=mode,
            clean=not (problems or objects or lost),
            checked=Checked(
                files=self.files,
                bytes=self.size,
                packs=self.packs,
                frames=self.frames,
                snapshots=links.snapshots if links is not None else 0,
            ),
            left=self.left,
            unreferenced=unreferenced,
            problems=problems,
            objects=tuple(objects),
            paths=tuple(lost),
        )
