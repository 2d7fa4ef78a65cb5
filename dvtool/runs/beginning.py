"""How a run begins: what it reads is fixed, its journal is opened, and what is known of it is written there."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import shutil
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from dvtool import ids, paths, urls
from dvtool.capture import machine, plain, recorder
from dvtool.errors import (
    ConflictError,
    FormatError,
    IntegrityError,
    KeyAccessError,
    NotFoundError,
    StorageError,
    UsageError,
)
from dvtool.formats import journal, log, run
from dvtool.formats.run import ITEM_LIMIT, TEXT_LIMIT
from dvtool.git import code
from dvtool.runs import catalogue, fitting
from dvtool.runs.journals import DIRECTORY, NEW
from dvtool.storage.disk import as_ours
from dvtool.store.editing import Editor
from dvtool.worktree import projects, recording, staging

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dvtool.capture.redaction import Redactor
    from dvtool.formats.snapshot import Snapshot
    from dvtool.git.code import CodeState
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace

Words = TypeVar("Words", tuple[str, str], tuple[str, str, str])

OPERATION: Final = "run"
UNTRACKED: Final = "untracked"
PATCH: Final = "patch.diff"
RECORD: Final = "record"
SCRIPTS: Final = 512 * 1024
"""Bytes that a script may have to be kept where Git does not have it."""
COMMAND_LIMIT: Final = 2**18
"""Characters of a command that are kept."""
NO_RECORD: Final = (StorageError, IntegrityError, KeyAccessError, FormatError, OSError)
"""Failures of recording that are no reason not to run the command."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be recorded.

    ``inputs`` are pairs of (path, or revision or run with a path in it; role), ``outputs`` of (path, kind); paths are
    relative to the current directory.  ``trace`` is ``declared`` or ``audit``.
    """

    command: tuple[str, ...]
    name: str = ""
    group: str = ""
    stage: str = ""
    parent: str = ""
    params: dict[str, Any] = {}
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[tuple[str, str], ...] = ()
    trace: str = "audit"
    require_clean: bool = False


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has begun: its id, the directory of its journal, and the descriptor that holds it.

    Until that is closed nobody takes the run for one that has ended.
    """

    id: str
    directory: str
    held: int


def begin(workspace: Workspace, request: Request, variables: Mapping[str, str], redactor: Redactor) -> Begun:
    """Begin a run.

    Args:
        workspace: the worktree.
        request: what is wanted.
        variables: the environment in which the command will run.
        redactor: takes secrets out of what is recorded.

    Raises:
        ConflictError: when the worktree has changes that are not recorded, and must not.
        NotFoundError: when an input does not exist.
        UsageError: when the request makes no sense.
        StorageError, IntegrityError: when nothing can be recorded.
    """
    session = workspace.session
    started = session.context.clock.now()
    moment = dt.datetime.fromtimestamp(started / 1_000_000, dt.UTC).strftime("%Y%m%d-%H%M%S")
    # Of two runs of one second the earlier one comes first, too.
    part = started % 1_000_000 * 1024 // 1_000_000
    bits = part << 40 | int.from_bytes(session.context.entropy.bytes(5), "big")
    identity = run.new_id(moment, bits.to_bytes(7, "big"))
    _check(request)
    notes: list[str] = []
    inputs = tuple(_input(workspace, word, role, redactor) for word, role in request.inputs)
    outputs = tuple(_output(workspace, word, kind) for word, kind in request.outputs)
    state = code.look(session.root)
    found = _code(workspace, state, request.command, redactor, notes)
    document = machine.environment(variables, redactor)
    head = session.head().snapshot
    value = journal.Begin(
        version=journal.VERSION,
        id=identity,
        started=started,
        name=redactor.text(request.name),
        group=redactor.text(request.group),
        stage=request.stage,
        parent=request.parent,
        author=plain.text(_author(workspace)),
        command=_words(redactor.arguments(request.command), notes),
        directory=plain.text(os.path.relpath(session.context.cwd or os.getcwd(), session.root)),
        snapshot=head or b"",
        dirty=False,
        inputs=_sayable(inputs, "input", notes),
        outputs=_sayable(outputs, "output", notes),
        params=_params(request.params, redactor),
        code=plain.document(msgspec.structs.asdict(found)),
        environment=plain.document(document),
        trace=request.trace,
        notes=tuple(map(plain.text, notes)),
    )
    value = fitting.begin(value)
    value = _fix(workspace, value, request)
    try:
        directory, held = _open(workspace, value, lambda place: _keep_code(place, state, found, session.root, redactor))
    except OSError as error:
        raise as_ours(error, f"{session.layout.control}/{DIRECTORY}") from None
    return Begun(id=identity, directory=directory, held=held)


def _check(request: Request) -> None:
    if not request.command:
        raise UsageError("there is no command to run", next="write it after two dashes: dv run -- python train.py")
    if request.stage not in run.STAGES:
        raise UsageError(f"{request.stage!r} is no stage", next=f"choose one of {', '.join(filter(None, run.STAGES))}")
    for word in (request.name, request.group):
        if not word.isprintable() or len(word) > 200 or run.is_id(word):  # noqa: PLR2004 - fits a line
            raise UsageError(f"{word!r} cannot be the name of a run or group", next="choose a short one on one line")


def _author(workspace: Workspace) -> str:
    try:
        return workspace.author(None)
    except UsageError:
        return ""  # a run is worth recording even if nobody says who began it


def _params(params: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    return {redactor.text(name): redactor.value(name, value) for name, value in plain.document(params).items()}


def _words(command: tuple[str, ...], notes: list[str]) -> tuple[str, ...]:
    """Return a command as it can be kept: not all systems have a bound on its length, but journals do."""
    found: list[str] = []
    left = COMMAND_LIMIT
    for word in command[:ITEM_LIMIT]:
        found.append(plain.text(word, min(TEXT_LIMIT, left)))
        left -= len(found[-1])
    if len(found) < len(command) or any(len(kept) < len(word) for kept, word in zip(found, command, strict=True)):
        notes.append("the command is longer than what is kept of it")
    return tuple(found)


def _sayable(found: tuple[Words, ...], what: str, notes: list[str]) -> tuple[Words, ...]:
    """Leave out what has no name in Unicode, or too long a one, and say so."""
    kept = []
    for each in found:
        if all(word == plain.text(word) for word in each):
            kept.append(each)
        else:
            notes.append(
                f"the {what} {plain.text(paths.brief(each[0]))!r} has a name that cannot be written, and is left out"
            )
    if len(kept) > ITEM_LIMIT:
        notes.append(f"{len(kept) - ITEM_LIMIT:,} more of {what} are left out")
    return tuple(kept[:ITEM_LIMIT])


def _input(workspace: Workspace, word: str, role: str, redactor: Redactor) -> tuple[str, str, str]:
    """Return an input as the journal has it; role; level.

    It is an absolute path, a URL, or a snapshot or run with a path in it.

    Raises:
        NotFoundError: when there is nothing.
    """
    session = workspace.session
    place = os.path.normpath(os.path.join(session.context.cwd or os.getcwd(), word))
    if os.path.lexists(place):
        return place, role or _role(workspace, place), "declared"
    if urls.is_url(word):
        return redactor.text(word), role, "declared"
    name, path = workspace.revisions.split_path(word)
    if path is not None:
        identity = _run_of(workspace, name)
        if identity is not None:
            return f"{identity}:{path}", role, "declared"
        snapshot, where, _entry = workspace.place(word)
        return f"{snapshot.hex()}:{where}", role or _role(workspace, f"{session.root}/{where}"), "declared"
    relative = os.path.relpath(place, session.root)
    left_out = session.left_out()
    if left_out is not None and not relative.startswith("..") and left_out(relative):
        raise NotFoundError(
            f"the input {word!r} is not in the worktree", next=f"bring it with 'dv get {word}', then run it again"
        )
    raise NotFoundError(
        f"there is no input {word!r}",
        why="it is no path here, and no revision or run with a path in it",
        next="check the spelling; the command was not started",
    )


def _run_of(workspace: Workspace, name: str) -> str | None:
    """Return the run that a word means which is no revision; None for none, unless it can mean nothing else."""
    if not name or workspace.revisions.is_revision(name):
        return None
    try:
        return catalogue.find(workspace, name)
    except NotFoundError:
        if catalogue.looks_like_run(name):
            raise
        return None


def _role(workspace: Workspace, place: str) -> str:
    root = workspace.session.root
    if not paths.below(place, root):
        return ""
    path = os.path.relpath(place, root)
    return projects.role_of("" if path == "." else path, projects.read(root).splits)[0]


def _output(workspace: Workspace, word: str, kind: str) -> tuple[str, str]:
    session = workspace.session
    place = os.path.normpath(os.path.join(session.context.cwd or os.getcwd(), word))
    if place == "/" or paths.below(session.root, place):
        raise UsageError(f"{word!r} cannot be an output", why="the repository itself lies in it")
    if paths.below(place, session.root):
        path = os.path.relpath(place, session.root)
        if paths.is_own(path):
            raise UsageError(f"{word!r} cannot be an output", why="it holds files of dv's or Git's own")
    return place, kind


def _code(
    workspace: Workspace, state: CodeState | None, command: Sequence[str], redactor: Redactor, notes: list[str]
) -> run.Code:
    """Return what is said of the code; what is kept of it is written into the journal later."""
    script = _script(workspace, command)
    if state is None:
        return run.Code(script=script, patch="no Git repository")
    if state.why:
        notes.append(redactor.text(state.why))
    patch = "none" if state.patch == b"" else "kept" if state.patch is not None else state.why
    untracked = tuple(
        (paths.shown(path), "kept" if content is not None else "named") for path, content in state.untracked.items()
    )
    return run.Code(
        commit=state.commit,
        branch=state.branch,
        remote=redactor.text(state.remote),
        script=script,
        patch=redactor.text(patch),
        untracked=untracked,
    )


def _script(workspace: Workspace, command: Sequence[str]) -> str:
    """Return the path of the program that a command names, where it lies in the worktree: its first word that does."""
    session = workspace.session
    for word in command[:4]:
        place = os.path.normpath(os.path.join(session.context.cwd or os.getcwd(), word))
        if not word.startswith("-") and paths.below(place, session.root) and code.is_program(place):
            return paths.shown(os.path.relpath(place, session.root))
    return ""


def _fix(workspace: Workspace, value: journal.Begin, request: Request) -> journal.Begin:
    """Record the worktree as it is, if it has changes, so that it is known for ever what the run reads.

    The snapshot is on no branch; a first form of the run names it, which says of itself that nobody saw its end.

    Raises:
        ConflictError: when there are changes, and there must be none.
    """
    session = workspace.session
    roots = session.stage().roots
    if not roots:
        return value
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(workspace.changing())
            session.require_unlocked_refs()
        except ConflictError as error:
            # Somebody else is at work here, which is no reason not to run the command.
            raise StorageError(error.what, where=error.where, why=error.why, next=error.next) from None
        head = session.head()
        # An erasure may have superseded it while the lock was waited for.
        value = msgspec.structs.replace(value, snapshot=head.snapshot or b"")
        recorded = session.snapshot(head.snapshot) if head.snapshot is not None else None
        found = workspace.look_everywhere(roots)
        with session.store.transaction() as transaction:
            try:
                tree = staging.bring_in(session, transaction, found, roots).tree
            except UsageError as error:
                # A pipe among the data, or a name that is not UTF-8, is no reason not to run the command.
                raise StorageError("the worktree cannot be recorded", where=error.where, why=error.what) from None
            if recorded is not None and (recorded.root, recorded.roots) == (tree, roots):
                return value
            if request.require_clean:
                raise ConflictError(
                    "the worktree has changes that are not recorded, so the run was not started",
                    next="look at them with 'dv status' and record them with 'dv commit -a', or go without "
                    "--require-clean: they are then recorded for this run alone",
                )
            snapshot, _said = _record(workspace, transaction, tree, roots, value)
            dirty = msgspec.structs.replace(value, snapshot=snapshot, dirty=True)
            first = msgspec.structs.replace(
                catalogue.begun(dirty),
                nonce=session.context.entropy.bytes(run.NONCE_SIZE),
                tree=Editor(transaction, session.store.secrets.split).empty(),
            )
            identity = transaction.put_object(ids.RUN, run.encode(first))
            move = log.MoveRef(name=run.ref_name(value.id), old=None, new=identity)
            transaction.commit(OPERATION, lambda _state: [move])
        workspace.after_change()
    return dirty


def _record(
    workspace: Workspace, transaction: Transaction, tree: bytes, roots: tuple[str, ...], value: journal.Begin
) -> tuple[bytes, Snapshot]:
    session = workspace.session
    head = session.head().snapshot
    return recording.make(
        session,
        transaction,
        tree=tree,
        roots=roots,
        parents=(head,) if head is not None else (),
        author=value.author,
        message=f"the worktree when run {value.id} began",
        with_settings=not workspace.in_git(),
    )


def _open(workspace: Workspace, value: journal.Begin, fill: Callable[[str], None]) -> tuple[str, int]:
    """Make the journal; return its directory, and a descriptor that holds it.

    It comes into its place filled and held: another command, which looks there for runs that have ended, would
    otherwise take this one for such.
    """
    top = f"{workspace.session.layout.control}/{DIRECTORY}"
    os.makedirs(top, mode=0o700, exist_ok=True)
    directory, part = f"{top}/{value.id}", f"{top}/{NEW}{value.id}"
    os.mkdir(part, 0o700)
    held = -1
    try:
        taken = recorder.hold(part)
        held = -1 if taken is None else taken
        fill(part)
        write(f"{part}/{recorder.BEGIN}", journal.encode_begin(value))
        os.rename(part, directory)
    except BaseException:
        recorder.let_go(held)
        shutil.rmtree(part, ignore_errors=True)
        raise
    return directory, held


def write(path: str, data: bytes) -> None:
    """Write a file of a journal as a whole.

    Raises:
        OSError: when the disk refuses.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    part = f"{path}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)
    os.rename(part, path)


def _keep_code(directory: str, state: CodeState | None, found: run.Code, root: str, redactor: Redactor) -> None:
    """Keep what Git does not have of the code, without what looks like a secret.

    What cannot be kept, because it has gone or has too long a name, is no reason not to begin.
    """
    record = f"{directory}/{RECORD}"
    kept: dict[str, bytes] = {}
    if state is None:
        place = f"{root}/{found.script}"
        with contextlib.suppress(OSError):
            if found.script and os.path.getsize(place) <= SCRIPTS:
                with open(place, "rb") as file:
                    kept[found.script] = file.read(SCRIPTS)
    else:
        kept = {paths.shown(path): content for path, content in state.untracked.items() if content is not None}
        if state.patch:
            write(f"{record}/{PATCH}", redactor.data(state.patch))
    for path, content in kept.items():
        if not paths.is_own(path) and not any(part in {"", ".", ".."} for part in path.split("/")):
            try:
                write(f"{record}/{UNTRACKED}/{path}", redactor.data(content))
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}:
                    raise
