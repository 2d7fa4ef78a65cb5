"""Makes a lost ``.dv/worktree`` anew, where it is beyond doubt which worktree it was.

The id is one of those whose HEADs the store keeps.  Two worktrees must never share one, for what either stages would be
lost to the other; so whatever another place may still claim is not taken, and a doubt ends in an error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool.errors import ConflictError, DvError, FormatError, IntegrityError
from dvtool.formats import sealed
from dvtool.store import store as stores
from dvtool.worktree import layout, places, staging
from dvtool.worktree.scan import Scanner
from dvtool.worktree.session import Session, cache_context

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dvtool.store.store import Store
    from dvtool.worktree.layout import Layout
    from dvtool.worktree.session import Context

EVERYTHING = ("",)
"""A rule that leaves out all there is: until it is known what is missing, nothing of it must look removed."""


def adopt(place: Layout, context: Context, *, aside: str) -> str | None:
    """Make the worktree file anew if it is missing or damaged, and return the worktree's id; None if it is sound.

    Whatever is not in the worktree counts as left out from then on, for nobody knows any more what was.  The caller
    holds the worktree's lock.

    Args:
        place: the worktree.
        context: clock, randomness and disk.
        aside: a directory, made if need be, into which a damaged file is moved.

    Raises:
        ConflictError: when it is not clear which worktree this is; nothing has been changed then.
        FormatError: when a newer dv made the file.
        DvError: when the store does not open.
    """
    try:
        place.read_worktree()
    except layout.NewerWorktreeError:
        raise
    except (FormatError, IntegrityError):
        pass
    else:
        return None
    directory = place.store()
    store = stores.open_local(
        directory, clock=context.clock, entropy=context.entropy, disk=context.disk, unlock=context.unlock
    )
    identity = _which(place, store, directory)
    if os.path.lexists(place.worktree):
        os.makedirs(aside, mode=0o700, exist_ok=True)
        context.disk.rename(place.worktree, f"{aside}/worktree")
        context.disk.sync_directory(aside)
    file = layout.WorktreeFile(version=layout.VERSION, id=identity, dropped=EVERYTHING)
    place.write_worktree(file, context.disk)
    _leave_out_what_is_missing(Session(place, context))
    return identity


def _which(place: Layout, store: Store, directory: str) -> str:
    """Return the id of the worktree at a place.

    In the worktree that holds the store, every id comes into question that is not at another place; in another one,
    only those that were noted at this very place, since a copy must not be taken for the original.  What the worktree
    remembers of the store is sealed for its id and so proves it.  Without that there must be no other candidate.

    Raises:
        ConflictError: when none is left, or several.
    """
    refs = [name.removeprefix("worktrees/") for name, _value in store.refresh().ref_names("worktrees/")]
    noted = places.noted(directory)
    if directory == f"{place.control}/store":
        left = [each for each in refs if not _is_elsewhere(noted.get(each), place.root, each, directory)]
    else:
        left = [each for each in refs if noted.get(each) == place.root]
    proven = [each for each in left if _remembers(place, store, each)]
    if len(proven) == 1 or len(left) == 1:
        return (proven or left)[0]
    raise ConflictError(
        "the worktree file cannot be made anew: it is not clear which worktree this was",
        where=place.worktree,
        why=_why(left),
        next="restore it from a backup, or make a new worktree with 'dv worktree add' from another one and move your "
        "files there",
        items=tuple(left),
    )


def _why(left: list[str]) -> str:
    if not left:
        return "no worktree was noted here that is not somewhere else now; this may be a copy of one"
    return f"{len(left)} worktrees of this store are nowhere else"


def _is_elsewhere(noted: str | None, root: str, identity: str, store: str) -> bool:
    return noted is not None and noted != root and places.is_worktree(noted, identity, store)


def _remembers(place: Layout, store: Store, identity: str) -> bool:
    """Return whether what this worktree remembers of the store was remembered under an id."""
    try:
        with open(f"{place.cache}/head", "rb") as file:
            blob = file.read()
        context = cache_context(store.format.store, identity)
        sealed.open_blob(sealed.CACHE, store.secrets.cache, context, blob, what="cache")
    except (OSError, DvError):
        return False
    return True


def _leave_out_what_is_missing(session: Session) -> None:
    """Replace the rule that leaves out everything by rules about what is not there; it stays if that cannot be told."""
    try:
        found = Scanner(session.root, session.index(), session.ignore, None).scan(session.stage().roots)
    except (FormatError, IntegrityError) as error:
        session.context.tell(f"warning: everything counts as left out of the worktree for now: {error.what}")
        return
    session.set_sparse(only=(), dropped=_rules([*found.removed, *found.gone_directories, *found.unreadable]))


def _rules(missing: Iterable[str]) -> tuple[str, ...]:
    return staging.merged_roots((), [path for path in missing if path])
