"""What an erasure comes to in a store as it is now: which snapshots are superseded, by what, and which packs go.

Nothing is written here.  New objects are kept in memory; whoever executes the plan stores them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from dvtool import ids
from dvtool.effects import Silence
from dvtool.erasure import carrying, kept, rewriting, runs, signed
from dvtool.erasure.copies import Copies
from dvtool.erasure.drawing import Draw
from dvtool.errors import DvError, IntegrityError, NotFoundError
from dvtool.formats import log, pack, snapshot, stage, tree
from dvtool.formats import run as formats_run
from dvtool.globs import Matcher
from dvtool.history import graph, marking, recorded
from dvtool.store import manifests
from dvtool.store.editing import Scratch
from dvtool.store.trees import Trees
from dvtool.worktree import workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.effects import Progress
    from dvtool.formats.erasure import Record
    from dvtool.formats.run import Run
    from dvtool.formats.snapshot import Snapshot
    from dvtool.formats.tree import Entry
    from dvtool.history.marking import Marks, PackUse
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.worktree.workers import Counter

    T = TypeVar("T")

NOBODY: Final = "erased"
"""Stands where the name of an erased author stood."""
NONCE_SIZE: Final = 32
SHARED: Final = 64
"""Snapshots from which on their trees are shared out among processes."""
TURNS_EACH: Final = 2
"""Parts of the history for each process, so that none waits long for the others."""
ATTEMPTS: Final = 20
"""Times that a plan is made while a collection takes away what it reads, before that counts as damage."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be erased, and how: see :class:`~dvtool.erasure.rewriting.Trees`."""

    erasure: bytes
    key: bytes
    """That of the locator: see :mod:`dvtool.erasure.drawing`."""
    matcher: Matcher
    authors: frozenset[str] = frozenset()
    contents: frozenset[bytes] = frozenset()
    keep_path: bool = False
    words: tuple[str, ...] = ()
    """Texts by which what goes is spoken of: paths, ids of subjects, addresses."""
    redact: bool = False
    """Take these out of messages, names and parameters as well, not only out of what was printed."""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A retained file that is identical to an erased one, or has bytes in common with one."""

    path: str
    size: int
    common: int
    identical: bool


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is written anew: its old nonce, the new id, and how many files went from it."""

    nonce: bytes
    new: bytes
    files: int


class Plan:
    """What an erasure comes to, at one entry of the log."""

    def __init__(self, state: State, objects: Scratch, marks: Marks) -> None:
        """Start with nothing."""
        self.state = state
        self.number = state.number
        self.objects = objects
        self.marks = marks
        self.contents: dict[bytes, int] = {}
        """Ids of the files that go, with their sizes in bytes."""
        self.long: set[bytes] = set()
        """Those of them that are manifests."""
        self.chunks: dict[bytes, int] = {}
        self.paths: set[str] = set()
        self.roots: set[str] = set()
        """What is tracked in snapshots and stages that are superseded."""
        self.snapshots: dict[bytes, Superseded] = {}
        self.stages: dict[bytes, Superseded] = {}
        self.runs: dict[bytes, Superseded] = {}
        self.affected: dict[str, Run] = {}
        """The runs that are written anew, as they were, by their ids."""
        self.moves: list[log.MoveRef] = []
        self.forgotten: list[bytes] = []
        """Snapshots that are in the store, and to which no ref leads: they go with the log that told of them."""
        self.copies: list[Copy] = []
        """By path; of several versions that lay there, the one with most in common."""
        self.copied: set[bytes] = set()
        """The ids of all of them."""
        self.met: set[str] = set()
        """Targets that are met otherwise than by a path: authors."""
        self.mentions: set[str] = set()
        """Where a target is spoken of in a text that stays as it is."""
        self.known_runs: list[Run] = []
        self.leaves_nothing = 0
        """How many snapshots held something and would hold nothing."""
        self.made: dict[bytes, tuple[int, bytes]] = {}
        """The objects that are not in the store yet: by id, kinds and bytes."""
        self.rewrite: list[PackUse] = []
        self.gone: dict[str, int] = {}
        """The packs that go, with their sizes in bytes."""

    @property
    def files(self) -> int:
        """How many files go, counted in each snapshot, stage and run that held them."""
        return sum(each.files for each in (*self.snapshots.values(), *self.stages.values(), *self.runs.values()))

    def is_nothing(self) -> bool:
        """Return whether nothing in the store is touched."""
        return not (self.snapshots or self.stages or self.runs or self.moves)

    def nonces(self) -> dict[bytes, bytes]:
        """Return the nonces of the objects that are superseded, by id."""
        found = {**self.snapshots, **self.stages, **self.runs}
        return {identity: each.nonce for identity, each in found.items()}

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the superseded snapshots, each with the one that stands for it."""
        return tuple(sorted((old, each.new) for old, each in self.snapshots.items()))


def plan(
    store: Store,
    wish: Wish,
    progress: Progress,
    *,
    without_data: bool = False,
    certified: Callable[[Record], Record] | None = None,
) -> Plan:
    """Find what is to go and what stands in its place.

    Args:
        store: the store.
        wish: what is to be erased.
        progress: hears how it goes.
        without_data: chunks may be missing, as in a lazy clone.
        certified: returns a record of an earlier erasure with a new certificate; one that is only planned needs none.

    Raises:
        IntegrityError: when something is missing or damaged: nobody can tell then what it holds.
    """
    for _attempt in range(ATTEMPTS):
        number = store.refresh().number
        try:
            return _Planner(store, wish, progress, certified or _unchanged, without_data=without_data).run()
        except (IntegrityError, NotFoundError):
            # What a collection without a grace deletes meanwhile looks as if it were missing; the log knows better.
            if store.refresh().number == number:
                raise
    return _Planner(store, wish, progress, certified or _unchanged, without_data=without_data).run()


class _Share(msgspec.Struct, kw_only=True, array_like=True):
    """What one process has done of a plan."""

    marked: list[bytes] = []
    roots: list[tuple[bytes, tuple[str, ...], bytes, int]] = []
    """Trees, what is tracked in them, what takes their place, and how many files went."""
    made: list[tuple[bytes, int, bytes]] = []
    paths: list[str] = []
    contents: list[tuple[bytes, int]] = []
    long: list[bytes] = []


class _Planner:
    def __init__(
        self, store: Store, wish: Wish, progress: Progress, certified: Callable[[Record], Record], *, without_data: bool
    ) -> None:
        self.store = store
        self.wish = wish
        self.draw = Draw(wish.key)
        self.progress = progress
        self.certified = certified
        marks = marking.Marks(store, progress)
        if without_data:
            marks.pass_over_lacking()
        self.state = marks.state
        self.objects = Scratch(store, store.hasher)
        self.found = Plan(self.state, self.objects, marks)
        self.trees = rewriting.Trees(
            self.objects,
            store.secrets.split,
            wish.erasure,
            wish.matcher,
            contents=wish.contents,
            keep_path=wish.keep_path,
            met=self._meet,
        )
        self.runs = runs.Runs(
            store,
            self.objects,
            self.trees,
            wish.matcher,
            wish.erasure,
            self.draw,
            words=wish.words,
            redacted=self._redacted if wish.redact else _unchanged,
            author=self._author,
            keep_path=wish.keep_path,
        )
        self.read: dict[bytes, Snapshot] = {}

    def run(self) -> Plan:
        reached = list(self._reached())
        self._share(reached)
        for identity in reached:
            self._snapshot(identity)
        self._refs()
        has = self.store.has
        self.found.made = {identity: each for identity, each in self.objects.made().items() if not has(identity)}
        self._count_chunks()
        self._mark()
        self._find_copies()
        self._packs()
        self._forgotten()
        return self.found

    def _share(self, reached: Sequence[bytes]) -> None:
        """Write trees anew in several processes, and mark what stays of them in any case.

        What one process makes, others may make as well: from the same tree comes the same.
        """
        processes = carrying.processes(self.store) if len(reached) >= SHARED else 1
        if processes == 1 or self.wish.contents:
            return
        pairs = list(dict.fromkeys((each.root, each.roots) for each in map(self.read.__getitem__, reached)))
        size = -(-len(pairs) // (TURNS_EACH * processes))
        turns = [pairs[at : at + size] for at in range(0, len(pairs), size)]
        given = workers.Turns(len(turns))

        def take_turns() -> _Share:
            share = _Share()
            for turn in given:
                kept.mark(self.found.marks, self.wish.matcher, {root for root, _roots in turns[turn]})
                share.roots += [(root, roots, *self.trees.root(root, roots)) for root, roots in turns[turn]]
            return share

        def work(_number: int, _counter: Counter) -> _Share:
            self.found.marks.be_silent()
            share, found = take_turns(), self.found
            share.marked = found.marks.bits()
            share.made = [(identity, *made) for identity, made in self.objects.made().items()]
            share.paths, share.contents, share.long = [*found.paths], [*found.contents.items()], [*found.long]
            return share

        try:
            with workers.Beside(range(processes - 1), work, _Share, Silence()) as beside:
                take_turns()
                for share in beside.results():
                    self._take(share)
        finally:
            given.close()

    def _take(self, share: _Share) -> None:
        self.objects.take({identity: (kind, data) for identity, kind, data in share.made})
        for root, roots, new, files in share.roots:
            self.trees.take(root, roots, (new, files))
        self.found.marks.take(share.marked)
        self.found.paths.update(share.paths)
        self.found.contents.update(share.contents)
        self.found.long.update(share.long)

    def _meet(self, path: str, entry: Entry) -> None:
        self.found.paths.add(path)
        if entry.size:
            self.found.contents[entry.id] = entry.size
            if entry.kind in tree.LONG:
                self.found.long.add(entry.id)

    # ------------------------------------------------------------------------------------------------ what refs name

    def _reached(self) -> Iterator[bytes]:
        """Yield every snapshot to which a ref leads."""
        pending = [value for _name, value in self.state.ref_names("") if log.symbolic(value) is None]
        done: set[bytes] = set()
        while pending:
            identity = pending.pop()
            if identity in done:
                continue
            done.add(identity)
            kind = self._kind(identity)
            if kind == ids.STAGE:
                merging = stage.decode(self.store.read_object(ids.STAGE, identity)).merging
                pending += graph.standing(merging, self.state.standing)
            elif kind == ids.RUN:
                pending += graph.standing(recorded.snapshots(self.store, [identity]), self.state.standing)
            elif kind == ids.SNAPSHOT:
                found = snapshot.decode(self.store.read_object(ids.SNAPSHOT, identity))
                self.read[identity] = found
                pending += graph.standing(found.parents, self.state.standing)
                yield identity

    def _kind(self, identity: bytes) -> int:
        place = self.store.segments.find(identity)
        if place is None:
            raise IntegrityError(
                "a ref or snapshot leads to something that is not in the store",
                where=identity.hex(),
                next="run 'dv fsck' to see what is damaged; nothing was erased",
            )
        return place[1].flags & pack.KIND_MASK

    def _snapshot(self, identity: bytes) -> None:
        """Write a snapshot anew if it holds anything that goes."""
        old = self.read[identity]
        self._mention(f"the message of snapshot {identity.hex()[:12]}", old.message)
        root, files = self.trees.root(old.root, old.roots)
        author = self._author(old.author)
        message = self._redacted(old.message) if self.wish.redact else old.message
        if root == old.root and author == old.author and message == old.message:
            return
        self.found.roots |= set(old.roots)
        totals = self.trees.totals(root)
        self.found.leaves_nothing += bool(old.files and not totals.files)
        new = msgspec.structs.replace(
            old,
            root=root,
            roots=self._roots(old.roots, root),
            author=author,
            message=message,
            files=totals.files,
            size=totals.size,
            nonce=self.draw.nonce(old.nonce, old.parents, old.time),
        )
        self.found.snapshots[identity] = Superseded(
            nonce=old.nonce, new=self.objects.put_object(ids.SNAPSHOT, snapshot.encode(new)), files=files
        )

    def _roots(self, roots: tuple[str, ...], root: bytes) -> tuple[str, ...]:
        """Return the tracked roots that are left, without the names of those that went."""
        trees = Trees(self.objects)
        covering = self.wish.matcher.covering
        return tuple(
            path for path in roots if not path or covering(path) is None or trees.resolve(root, path) is not None
        )

    def _redacted(self, text: str) -> str:
        for word in sorted(self.wish.words, key=len, reverse=True):
            text = text.replace(word, runs.GONE)
        return text

    def _author(self, author: str) -> str:
        address = _address(author)
        if address not in self.wish.authors:
            return author
        self.found.met.add(address)
        return NOBODY

    def _mention(self, what: str, text: str) -> None:
        """Note that a text speaks of what goes, if it stays as it is."""
        if not self.wish.redact and any(word in text for word in self.wish.words):
            self.found.mentions.add(what)

    def _refs(self) -> None:
        """Find what each ref has from then on."""
        for name, value in self.state.ref_names(""):
            self._mention(f"the name of {name.partition('/')[0]}/…", name)
            new = value
            if log.symbolic(value) is not None:
                continue
            if name.startswith("stage/"):
                new = self._stage(value)
            elif name.startswith(recorded.PREFIX):
                new = self._run(value)
            elif value in self.found.snapshots:
                new = self.found.snapshots[value].new
            elif self.wish.authors and name.startswith(signed.PREFIXES):
                found = signed.rewritten(self.store, name, value, self._author, self.certified)
                new = value if found is None else self.objects.put_object(*found)
            if new != value:
                self.found.moves.append(log.MoveRef(name=name, old=value, new=new))

    def _stage(self, identity: bytes) -> bytes:
        known = self.found.stages.get(identity)
        if known is not None:
            return known.new
        old = stage.decode(self.store.read_object(ids.STAGE, identity))
        root, files = self.trees.root(old.tree, old.roots)
        if root == old.tree:
            return identity
        self.found.roots |= set(old.roots)
        new = msgspec.structs.replace(
            old, tree=root, roots=self._roots(old.roots, root), nonce=self.store.entropy.bytes(NONCE_SIZE)
        )
        made = self.objects.put_object(ids.STAGE, stage.encode(new))
        self.found.stages[identity] = Superseded(nonce=old.nonce, new=made, files=files)
        return made

    def _run(self, identity: bytes) -> bytes:
        old = recorded.read(self.store, identity)
        self.found.known_runs.append(old)
        for what, text in (*runs.texts(old), ("the code", self.runs.patch(old))):
            self._mention(f"{what} of run {old.id}", text)
        found = self.runs.rewritten(old, {before: each.new for before, each in self.found.snapshots.items()})
        if found is None:
            return identity
        value, files = found
        new = self.objects.put_object(ids.RUN, formats_run.encode(value))
        self.found.runs[identity] = Superseded(nonce=old.nonce, new=new, files=files)
        self.found.affected[old.id] = old
        return new

    # ------------------------------------------------------------------------------------------------- what is kept

    def _count_chunks(self) -> None:
        for identity, size in self.found.contents.items():
            if identity in self.found.long:
                self.found.chunks.update(manifests.chunks_of(self.store, identity, size))
            else:
                self.found.chunks[identity] = size

    def _mark(self) -> None:
        """Mark what is needed from then on, and lies in the store already."""
        marks, found = self.found.marks, self.found
        superseded = found.nonces().keys()
        standing = self.state.standing

        def kept(identity: bytes) -> bytes | None:
            last = standing(identity)
            return None if last in superseded else last

        marks.standing = kept
        moved = {move.name for move in found.moves}
        roots = [
            value
            for name, value in self.state.ref_names("")
            if name not in moved and log.symbolic(value) is None and value not in superseded
        ]
        tables = {getattr(self.state, name).table.root for name in log.TABLES} - {b""}
        marks.follow([*sorted(tables), *roots])
        new = [each.new for each in (*found.snapshots.values(), *found.stages.values(), *found.runs.values())]
        new += [move.new for move in found.moves if move.new is not None]
        # Trees that were made on the way, and that others took the place of, would keep what they still name.
        reached = marks.follow_from(new, found.made)
        found.made = {identity: each for identity, each in found.made.items() if identity in reached}

    def _find_copies(self) -> None:
        """Find the retained files that hold something of what goes."""
        common = self.found.marks.among(self.found.chunks.keys())
        if not common:
            return
        known: dict[bytes, int] = {}

        def is_wanted(entry: Entry) -> bool:
            if entry.id not in known:
                known[entry.id] = self._common(entry, common)
            return known[entry.id] > 0

        found: dict[str, Copy] = {}
        search = Copies(Trees(self.objects), is_wanted)
        for is_run, root in sorted(self._kept_trees()):
            for path, entry in search.below(root, is_run=is_run):
                self.found.copied.add(entry.id)
                each = Copy(
                    path=path, size=entry.size, common=known[entry.id], identical=entry.id in self.found.contents
                )
                found[path] = max(each, found.get(path, each), key=lambda one: (one.identical, one.common, one.size))
        self.found.copies = [found[path] for path in sorted(found)]

    def _common(self, entry: Entry, common: AbstractSet[bytes]) -> int:
        """Return how many bytes a file has in common with what goes."""
        if entry.kind not in tree.LONG:
            return entry.size if entry.id in common else 0
        chunks = manifests.chunks_of(self.store, entry.id, entry.size)
        return sum(length for chunk, length in chunks if chunk in common)

    def _kept_trees(self) -> Iterator[tuple[bool, bytes]]:
        """Yield whether it is a run's, and the root, of every tree that is kept, as it will be."""
        made = self.found.made
        for identity, each in self.read.items():
            if identity not in self.found.snapshots:
                yield False, each.root
        for kind, data in made.values():
            if kind == ids.SNAPSHOT:
                yield False, snapshot.decode(data).root
            elif kind == ids.STAGE:
                yield False, stage.decode(data).tree
            elif kind == ids.RUN:
                yield True, formats_run.decode(data).tree
        moved = {move.name for move in self.found.moves}
        for name, value in self.state.ref_names(""):
            if name in moved:
                continue
            if name.startswith("stage/"):
                yield False, stage.decode(self.store.read_object(ids.STAGE, value)).tree
            elif name.startswith(recorded.PREFIX):
                yield True, recorded.read(self.store, value).tree

    def _packs(self) -> None:
        """Find the packs that go, and those of them that are written anew without what goes."""
        for use in self.found.marks.packs():
            if use.live < use.frames or use.condemned is not None:
                self.found.gone[use.file] = use.size
                if use.live:
                    self.found.rewrite.append(use)

    def _forgotten(self) -> None:
        self.found.forgotten = [
            identity
            for identity in self.store.snapshots_with("")
            if identity not in self.read and self.state.superseded.get(identity) is None
        ]


def _unchanged(found: T) -> T:
    return found


def _address(author: str) -> str:
    """Return the address in ``NAME <ADDRESS>``, in small letters."""
    return author.rpartition("<")[2].rstrip("> ").lower()


def nonce_of(store: Store, identity: bytes) -> bytes | None:
    """Return the nonce of a snapshot, stage or run, or None when the store has it no more."""
    place = store.segments.find(identity)
    if place is None:
        return None
    kind = place[1].flags & pack.KIND_MASK
    try:
        data = store.read_object(kind, identity)
        if kind == ids.SNAPSHOT:
            return snapshot.decode(data).nonce
        if kind == ids.STAGE:
            return stage.decode(data).nonce
        return formats_run.decode(data).nonce if kind == ids.RUN else None
    except DvError:
        return None
