"""All runs of a store, and which one people mean.

Runs are read once: what is said of each in lists is kept in a sealed cache, by the id of its object, which changes when
the run does.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids
from dvtool.capture import recorder
from dvtool.errors import DvError, FormatError, IntegrityError, NotFoundError, StorageError, UsageError
from dvtool.formats import codec, journal, run, sealed
from dvtool.formats.run import Run
from dvtool.runs.journals import DIRECTORY, is_going
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.workspace import Workspace

REFS: Final = "runs/"
RUNNING: Final = "running"
_SHORTEST: Final = 4
_PREFIX: Final = re.compile(r"[0-9]{8}-[0-9a-z-]*")
_RANDOM: Final = re.compile(r"[0-9a-hjkmnp-tv-z]{4,10}")


class Listed(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A run as lists know it: without what is only shown of single ones, and with the trees of what it read and made.

    ``object`` is its id, empty for a run that goes on, of which nothing is stored yet.
    """

    object: bytes
    run: Run
    inputs: bytes | None
    outputs: bytes | None
    going: bool = False

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.run.id

    @property
    def status(self) -> str:
        """How it ended, or that it goes on."""
        return RUNNING if self.going else self.run.status


class _Kept(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """``.dv/cache/runs``."""

    rows: tuple[Listed, ...]


def everything(workspace: Workspace) -> list[Listed]:
    """Return all runs, the newest first; those that go on in this worktree are among them.

    One that is missing or damaged is left out, and a warning says so: it is not to hide all others.
    """
    refs = named(workspace)
    known = _recall(workspace) if refs else {}
    found: dict[str, Listed] = {}
    fresh = False
    for name, identity in refs.items():
        row = known.get(identity)
        if row is None:
            try:
                row, fresh = _read(workspace, identity), True
            except (IntegrityError, FormatError) as error:
                workspace.session.context.tell(f"warning: run {name} cannot be read: {error.finding()}")
                continue
        found[name] = row
    if fresh or len(known) > len(refs):
        _remember(workspace, found.values())
    for each in going(workspace):
        found[each.id] = each
    return sorted(found.values(), key=lambda each: (each.run.started, each.id), reverse=True)


@contextlib.contextmanager
def many() -> Iterator[None]:
    """Keep Python from looking for garbage while thousands of values are made that all stay: a quarter of a list."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def users(workspace: Workspace) -> dict[bytes, tuple[str, ...]]:
    """Return the runs that read from each snapshot, the newest first; of one that was erased, what stands for it."""
    state = workspace.session.state
    found: dict[bytes, list[str]] = {}
    for row in everything(workspace):
        for each in dict.fromkeys(run.names_of(row.run)):
            stands = state.standing(each)
            for identity in {each, stands if stands is not None else each}:
                found.setdefault(identity, []).append(row.id)
    return {identity: tuple(names) for identity, names in found.items()}


def named(workspace: Workspace) -> dict[str, bytes]:
    """Return the objects of all stored runs by the run's id."""
    return {name.removeprefix(REFS): value for name, value in workspace.session.state.ref_names(REFS)}


def read(workspace: Workspace, identity: str) -> Run:
    """Return a stored run.

    Raises:
        NotFoundError: when there is none of this id.
        IntegrityError: when it is damaged.
    """
    value = workspace.session.state.ref(run.ref_name(identity))
    if value is None:
        raise unknown(identity)
    return run.decode(workspace.session.store.read_object(ids.RUN, value))


def listed(workspace: Workspace, identity: str) -> Listed:
    """Return a stored run as lists know it; raises as :func:`read`, and when its tree is damaged."""
    value = workspace.session.state.ref(run.ref_name(identity))
    if value is None:
        raise unknown(identity)
    return _read(workspace, value)


def unknown(word: str) -> NotFoundError:
    """Return the error for a run that is not there."""
    return NotFoundError(f"there is no run {word!r}", next="run 'dv runs list' to see the runs")


def looks_like_run(word: str) -> bool:
    """Return whether a word can only mean a run."""
    return run.is_id(word) or bool(_PREFIX.fullmatch(word))


def find(workspace: Workspace, word: str) -> str:
    """Return the id of the run that a word means: an id, the beginning of one or of its last part, or a name.

    Of runs with one name the newest is meant.

    Raises:
        NotFoundError: when there is none.
        UsageError: when there are several.
    """
    identities = sorted({*named(workspace), *(each.id for each in going(workspace))})
    if word in identities:
        return word
    matches = [each for each in identities if len(word) >= _SHORTEST and each.startswith(word)]
    if not matches and _RANDOM.fullmatch(word):
        matches = [each for each in identities if each.rpartition("-")[2].startswith(word)]
    if len(matches) > 1:
        raise UsageError(
            f"{word!r} means several runs", items=tuple(matches[:20]), next="write more of it, or the whole id"
        )
    if matches:
        return matches[0]
    by_name = [each.id for each in everything(workspace) if each.run.name == word] if word else []
    if not by_name:
        raise unknown(word)
    return by_name[0]


def going(workspace: Workspace) -> Iterator[Listed]:
    """Yield the runs of this worktree that have not ended."""
    top = f"{workspace.session.layout.control}/{DIRECTORY}"
    for name in sorted(os.listdir(top)) if os.path.isdir(top) else ():
        if not run.is_id(name) or not is_going(f"{top}/{name}"):
            continue
        try:
            begin = journal.decode_begin(recorder.read(f"{top}/{name}/{recorder.BEGIN}"))
        except DvError:
            continue
        yield Listed(object=b"", run=begun(begin), inputs=None, outputs=None, going=True)


def begun(begin: journal.Begin) -> Run:
    """Return what is known of a run when it begins, as it is stored if nobody sees its end."""
    source = run.Source(snapshot=begin.snapshot, dirty=begin.dirty)
    return run.Run(
        id=begin.id,
        revision=0,
        nonce=bytes(run.NONCE_SIZE),
        tree=bytes(ids.ID_SIZE),
        name=begin.name,
        group=begin.group,
        stage=begin.stage,
        parent=begin.parent,
        status="killed",
        author=begin.author,
        started=begin.started,
        ended=begin.started,
        command=begin.command,
        directory=begin.directory,
        sources=(source,) if begin.snapshot else (),
        inputs=(),
        outputs=(),
        params=begin.params,
        changes=(),
        seeds={},
        metrics=(),
        samples=(),
        workers=(),
        code=_code(begin.code),
        environment=begin.environment,
        prints=run.Prints(),
        ending=run.Ending(),
        notes=begin.notes,
    )


def _code(said: dict[str, Any]) -> run.Code:
    """Return what a journal says of the code; nothing where it makes no sense."""
    try:
        return msgspec.convert([said[name] for name in run.Code.__struct_fields__], run.Code)
    except (KeyError, msgspec.ValidationError):
        return run.Code()


def _read(workspace: Workspace, identity: bytes) -> Listed:
    session = workspace.session
    found = run.decode(session.store.read_object(ids.RUN, identity))
    parts = {name: entry.id for name, entry in session.trees.entries(found.tree)}
    bare = msgspec.structs.replace(found, environment={}, changes=(), samples=(), workers=(), notes=(), sections={})
    return Listed(object=identity, run=bare, inputs=parts.get(run.INPUTS), outputs=parts.get(run.OUTPUTS))


def _place(workspace: Workspace) -> str:
    return f"{workspace.session.layout.cache}/runs"


def _context(workspace: Workspace) -> bytes:
    return workspace.session.store.format.store + b"runs"


def _recall(workspace: Workspace) -> dict[bytes, Listed]:
    """Return the runs of the cache by the ids of their objects; whatever is wrong with it, it is made anew."""
    try:
        blob = recorder.read(_place(workspace))
        cache = workspace.session.store.secrets.cache
        payload = sealed.open_blob(sealed.CACHE, cache, _context(workspace), blob, what="cache")
        with many():
            return {row.object: row for row in codec.decode(_Kept, payload, what="cache", exact=False).rows}
    except (OSError, DvError):
        return {}


def _remember(workspace: Workspace, rows: Iterable[Listed]) -> None:
    session = workspace.session
    payload = codec.encode(_Kept(rows=tuple(rows)))
    salt = session.context.entropy.bytes(sealed.SALT_SIZE)
    label = bytes(sealed.LABEL_SIZE)
    blob = sealed.seal(sealed.CACHE, session.store.secrets.cache, label, salt, _context(workspace), payload)
    try:
        if not os.path.isdir(session.layout.cache):
            session.context.disk.make_directory(session.layout.cache)
        write_file(_place(workspace), blob, session.context.disk, durable=False)
    except StorageError:
        return  # a cache
