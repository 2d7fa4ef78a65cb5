"""Trees without what is erased.

The directory that held an erased file says how many are gone, by a tally under the erasure's id.  Names of erased
files and directories go with them, unless they are to be kept; a directory that is empty for it goes too, because its
name may tell as much, and its tally stands in the one above.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from dvtool import ids, paths
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store.editing import Editor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from collections.abc import Set as AbstractSet

    from dvtool.formats.tree import Leaf, Tally, Totals
    from dvtool.globs import Matcher
    from dvtool.store.editing import ObjectStore

    T = TypeVar("T")
    Work = Generator["Work[Rewritten]", "Rewritten", T]
    """What stops where it needs a directory below, and is sent what became of that."""

_NO_ID: Final = bytes(ids.ID_SIZE)


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """A directory without what was erased: its id (None where nothing is left of it), and how many files went."""

    id: bytes | None
    files: int


class Trees:
    """Rewrites trees; each node is looked at once for each path at which it is met."""

    def __init__(
        self,
        objects: ObjectStore,
        split: bytes,
        erasure: bytes,
        matcher: Matcher,
        *,
        contents: AbstractSet[bytes] = frozenset(),
        keep_path: bool = False,
        met: Callable[[str, Entry], None] = lambda _path, _entry: None,
    ) -> None:
        """Read from and write to ``objects``.

        Args:
            objects: the store, with room for new objects.
            split: the key of cut marks.
            erasure: the id under which is tallied.
            matcher: says which paths go.
            contents: ids of file contents that go wherever they are met.
            keep_path: leave the name of each file, with nothing else of it.
            met: hears of every file that goes, once for each directory node and path at which it is met.
        """
        self._editor = Editor(objects, split)
        self._trees = self._editor.trees
        self._erasure = erasure
        self._matcher = matcher
        self._contents = contents
        self._keep_path = keep_path
        self._met = met
        # By node and path; where no path is looked at, None stands for all of them, which is not the root's "".
        self._known: dict[tuple[bytes, str | None], Rewritten] = {}
        self._whole: dict[tuple[bytes, str], Rewritten] = {}
        self._untouched: set[tuple[bytes, str | None]] = set()
        # By entry of a directory and path: how many files went, what stands there now, and what is tallied above.
        self._became: dict[tuple[Entry, str], tuple[int, Entry | None, list[Tally]]] = {}
        self._roots: dict[tuple[bytes, tuple[str, ...], str], tuple[bytes, int]] = {}
        self._told: set[tuple[bytes, str]] = set()
        self._held: set[tuple[bytes, int, int, Tally]] = set()
        """Directories that hold what was said of them above: their ids, and what that was."""

    def root(self, root: bytes, tracked: tuple[str, ...] = (), prefix: str = "") -> tuple[bytes, int]:
        """Return a tree without what is erased, and how many files went.

        Args:
            root: the tree.
            tracked: directories that stay although nothing is left of them, unless they are what is erased.
            prefix: the path at which the tree lies.

        Raises:
            IntegrityError: when a node is missing or damaged, or does not hold what the one above it says.
        """
        key = (root, tracked, prefix)
        known = self._roots.get(key)
        if known is None:
            known = self._roots[key] = self._root(root, tracked, prefix)
        return known

    def take(self, root: bytes, tracked: tuple[str, ...], known: tuple[bytes, int]) -> None:
        """Know what :meth:`root` returns; what was made for it is among the objects."""
        self._roots[root, tracked, ""] = known

    def _root(self, root: bytes, tracked: tuple[str, ...], prefix: str) -> tuple[bytes, int]:
        found = self.directory(root, prefix)
        if not found.files and found.id == root:
            return root, 0
        new = found.id if found.id is not None else self._emptied(root, found.files)
        for path in tracked:
            if path and self._matcher.covering(path) is None:
                old = self._trees.resolve(root, path)
                if old is not None and old.kind == DIRECTORY and self._trees.resolve(new, path) is None:
                    new = self._editor.apply(new, {path: {}})
        return new, found.files

    def totals(self, root: bytes) -> Totals:
        """Return what lies in a tree that was rewritten."""
        return self._trees.totals(root)

    def _emptied(self, root: bytes, files: int) -> bytes:
        """Return a directory of which nothing is left but what it says of itself."""
        before = self._trees.totals(root).erased
        return self._editor.edit(None, {}, tree.merge_tallies([before, self._tally(files)]))

    def directory(self, identity: bytes, path: str) -> Rewritten:
        """Return a directory without what is erased."""
        return _finished(self._below(identity, path))

    def _below(self, identity: bytes, path: str) -> Work[Rewritten]:
        reaches = self._matcher.reaches(path)
        if not reaches and not self._contents:
            return Rewritten(id=identity, files=0)
        key = (identity, path if reaches else None)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = yield from self._directory(identity, path, reaches=reaches)
            self._told.add((identity, path))
        elif found.files and not reaches:
            self._tell(identity, path)
        return found

    def _tell(self, identity: bytes, path: str) -> None:
        """Tell which files go from a directory that was rewritten when it was met at another path."""
        pending = [(identity, path)]
        while pending:
            each = directory, above = pending.pop()
            if each in self._told:
                continue
            self._told.add(each)
            for name, entry in self._trees.entries(directory):
                place = paths.join(above, name)
                if entry.kind == DIRECTORY:
                    if self._known[entry.id, None].files:
                        pending.append((entry.id, place))
                elif entry.size and entry.id in self._contents:
                    self._met(place, entry)

    def _directory(self, identity: bytes, path: str, *, reaches: bool) -> Work[Rewritten]:
        changes: dict[str, Entry | None] = {}
        gone: list[Tally] = []
        files = 0
        for at, (_last, leaf, _totals) in enumerate(self._trees.leaves(identity)):
            # Of a large directory that changed here and there most leaves were met in another version of it.
            key = (leaf, path if reaches else None)
            if key in self._untouched:
                continue
            before = len(changes)
            files += yield from self._of_leaf(self._trees.leaf_at(identity, at), path, changes, gone, reaches=reaches)
            if len(changes) == before:
                self._untouched.add(key)
        if not changes:
            return Rewritten(id=identity, files=0)
        new = self._editor.edit(identity, changes, tree.merge_tallies(gone))
        return Rewritten(id=new if self._trees.totals(new).entries else None, files=files)

    def _of_leaf(
        self,
        leaf: Leaf,
        path: str,
        changes: dict[str, Entry | None],
        gone: list[Tally],
        *,
        reaches: bool,
    ) -> Work[int]:
        """Note what becomes of the entries of one leaf; return how many files go."""
        files = 0
        for name, entry in self._looked_at(leaf, path, reaches=reaches):
            place = paths.join(path, name)
            known = self._became.get((entry, place))
            if known is None:
                tallied = len(gone)
                some = yield from self._of_entry(changes, gone, name, entry, place, reaches=reaches)
                if entry.kind == DIRECTORY:  # the next version of the directory above has most of them as they were
                    self._became[entry, place] = (some, changes.get(name, entry), gone[tallied:])
            else:
                some, now, more = known
                gone += more
                if now != entry:
                    changes[name] = now
            files += some
        return files

    def _of_entry(
        self,
        changes: dict[str, Entry | None],
        gone: list[Tally],
        name: str,
        entry: Entry,
        place: str,
        *,
        reaches: bool,
    ) -> Work[int]:
        if reaches and self._matcher.rule_of(place) is not None:
            return (yield from self._erase(changes, gone, name, entry, place))
        if entry.kind == DIRECTORY:
            self._require(entry, place)
            below = yield self._below(entry.id, place)
            self._replace(changes, gone, name, entry, below)
            return below.files
        if entry.size and entry.id in self._contents:
            return (yield from self._erase(changes, gone, name, entry, place))
        return 0

    def _require(self, entry: Entry, place: str) -> None:
        """Refuse a directory that does not hold what the one above says, before that goes into a new one.

        One that is not looked into stays as it is, with all that is said of it.

        Raises:
            IntegrityError: when files, bytes or erased files differ.
        """
        said = (entry.id, entry.files, entry.size, entry.erased)
        if said not in self._held and (self._contents or self._matcher.covering(place) or self._matcher.reaches(place)):
            self._trees.require(entry, place)
            self._held.add(said)

    def _looked_at(self, leaf: Leaf, path: str, *, reaches: bool) -> Iterator[tuple[str, Entry]]:
        """Yield the entries of a leaf that may have to go, or may hold something that has to."""
        names = tree.names_of(leaf)
        wanted = self._matcher.names_in(path) if reaches and not self._contents else None
        if wanted is None:
            yield from zip(names, tree.entries_of(leaf), strict=True)
            return
        for name in sorted(wanted.intersection(names)):
            yield name, tree.entry_at(leaf, bisect_left(names, name))

    def _replace(
        self, changes: dict[str, Entry | None], gone: list[Tally], name: str, entry: Entry, below: Rewritten
    ) -> None:
        """Put a directory in the place of what it was; one of which nothing is left leaves its tally above."""
        if below.id == entry.id:
            return
        if below.id is None:
            changes[name] = None
            gone.append(tree.merge_tallies([entry.erased, self._tally(below.files)]))
        else:
            changes[name] = self._trees.directory_entry(below.id)

    def _erase(
        self, changes: dict[str, Entry | None], gone: list[Tally], name: str, entry: Entry, place: str
    ) -> Work[int]:
        """Erase one entry; return how many files that are."""
        if entry.kind == DIRECTORY:
            self._require(entry, place)
            below = yield self._all(entry.id, place)
            self._replace(changes, gone, name, entry, below)
            return below.files
        if entry.kind == tree.ERASED:
            if not self._keep_path:
                self._met(place, entry)  # its name goes
                changes[name] = None
                gone.append(entry.erased)
            return 0
        self._met(place, entry)
        if self._keep_path:
            changes[name] = Entry(tree.ERASED, 0, _NO_ID, 0, self._tally(1))
        else:
            changes[name] = None
            gone.append(self._tally(1))
        return 1

    def _all(self, identity: bytes, path: str) -> Work[Rewritten]:
        """Return a directory all of which is erased: nothing is left of it but, if they are kept, the names."""
        found = self._whole.get((identity, path))
        if found is not None:
            return found
        changes: dict[str, Entry | None] = {}
        gone: list[Tally] = []
        files = 0
        for name, entry in self._trees.entries(identity):
            files += yield from self._erase(changes, gone, name, entry, paths.join(path, name))
        new = None
        if self._keep_path:
            left = self._editor.edit(identity, changes, tree.merge_tallies(gone))
            new = left if self._trees.totals(left).entries else None
        found = self._whole[identity, path] = Rewritten(id=new, files=files)
        return found

    def _tally(self, files: int) -> Tally:
        return ((self._erasure, files),) if files else ()


def _finished(work: Work[Rewritten]) -> Rewritten:
    """Return what work comes to; directories nest deeper than calls do, so that those under way stand in a list."""
    stack = [work]
    value: Any = None
    while stack:
        try:
            asked = stack[-1].send(value)
        except StopIteration as end:
            stack.pop()
            value = end.value
        else:
            stack.append(asked)
            value = None
    found: Rewritten = value
    return found
