"""Proves that a store holds what it should, and says what does not; changes nothing.

It joins the parts of the floor below, for the verbs that check and mend.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dvtool import ids
from dvtool.errors import ConflictError, DvError, KeyAccessError
from dvtool.formats import codec, pack, sealed, storeformat
from dvtool.history.links import Links
from dvtool.store import keys, scrub
from dvtool.store import store as stores
from dvtool.worktree import layout, workers
from dvtool.worktree.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dvtool.effects import View
    from dvtool.storage.backend import Backend
    from dvtool.store.scrub import Damage
    from dvtool.store.segments import Segment
    from dvtool.store.store import Store
    from dvtool.worktree.session import Context

    Looked = tuple[int, Damage | None, int]
    """What was seen of a pack: bytes read, what is wrong with it, frames opened."""

T = TypeVar("T")

MEMORY: Final = "fsck"
"""Name of the cache that says when each pack was opened last."""
QUICK_MEMORY: Final = "fsck-quick"
"""The same of quick checks, which prove less."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How much was looked at: files and bytes of the store, packs and frames in it, snapshots and runs followed."""

    files: int
    bytes: int
    packs: int
    frames: int
    snapshots: int
    runs: int


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
    """A path that is damaged, the reason, and the snapshots (or stages) in which it is.

    In the runs it is a path of what they read, made or recorded: ``inputs/0/data/a.txt``.
    """

    path: str
    why: str
    snapshots: tuple[str, ...]
    runs: tuple[str, ...]


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """What was mended.

    ``quarantine`` is the directory that holds the files which were damaged, ``quarantined`` their names in the store
    (``worktree`` is ``.dv/worktree``); it is None when there were none.  ``restored`` were taken by name from another
    copy of the store, ``rebuilt`` are key files and index files that were written anew, ``copied`` counts the sound
    objects of damaged packs, and ``recovered`` the lost ones that were found elsewhere.  ``given_up`` are entries of
    the log that the store goes on without, ``unnamed`` the snapshots that lost their names with them, and ``runs`` and
    ``holds`` those that have theirs back, released holds perhaps among them.  ``worktree`` is the id of this worktree
    if its ``.dv/worktree`` was lost and made anew: what it lacks counts as left out since.
    """

    quarantine: str | None
    quarantined: tuple[str, ...]
    restored: tuple[str, ...]
    rebuilt: tuple[str, ...]
    copied: int
    recovered: int
    given_up: tuple[str, ...]
    unnamed: tuple[str, ...]
    runs: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    worktree: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found.

    ``left`` packs were not looked at, because of the budget; ``unreferenced`` packs are named by nothing, which is no
    damage: a command that was stopped leaves such, and one at work has some.  ``absent`` counts contents of files that
    a clone without data has left at its remote, in whole or in part.  ``repair`` is None where none was asked for;
    after one, the rest says what is still wrong.
    """

    mode: str
    clean: bool
    checked: Checked
    left: int
    unreferenced: int
    absent: int
    problems: tuple[Problem, ...]
    objects: tuple[LostObject, ...]
    paths: tuple[LostPath, ...]
    repair: Repair | None = None


class Examination(ABC):
    """One look at a whole store, which need not open; where it lies is for the classes built on this one to say."""

    def __init__(
        self, backend: Backend, context: Context, cache: str, max_bytes: int | None = None, *, suffix: str = ""
    ) -> None:
        """Prepare to check what ``backend`` holds, reading packs of about ``max_bytes`` at most.

        Args:
            backend: the place of the store.
            context: where to report.
            cache: the directory that remembers when each pack was checked last.
            max_bytes: the budget; None for all packs.
            suffix: what the names of these memories end in.
        """
        self.context = context
        self.max_bytes = max_bytes
        self.backend = backend
        self.memory = MEMORY + suffix
        self.store: Store | None = None
        self.links: Links | None = None
        self.promised = False
        """Whether chunks that no index file lists are no loss, as in a clone without data."""
        self.damages: list[Damage] = []
        self.files = self.size = self.packs = self.frames = self.left = 0
        self._cache = cache
        self._suffix = suffix

    def run(self, *, quick: bool) -> Report:
        """Look at everything outside packs, then at packs, then at what the refs lead to.

        Raises:
            KeyAccessError: when the key is missing or wrong; a quick check needs none.
        """
        self.memory = (QUICK_MEMORY if quick else MEMORY) + self._suffix
        names, live = self.surface(quick=quick)
        unreferenced = len(set(names) - live.keys()) if self.store is not None else 0
        if quick or self.store is None:
            self._look(sorted({*names, *live}), self._scrubbed)
        else:
            store = self.store

            def open_frames(name: bytes) -> Looked:
                size, frames, damage = scrub.frames(store, *live[name], self._view(pack.file_name(name)))
                return size, damage, frames

            self._look(sorted(live), open_frames)
            self._leave_copies(store)
            lost = {identity for damage in self.damages for identity in damage.ids}
            self.links = Links(store, lost, promised=self.promised)
            self.links.follow()
        return self._report("quick" if quick else "full", unreferenced)

    def surface(self, *, quick: bool = False) -> tuple[list[bytes], dict[bytes, tuple[Segment, int]]]:
        """Look at everything outside packs, and whether the store opens with it.

        Returns:
            the names of the packs that are there, and where the log lists those that it names.

        Raises:
            KeyAccessError: as :meth:`run`.
        """
        self.damages += [scrub.Damage(file=name, what=scrub.STRANGER) for name in sorted(self._strangers())]
        for size, damage in scrub.sealed_files(self.backend, self._each):
            self.files += 1
            self.size += size
            self.damages += [damage] if damage is not None else []
        self._open(quick=quick)
        if self.store is not None and not quick:
            known = {damage.file for damage in self.damages}
            self.damages += [each for each in self._look_at_log(self.store) if each.file not in known]
        names, strangers = scrub.pack_names(self.backend)
        self.damages += strangers
        return names, self._live()

    def _look_at_log(self, store: Store) -> list[scrub.Damage]:
        """Return what is wrong with the entries and keys of the log, as far as it takes a key to tell."""
        found = [
            scrub.Damage(file=file, what="the log does not hang together", why=why) for file, why in store.log.faults()
        ]
        return [*found, *scrub.log_keys(store)]

    def _strangers(self) -> Iterable[str]:
        """Return the names at the top of the place that no store has."""
        return set(self.backend.names("")) - scrub.TOP

    @abstractmethod
    def _opened(self) -> Store:
        """Return the store; raises whatever keeps it from being opened."""

    @abstractmethod
    def _load_secrets(self) -> object:
        """Open the key of the store; raises as :func:`dvtool.store.keys.load_secrets`."""

    def _name_of(self, where: str) -> str:
        """Return the file of the store that an error means."""
        return where

    def _each(self, look: Callable[[str], T], names: Sequence[str]) -> Iterable[T]:
        """Return what ``look`` says of each of some small files, in this order."""
        return map(look, names)

    def _view(self, _file: str) -> View | None:
        """Return the bytes of a pack that is read now from its beginning to its end; None for the usual way."""
        return None

    def _scrubbed(self, name: bytes) -> Looked:
        size, damage = scrub.pack_file(self.backend, name, self._view(pack.file_name(name)))
        return size, damage, 0

    def _work(self, chosen: Sequence[bytes], look: Callable[[bytes], Looked]) -> list[scrub.Scrubbed]:
        """Look at packs; progress was started, and is finished afterwards."""
        result = scrub.Scrubbed(damages=[])
        for name in chosen:
            _count(result, look(name))
            self.context.progress.advance(files=result.packs, size=result.size)
        return [result]

    def _leave_copies(self, store: Store) -> None:
        """Take from the damages the objects of which another pack has a sound copy: they are not lost."""
        bad = {damage.file for damage in self.damages}
        for number, damage in enumerate(self.damages):
            lost = tuple(identity for identity in damage.ids if not store.segments.is_held(identity, bad))
            self.damages[number] = msgspec.structs.replace(damage, ids=lost)

    def _open(self, *, quick: bool) -> None:
        """Open the store, if it opens; else that is one more thing which is wrong with it.

        Raises:
            KeyAccessError: when there is no key, and a full check was asked for.
            ConflictError: when it is the store of another repository.
        """
        try:
            self.store = self._opened()
        except ConflictError:
            raise  # it is another's store, and whatever is wrong with that is not asked
        except DvError as error:
            if isinstance(error, KeyAccessError) and not self._has_key(quick=quick):
                return
            where = self._name_of(error.where)
            if where not in {damage.file for damage in self.damages}:
                self.damages.append(scrub.Damage(file=where, what=error.what, why=error.why))

    def _has_key(self, *, quick: bool) -> bool:
        """Return whether there is the key, and something else does not open with it.

        Raises:
            KeyAccessError: when there is none, and a full check was asked for.
        """
        try:
            self._load_secrets()
        except KeyAccessError:
            if quick:
                return False
            raise
        return True

    def _live(self) -> dict[bytes, tuple[Segment, int]]:
        """Return every pack that the log names, with where its index file lists it."""
        found: dict[bytes, tuple[Segment, int]] = {}
        known = {damage.file for damage in self.damages}
        for segment in self.store.segments.live() if self.store is not None else ():
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

    def _look(self, names: Sequence[bytes], look: Callable[[bytes], Looked]) -> None:
        """Look at packs within the budget."""
        chosen = self._choose(names)
        progress = self.context.progress
        progress.start("checking", files=len(chosen), size=sum(map(self._size, chosen)))
        try:
            results = self._work(chosen, look)
        finally:
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
        if self.store is None:
            return {}
        try:
            with open(f"{self._cache}/{self.memory}", "rb") as file:
                blob = file.read()
            cache = self.store.secrets.cache
            payload = sealed.open_blob(
                sealed.CACHE, cache, self.store.format.store + self.memory.encode(), blob, what="cache"
            )
            found = codec.decode(dict[str, int], payload, what="cache")
            return {bytes.fromhex(name): when for name, when in found.items()}
        except (OSError, DvError, ValueError):
            return {}

    def _remember(self, chosen: Sequence[bytes], names: Sequence[bytes]) -> None:
        if self.store is None:
            return
        now = self.context.clock.now()
        there = set(names)
        known = {name: when for name, when in self._recall().items() if name in there} | dict.fromkeys(chosen, now)
        entropy = self.context.entropy
        blob = sealed.seal(
            sealed.CACHE,
            self.store.secrets.cache,
            bytes(sealed.LABEL_SIZE),
            entropy.bytes(sealed.SALT_SIZE),
            self.store.format.store + self.memory.encode(),
            codec.encode({name.hex(): when for name, when in known.items()}),
        )
        try:
            if not os.path.isdir(self._cache):
                self.context.disk.make_directory(self._cache)
            layout.write_file(f"{self._cache}/{self.memory}", blob, self.context.disk, durable=False)
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
            lost = [_lost_path(path, where, links.runs) for path, where in links.damage().items()]
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
                runs=len(links.runs) if links is not None else 0,
            ),
            left=self.left,
            unreferenced=unreferenced,
            absent=links.absent if links is not None else 0,
            problems=problems,
            objects=tuple(objects),
            paths=tuple(lost),
        )


class Check(Examination):
    """One look at the store of a worktree, with all cores."""

    def __init__(self, place: layout.Layout, context: Context, max_bytes: int | None = None) -> None:
        """Prepare to check the store of a worktree, reading packs of about ``max_bytes`` at most.

        Raises:
            NotFoundError: when there is no store.
        """
        backend = stores.local_backend(place.store(), entropy=context.entropy, disk=context.disk)
        super().__init__(backend, context, place.cache, max_bytes)
        self.place = place
        self.session: Session | None = None
        self._root = backend.root

    def _strangers(self) -> Iterable[str]:
        return set(os.listdir(self._root)) - scrub.TOP

    def _opened(self) -> Store:
        self.session = Session(self.place, self.context)
        self.promised = self.session.lazy is not None
        return self.session.store

    def _load_secrets(self) -> object:
        repository = storeformat.decode(self.backend.read("format")).repository
        return keys.load_secrets(self.backend, repository, self.context.unlock)

    def _name_of(self, where: str) -> str:
        return where.removeprefix(self._root + "/")

    def _work(self, chosen: Sequence[bytes], look: Callable[[bytes], Looked]) -> list[scrub.Scrubbed]:
        turns = workers.Turns(len(chosen))

        def work(_number: int, counter: workers.Counter) -> scrub.Scrubbed:
            result = scrub.Scrubbed(damages=[])
            for turn in turns:
                looked = look(chosen[turn])
                _count(result, looked)
                counter.add(looked[0])
            return result

        count = min(workers.count(), len(chosen)) or 1
        try:
            return workers.run(range(count), work, scrub.Scrubbed, self.context.progress, clean=lambda _process: None)
        finally:
            turns.close()


def _lost_path(path: str, where: Sequence[tuple[bytes, str]], runs: Mapping[bytes, str]) -> LostPath:
    return LostPath(
        path=path,
        why=where[0][1],
        snapshots=tuple(identity.hex() for identity, _why in where if identity not in runs),
        runs=tuple(sorted(runs[identity] for identity, _why in where if identity in runs)),
    )


def _count(result: scrub.Scrubbed, looked: Looked) -> None:
    """Add what was seen of one pack."""
    size, damage, frames = looked
    result.damages += [damage] if damage is not None else []
    result.packs += 1
    result.size += size
    result.frames += frames
