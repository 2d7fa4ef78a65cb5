"""``dv erase``: takes files out of every version, and leaves the experiments explained."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.capture.redaction import Redactor
from dvtool.erasure import asking, certificate, executing, local, planning, remotely, steps, targets
from dvtool.errors import ConflictError, NotFoundError, UsageError
from dvtool.formats import erasure as formats
from dvtool.globs import Matcher
from dvtool.history import holds
from dvtool.history.describe import rfc3339
from dvtool.runs import journals, sealing
from dvtool.runs.lineage import Lineage
from dvtool.worktree import places, projects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.erasure.asking import Request
    from dvtool.erasure.planning import Plan
    from dvtool.store.state import State
    from dvtool.workspace import Workspace

SHOWN: Final = 1000
"""Things of one sort that an error lists."""


class CopyItem(msgspec.Struct, frozen=True, kw_only=True):
    """A retained file with bytes in common with an erased one."""

    path: str
    size: int
    common: int
    identical: bool


class ModelItem(msgspec.Struct, frozen=True, kw_only=True):
    """A run that made something from what goes, directly or through another run."""

    run: str
    name: str
    direct: bool


class HoldItem(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that stands in the way: of a path, or of a subject as ``subject:ID``."""

    hold: str
    ground: str
    until: str | None
    target: str


class EraseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure comes to, or came to.

    ``snapshots`` are superseded; ``files`` counts what goes, in each version that held it, ``contents`` the distinct
    contents; ``paths`` are the paths that they had.  ``packs`` go, of ``bytes`` bytes together, of which ``rewritten``
    are written anew.  ``runs`` are written anew as well; ``models`` are runs that made something from what goes.
    ``worktree`` are files that are removed from worktrees, ``linked`` those of them with another hard link, which
    stays.  ``holds`` keep it from being erased.  To the snapshots in ``forgotten`` no ref leads: they go, whatever is
    in them.  ``remotes`` are those at which the same is to be done; afterwards, those that were not reached.
    ``mentions`` are places where a target is spoken of in a text.
    """

    plan: bool
    erasure: str | None
    snapshots: int
    superseded: dict[str, str | None]
    files: int
    contents: int
    paths: tuple[str, ...]
    copies: tuple[CopyItem, ...]
    packs: int
    rewritten: int
    bytes: int
    runs: tuple[str, ...]
    models: tuple[ModelItem, ...]
    refs: tuple[str, ...]
    worktree: tuple[str, ...]
    linked: tuple[str, ...]
    holds: tuple[HoldItem, ...]
    forgotten: tuple[str, ...]
    mentions: tuple[str, ...]
    remotes: tuple[str, ...]
    outstanding: tuple[str, ...]
    finished: str | None


def erase(
    workspace: Workspace,
    arguments: Sequence[str] = (),
    *,
    subjects: Sequence[str] = (),
    authors: Sequence[str] = (),
    copies: str = "",
    keep_path: bool = False,
    redact_text: bool = False,
    request: str = "",
    ground: str = "",
    everything: bool = False,
    plan: bool = False,
    agreed: EraseResult | None = None,
) -> EraseResult:
    """Erase what lies, or ever lay, at some paths, from every version that is kept here and at the remotes.

    A remote that cannot be reached is outstanding, and is told.

    Args:
        workspace: the worktree.
        arguments: paths and globs, relative to the current directory.
        subjects: ids of people, whose files the rules in ``dv.toml`` tell.
        authors: addresses of authors whose names go from snapshots and runs, holds and decisions.
        copies: what becomes of retained files that are identical to an erased one, or have bytes in common with one:
            ``erase`` or ``keep``; must be said where there are any.
        keep_path: leave the names of files, with nothing else of them.
        redact_text: take the targets out of messages, names, parameters and patches of code as well.
        request: the reference of the request, for the certificate.
        ground: why, for the certificate.
        everything: allow that nothing is left of a snapshot.
        plan: find out and change nothing.
        agreed: the plan that was agreed to; if it comes to something else by now, nothing is erased.

    Raises:
        NotFoundError: when nothing of the kind was ever stored.
        ConflictError: when an erasure is pending, a run goes on, or a hold stands in the way.
        UsageError: when a target makes no sense, it must be said what becomes of copies, or of everything, or it is
            more than one record can tell.
        IntegrityError: when something is missing or damaged; nothing is erased then.
        StorageError: when the disk refuses.
    """
    if plan:
        _tell_of_waiting(workspace)
    else:
        sealing.seal_waiting(workspace, Redactor(os.environ))
    asked = _request(workspace, arguments, subjects, authors)
    asked = msgspec.structs.replace(
        asked, keep_path=keep_path, redact=redact_text, reference=request, ground=ground, copies=copies
    )
    executing.refuse_pending(workspace.session.store.refresh())
    if not plan:
        _forget_finished(workspace)
    found = _plan(workspace, asked, is_only_plan=plan)
    if copies == "erase" and found.copies:
        asked = msgspec.structs.replace(asked, contents=tuple(sorted(found.copied)))
        found = _plan(workspace, asked, is_only_plan=plan)
    _require_something(found, asked)
    result = _result(workspace, asked, found, is_plan=plan)
    models = tuple(formats.Decision(run=each.run, direct=each.direct) for each in result.models)
    steps.new_record(workspace.session.store, asked, found, models)
    if plan:
        return result
    _refuse_held(result.holds)
    _require_said(found, asked, everything=everything)
    if agreed is not None:
        _require_agreed(result, agreed)
    targeted = _targeted(result)
    done = executing.begin(
        workspace, asked, found, lambda state: _refuse_held(_held(workspace, asked, targeted, state))
    )
    workspace.session.store.maintain()
    record = remotely.everywhere(workspace, done.record.id, done.request)
    return msgspec.structs.replace(
        result,
        erasure=record.id.hex(),
        remotes=tuple(remotely.unreached_of(record)),
        outstanding=tuple(executing.outstanding(record)),
        finished=rfc3339(record.finished),
    )


def _tell_of_waiting(workspace: Workspace) -> None:
    """Say which runs a plan does not count, because it stores nothing, and they have ended and are not stored yet."""
    control = workspace.session.layout.control
    for identity in journals.waiting(control):
        if not journals.is_going(f"{control}/{journals.DIRECTORY}/{identity}"):
            workspace.session.context.tell(
                f"note: run {identity} has ended and is not stored yet, so the plan does not count it; "
                "'dv runs list' stores it"
            )


def _forget_finished(workspace: Workspace) -> None:
    """Remove the journal of an erasure that is over; who is about to begin another holds the worktree.

    Raises:
        ConflictError: when another command changes the worktree.
    """
    if os.path.lexists(places.erasing_of(workspace.session.layout.store())):
        with workspace.session.lock():
            workspace.session.store.refresh()
            workspace.forget_erasure()


def _request(
    workspace: Workspace, arguments: Sequence[str], subjects: Sequence[str], authors: Sequence[str]
) -> Request:
    if not arguments and not subjects and not authors:
        raise UsageError(
            "nothing is named that could be erased",
            next="name paths, --subject ID, --author-of EMAIL or --targets-from",
        )
    rules = projects.read(workspace.session.root).subjects
    for identity in subjects:
        targets.by_subject(identity, rules)
    patterns = tuple(dict.fromkeys(_pattern(workspace, argument) for argument in arguments))
    entropy = workspace.session.store.entropy
    return asking.Request(
        erasure=entropy.bytes(16),
        key=entropy.bytes(formats.KEY_SIZE),
        targets=targets.Targets(
            patterns=patterns,
            subjects=tuple(dict.fromkeys(subjects)),
            authors=tuple(dict.fromkeys(authors)),
        ),
        rules=tuple(each.paths for each in rules if each.paths is not None) if subjects else (),
    )


def _pattern(workspace: Workspace, argument: str) -> str:
    """Return a path or glob relative to the root."""
    if not argument.strip():
        raise UsageError("an empty path names nothing", next="name a path, or '**' for everything")
    path = workspace.session.relative(argument.rstrip("/") or argument)
    if paths.is_own(path) and path:
        raise UsageError(f"{argument!r} is dv's or Git's own, and never data")
    return path or "**"


def _plan(workspace: Workspace, asked: Request, *, is_only_plan: bool) -> Plan:
    session = workspace.session
    return planning.plan(
        session.store,
        asking.wish_of(asked),
        session.context.progress,
        without_data=session.lazy is not None,
        # Where none was made yet it makes a signing key.
        certified=None if is_only_plan else functools.partial(certificate.certified, workspace),
    )


def _require_something(found: Plan, asked: Request) -> None:
    """Refuse targets that nothing matches, each by itself: a slip of the pen must not look like success.

    Raises:
        NotFoundError: when there is such a target.
    """
    matcher = asking.matcher_of(asked)
    met = {glob.named for path in found.paths if (glob := matcher.covering(path)) is not None}
    # Of several that cover a path only one is told: whether the others are met has to be asked by itself.
    for glob in matcher.globs:
        if glob.named not in met and any(map(Matcher([glob]).covers, found.paths)):
            met.add(glob.named)
    missing = sorted({glob.named for glob in matcher.globs} - met - found.met)
    if missing or found.is_nothing():
        raise NotFoundError(
            "nothing of this was ever stored, or it was erased already",
            items=tuple(missing[:SHOWN]),
            next="check the spelling; 'dv log PATH' tells which snapshots had a path, 'dv erasure list' what is gone",
        )


def _require_said(found: Plan, asked: Request, *, everything: bool) -> None:
    if found.copies and not asked.copies:
        raise UsageError(
            f"{len(found.copies):,} files that stay have content in common with what goes",
            why="they may lawfully belong to somebody else",
            items=tuple(
                f"{each.path}: {'identical' if each.identical else f'{each.common:,} of {each.size:,} bytes in common'}"
                for each in found.copies[:SHOWN]
            ),
            next="say what becomes of them: --copies keep, or --copies erase",
        )
    if found.leaves_nothing and not everything:
        raise UsageError(
            "nothing would be left of the data",
            why=f"the targets match every file of {found.leaves_nothing:,} snapshots",
            next="check the pattern; if this is meant, say --all as well",
        )


def _unread(workspace: Workspace, asked: Request) -> list[str]:
    """Return the tables in which a rule says that there are rows of a subject; only files are erased."""
    rules = projects.read(workspace.session.root).subjects if asked.targets.subjects else ()
    return [f"rows of {each.tables}, by {each.column}" for each in rules if each.tables is not None]


def _targeted(result: EraseResult) -> list[str]:
    """Return the paths of this worktree's repository that a plan is about."""
    return sorted({*result.paths, *(path for path in result.worktree if not path.startswith("/"))})


def _held(workspace: Workspace, asked: Request, targeted: Sequence[str], state: State) -> tuple[HoldItem, ...]:
    """Return the holds that stand in the way of some paths, and of the subjects that are asked about."""
    session = workspace.session
    found = holds.standing(session.store, state, session.context.clock.now())
    rules = projects.read(session.root).subjects if found else ()
    return tuple(
        HoldItem(
            hold=each.id.hex(),
            ground=each.ground,
            until=rfc3339(each.until) if each.until is not None else None,
            target=target,
        )
        for each, target in holds.covering(found, targeted, asked.targets.subjects, rules=rules)
    )


def _refuse_held(found: Sequence[HoldItem]) -> None:
    """Refuse to erase what is held.

    Raises:
        ConflictError: when anything is.
    """
    if found:
        raise ConflictError(
            "what was to be erased is held",
            why="; ".join(dict.fromkeys(each.ground for each in found)),
            items=tuple(f"{each.target}: hold {each.hold[:8]}" for each in found[:SHOWN]),
            next="wait until the hold is over, or release it with 'dv hold release'; nothing was erased",
        )


def _require_agreed(result: EraseResult, agreed: EraseResult) -> None:
    """Refuse to erase something else than was shown.

    Raises:
        ConflictError: when the store or the worktree changed since.
    """
    for name in ("paths", "copies", "runs", "worktree", "forgotten"):
        if getattr(result, name) != getattr(agreed, name):
            break
    else:
        if result.superseded.keys() == agreed.superseded.keys():
            return
    raise ConflictError(
        "the plan is stale: something was recorded or changed since it was made",
        next="look at it anew with --plan; nothing was erased",
    )


def _result(workspace: Workspace, asked: Request, found: Plan, *, is_plan: bool) -> EraseResult:
    session = workspace.session
    direct, runs = Lineage(workspace).made_from(found.contents.keys()) if found.contents else (set(), set())
    names = {each.id: each.name for each in found.known_runs}
    worktree: list[str] = []
    linked: list[str] = []
    for root, other in local.worktrees(workspace):
        if other is None:
            continue
        files, more = local.found(other, asking.matcher_of(asked), found.roots, asking.wish_of(asked).contents)
        prefix = "" if root == session.root else f"{root}/"
        worktree += [prefix + path for path in files]
        linked += [prefix + path for path in more]
    result = EraseResult(
        plan=is_plan,
        erasure=None,
        snapshots=len(found.snapshots),
        superseded={old.hex(): None if is_plan else each.new.hex() for old, each in sorted(found.snapshots.items())},
        files=found.files,
        contents=len(found.contents),
        paths=tuple(sorted(found.paths)),
        copies=tuple(
            CopyItem(path=each.path, size=each.size, common=each.common, identical=each.identical)
            for each in found.copies
        ),
        packs=len(found.gone),
        rewritten=len(found.rewrite),
        bytes=sum(found.gone.values()),
        runs=tuple(sorted(found.affected)),
        models=tuple(ModelItem(run=each, name=names.get(each, ""), direct=each in direct) for each in sorted(runs)),
        refs=tuple(sorted(move.name for move in found.moves)),
        worktree=tuple(worktree),
        linked=tuple(linked),
        holds=(),
        forgotten=tuple(sorted(identity.hex() for identity in found.forgotten)),
        mentions=(*sorted(found.mentions), *_unread(workspace, asked)),
        remotes=tuple(sorted(projects.read(session.root).remotes)),
        outstanding=(),
        finished=None,
    )
    held = _held(workspace, asked, _targeted(result), session.store.state)
    return msgspec.structs.replace(result, holds=held)
