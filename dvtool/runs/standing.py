"""Whether a run can still be done again: exactly, with something missing, or not at all, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.capture.redaction import HIDDEN
from dvtool.errors import DvError, IntegrityError
from dvtool.formats import erasure as erasures
from dvtool.formats import pack, run, tree
from dvtool.formats.tree import DIRECTORY
from dvtool.history.describe import Erased

if TYPE_CHECKING:
    from dvtool.formats.run import Run
    from dvtool.formats.tree import Tally
    from dvtool.workspace import Workspace

EXACT: Final = "exact"
DEGRADED: Final = "degraded"
GONE: Final = "gone"
UNSEEDED: Final = "no seed of a random number generator is recorded"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run's ground: ``exact``, ``degraded`` or ``gone``, the reasons, and how much was erased."""

    state: str
    reasons: tuple[str, ...]
    erased: Erased


def judge(workspace: Workspace, value: Run) -> Standing:
    """Return whether a run can be done again.

    It is gone when data that it read is neither here nor known to be elsewhere, or when nobody knows what was run; it
    is degraded when less than all of what decides its result was recorded or is left.
    """
    gone = [] if value.command else ["the command is not recorded"]
    lost = _data(workspace, value)
    gone += lost
    less = _code(value) + _circumstances(value)
    erased = 0
    for top, what in ((run.INPUTS, "read"), (run.OUTPUTS, "made")):
        files, taken = _taken(workspace, value, top)
        if taken:
            count = sum(number for _erasure, number in taken)
            names = ", ".join(erasures.short(erasure) for erasure, _number in taken)
            less.append(f"{count:,} of {files + count:,} files that it {what} were erased under {names}")
            erased += count
    state = GONE if gone else DEGRADED if less else EXACT
    return Standing(state=state, reasons=(*gone, *less), erased=Erased(files=erased, rows=0))


def _taken(workspace: Workspace, value: Run, top: str) -> tuple[int, Tally]:
    """Return how many files are left of what a run read or made, and how many were erased, by erasure."""
    try:
        entry = workspace.session.trees.resolve(value.tree, top)
    except DvError:
        return 0, ()  # which is told as what is lost
    return (entry.files, entry.erased) if entry is not None else (0, ())


def _data(workspace: Workspace, value: Run) -> list[str]:
    """Return what is lost of the data."""
    session = workspace.session
    reasons: list[str] = []
    try:
        entry = session.trees.resolve(value.tree, run.INPUTS)
        if entry is None:
            return reasons
        missing = _missing(workspace, entry.id)
    except (IntegrityError, DvError) as error:
        return [f"what it read cannot be read: {error.what}"]
    if missing and session.lazy is None:
        reasons.append(f"{missing:,} of the files that it read are not in this store")
    return reasons


def _missing(workspace: Workspace, root: bytes) -> int:
    """Return how many files below a directory have content that the store does not list."""
    session = workspace.session
    pending, seen, missing = [root], set(), 0
    while pending:
        identity = pending.pop()
        if identity in seen:
            continue
        seen.add(identity)
        for _name, entry in session.trees.entries(identity):
            if entry.kind == DIRECTORY:
                pending.append(entry.id)
            elif entry.kind != tree.ERASED and entry.size:
                found = session.store.segments.find(entry.id)
                wanted = ids.MANIFEST if entry.kind in tree.LONG else ids.CHUNK
                missing += found is None or found[1].flags & pack.KIND_MASK != wanted
    return missing


def _code(value: Run) -> list[str]:
    code = value.code
    reasons = []
    if HIDDEN in " ".join(value.command):
        reasons.append("a secret was taken out of the command line")
    if code.patch not in {"none", "kept"}:
        if not (code.patch == "no Git repository" and code.script):
            reasons.append(f"the code is not known as a whole: {code.patch}")
        else:
            reasons.append("the code is in no Git repository: only the script itself was kept")
    elif not code.commit:
        reasons.append("nothing of the code was committed")
    named = [path for path, word in code.untracked if word != "kept"]
    if named:
        more = f" and {len(named) - 3:,} more" if len(named) > 3 else ""  # noqa: PLR2004 - fits a line
        reasons.append(f"files that Git does not track were not kept: {', '.join(named[:3])}{more}")
    return reasons


def _circumstances(value: Run) -> list[str]:
    reasons = []
    outside = [each for each in value.inputs if each.source == run.OUTSIDE]
    if outside:
        names = ", ".join(paths.shown(each.path) for each in outside[:3])
        more = f" and {len(outside) - 3:,} more" if len(outside) > 3 else ""  # noqa: PLR2004 - fits a line
        reasons.append(f"what it read in no snapshot is not stored: {names}{more}")
    if not value.inputs:
        reasons.append("it is not known what it read")
    loaded = value.environment.get("loaded")
    if isinstance(loaded, list) and loaded:
        names = ", ".join(map(str, loaded))
        reasons.append(f"{names} may have read more than is known")
    if not value.environment.get("packages") and value.environment.get("python") is None:
        reasons.append("the packages that it used are not known")
    if not value.prints.seed:
        reasons.append(UNSEEDED)
    if value.inputs and not value.prints.data:
        reasons.append("not all that it read is known by its content")
    if value.status == "killed":
        reasons.append("it did not come to its end")
    return reasons
