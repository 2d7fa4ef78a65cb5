"""What was ever stored: which patterns of paths cover nothing in the whole history."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from dvtool import globs, paths
from dvtool.formats import log
from dvtool.formats.tree import DIRECTORY
from dvtool.history import expiry, graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dvtool.formats.snapshot import Snapshot
    from dvtool.store.state import State
    from dvtool.store.trees import Trees


def missing(
    trees: Trees, state: State, read: Callable[[bytes], Snapshot], staged: bytes | None, patterns: Iterable[str]
) -> list[str]:
    """Return those of some patterns that cover nothing, in the stage and in any snapshot that a ref leads to.

    The newest snapshots are looked at first, so what is there now costs next to nothing.  For what is nowhere each
    directory of the history is read once.

    Args:
        trees: reads directories.
        state: where the store stands.
        read: returns a snapshot.
        staged: the tree of the stage, if there is one.
        patterns: as :mod:`dvtool.globs` reads them; the root is never missing.

    Raises:
        IntegrityError: when something on the way is damaged.
    """
    search = _Search(trees)
    left = [pattern for pattern in patterns if pattern]
    if left:
        for root in _roots(state, read, staged):
            left = [pattern for pattern in left if not search.finds(root, pattern)]
            if not left:
                break
    return left


def _roots(state: State, read: Callable[[bytes], Snapshot], staged: bytes | None) -> Iterator[bytes]:
    """Yield the trees of the stage and of all snapshots, those that are equal once."""
    tips = [value for top in (*expiry.BRANCHES, "tags/") for _name, value in state.ref_names(top)]
    history = graph.walk({value for value in tips if log.symbolic(value) is None}, read, state.standing)
    seen: set[bytes | None] = {None}
    for root in itertools.chain([staged], (found.root for _identity, found in history)):
        if root is not None and root not in seen:
            seen.add(root)
            yield root


class _Search:
    """Looks for what patterns cover, in each directory once for each of them."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._seen: set[tuple[str, str, bytes]] = set()

    def finds(self, root: bytes, pattern: str) -> bool:
        """Return whether a tree has something that a pattern covers, in a directory that was not looked at yet."""
        top = globs.literal(pattern)
        entry = self._trees.resolve(root, top)
        if entry is None or globs.is_plain(pattern):
            return entry is not None
        found = globs.Matcher([globs.by_path(pattern)])
        pending = [(top, entry)]
        while pending:
            above, directory = pending.pop()
            if directory.kind != DIRECTORY or (pattern, above, directory.id) in self._seen:
                continue
            self._seen.add((pattern, above, directory.id))
            for name, below in self._trees.entries(directory.id):
                path = paths.join(above, name)
                if found.covers(path):
                    return True
                pending.append((path, below))
        return False
