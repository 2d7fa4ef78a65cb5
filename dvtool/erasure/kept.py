"""Finds what of old trees stays whatever is erased, without writing anything anew: so that it can be done meanwhile."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from dvtool import ids, paths
from dvtool.errors import FormatError
from dvtool.formats import tree
from dvtool.formats.tree import DIRECTORY, Leaf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.globs import Matcher
    from dvtool.history.marking import Marks


def mark(marks: Marks, matcher: Matcher, roots: Iterable[bytes]) -> None:
    """Mark what stays of trees that are kept, as they are or without what is erased.

    The directories on the way to what is erased are not marked, because they may be written anew; all else in them is,
    with everything below.  Nothing is made of names and totals but this, so that they need not be checked.

    Args:
        marks: takes the marks.
        matcher: says which paths go.
        roots: the trees.

    Raises:
        IntegrityError, FormatError: when something is missing or damaged.
    """
    _Walk(marks, matcher).run(roots)


class _Walk:
    def __init__(self, marks: Marks, matcher: Matcher) -> None:
        self.marks = marks
        self.matcher = matcher
        self.trees: set[bytes] = set()
        self.manifests: set[bytes] = set()
        self.chunks: set[bytes] = set()
        self.met: set[tuple[bytes, str]] = set()
        self.next: dict[bytes, set[str]] = {}
        """The nodes on the way that were not looked at yet, and the paths at which they lie."""

    def run(self, roots: Iterable[bytes]) -> None:
        for root in roots:
            self._go(root, "")
        while self.next:
            wave, self.next = self.next, {}
            for identity, data in self.marks.read(ids.TREE, set(wave)):
                node = tree.look(data)
                for path in wave[identity]:
                    if isinstance(node, Leaf):
                        self._leaf(node, path)
                    else:
                        for below in ids.split(node.ids):
                            self._go(below, path)
        self.marks.follow_parts(self.trees, self.manifests, self.chunks)

    def _go(self, identity: bytes, path: str) -> None:
        if not self.matcher.reaches(path):
            self.trees.add(identity)
        elif (identity, path) not in self.met:
            self.met.add((identity, path))
            self.next.setdefault(identity, set()).add(path)

    def _leaf(self, leaf: Leaf, path: str) -> None:
        looked_at = dict(self._looked_at(leaf, path))
        below = tree.references_without(leaf, looked_at.values())
        self.trees.update(below.trees)
        self.manifests.update(below.manifests)
        self.chunks |= below.chunks
        for name, at in looked_at.items():
            place = paths.join(path, name)
            kind, identity = leaf.kinds[at], leaf.ids[at * ids.ID_SIZE : (at + 1) * ids.ID_SIZE]
            if self.matcher.rule_of(place) is not None:
                continue
            if kind == DIRECTORY:
                self._go(identity, place)
            elif kind in tree.LONG:
                self.manifests.add(identity)
            elif leaf.sizes[at]:
                self.chunks.add(identity)

    def _looked_at(self, leaf: Leaf, path: str) -> Iterator[tuple[str, int]]:
        """Yield the names in a leaf that may be covered, or below which something may be, and their positions."""
        names = tree.names_of(leaf)
        if len(names) != len(leaf.kinds):
            raise FormatError("the columns of a tree node differ in length")
        wanted = self.matcher.names_in(path)
        if wanted is None:
            yield from zip(names, range(len(names)), strict=True)
            return
        for name in wanted:
            at = bisect_left(names, name)
            if at < len(names) and names[at] == name:
                yield name, at
