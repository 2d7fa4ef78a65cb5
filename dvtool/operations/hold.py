"""``dv hold``: says what must not be erased, lists that, and lets go of it again."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import ConflictError, DvError, FormatError, NotFoundError, UsageError
from dvtool.formats import hold, log
from dvtool.history import holds, presence
from dvtool.history.describe import rfc3339
from dvtool.worktree import projects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dvtool.formats.hold import Hold
    from dvtool.store.state import State
    from dvtool.workspace import Workspace

ADDED: Final = "hold add"
RELEASED: Final = "hold release"
ACTIVE: Final = "active"
OVER: Final = "over"
UNREADABLE: Final = "unreadable"
TOLD: Final = 20
"""Paths of which it is said that nothing is there."""

_PREFIX: Final = re.compile(f"[0-9a-f]{{{ids.SHORTEST_PREFIX},{2 * ids.SHORT_SIZE}}}")


class HoldItem(msgspec.Struct, frozen=True, kw_only=True):
    """A hold: on some paths, or on a subject; times in RFC 3339 UTC, ``until`` None where it has no end of its own.

    ``state`` is ``active`` or ``over``; or ``unreadable``, of one that was given up because it is damaged.
    """

    id: str
    paths: tuple[str, ...]
    subject: str | None
    ground: str
    author: str
    created: str | None
    until: str | None
    state: str


def add(
    workspace: Workspace,
    arguments: Sequence[str] = (),
    *,
    subjects: Sequence[str] = (),
    ground: str,
    until: dt.datetime | None = None,
) -> list[HoldItem]:
    """Hold what lies under some paths, and what is of some subjects: one hold for all paths, one for each subject.

    Args:
        workspace: the worktree.
        arguments: paths or patterns of paths, as :mod:`dvtool.globs` reads them; nothing need be there yet.
        subjects: ids of subjects, as the rules of ``dv.toml`` take them.
        ground: why the data must be kept.
        until: when the holds are over, with a time zone; by default they end when they are released.

    Raises:
        UsageError: when nothing is named, a path cannot be data, no rule says where a subject's data is, there is no
            ground, or the end has passed.
        ConflictError: when an erasure is under way.
    """
    session = workspace.session
    session.store.refresh()
    session.require_unlocked_refs()
    if not arguments and not subjects:
        raise UsageError("nothing is named that is to be held", next="name paths, or --subject ID")
    if not ground.strip():
        raise UsageError("a hold needs a ground", next="say why the data must be kept: --ground 'case 12/2026'")
    created = session.context.clock.now()
    end = _end(until, created)
    patterns = tuple(sorted({_pattern(workspace, each) for each in arguments}))
    _require_rules(workspace, subjects)
    wanted = [(patterns, "")] if patterns else []
    wanted += [((), subject) for subject in dict.fromkeys(subjects)]
    author = workspace.author(None)
    made = [
        hold.Hold(
            id=session.context.entropy.bytes(ids.SHORT_SIZE),
            paths=held,
            subject=subject,
            ground=ground.strip(),
            author=author,
            created=created,
            until=end,
            nonce=session.context.entropy.bytes(hold.NONCE_SIZE),
        )
        for held, subject in wanted
    ]
    _store(workspace, made)
    workspace.after_change()
    _tell_of_empty(workspace, patterns)
    return [_item(each, created) for each in made]


def list_holds(workspace: Workspace) -> list[HoldItem]:
    """Return all holds that were not released, the oldest first.

    Raises:
        IntegrityError, FormatError: when one cannot be read.
    """
    session = workspace.session
    now = session.context.clock.now()
    return [_item(each, now) for each in holds.every(session.store, session.store.refresh())]


def release(workspace: Workspace, words: Sequence[str] = (), *, subjects: Sequence[str] = ()) -> list[HoldItem]:
    """Let go of holds: all that are on one of some paths or subjects, or whose ids begin so.

    Args:
        workspace: the worktree.
        words: ids or their beginnings; or paths and patterns, just as they were held.
        subjects: ids of subjects.

    Raises:
        NotFoundError: when there is no such hold.
        UsageError: when a word means several ids, or an id and a path; or nothing is named.
        ConflictError: when a hold is on more paths than are named here, or an erasure is under way.
    """
    session = workspace.session
    session.store.refresh()
    session.require_unlocked_refs()
    if not words and not subjects:
        raise UsageError("nothing is named that is to be released", next="name a hold's id, its path, or --subject ID")
    now = session.context.clock.now()
    released: list[HoldItem] = []

    def build(state: State) -> list[log.Action]:
        found = _Known(workspace, state).chosen(words, subjects)
        released[:] = [_item(each, now) if each is not None else _lost(name) for name, each in found.items()]
        return [log.MoveRef(name=name, old=state.ref(name), new=None) for name in found]

    session.store.log.append(RELEASED, build)
    workspace.after_change()
    return released


class _Known:
    """The holds of a store by their refs; None where one cannot be read, which only its whole id can release."""

    def __init__(self, workspace: Workspace, state: State) -> None:
        self.workspace = workspace
        self.errors: dict[str, DvError] = {}
        found: dict[str, Hold | None] = {}
        for name, value in state.ref_names(holds.PREFIX):
            try:
                found[name] = holds.named(workspace.session.store, name, value)
            except DvError as error:
                found[name], self.errors[name] = None, error
        self.holds = dict(sorted(found.items(), key=lambda each: (each[1].created if each[1] else 0, each[0])))

    def chosen(self, words: Sequence[str], subjects: Sequence[str]) -> Mapping[str, Hold | None]:
        """Return the holds that are meant, the oldest first; raises as :func:`release`."""
        by_id: set[str] = set()
        by_path: set[str] = set()
        named: set[str] = set()
        for word in words:
            own = self._by_id(word)
            pattern, held = self._by_path(word, may_fail=bool(own))
            if own and held:
                raise UsageError(
                    f"{word!r} is the beginning of a hold's id, and a path that is held",
                    next=f"write more of the id, or './{word}' for the path",
                )
            by_id |= own or (set() if held else self._none(word))
            by_path |= held
            named.add(pattern)
        for subject in subjects:
            own = {name for name, each in self.holds.items() if each is not None and each.subject == subject}
            by_id |= own or self._none(f"{holds.OF_SUBJECT}{subject}")
        self._require_whole(by_path - by_id, named)
        return {name: each for name, each in self.holds.items() if name in by_id | by_path}

    def _by_id(self, word: str) -> set[str]:
        """Return the hold whose id a word is, or begins; one that cannot be read goes by its whole id only.

        Raises:
            UsageError: when there are several.
        """
        lowered = word.lower()
        if not _PREFIX.fullmatch(lowered):
            return set()
        found = {name for name in self.holds if name.startswith(holds.PREFIX + lowered)}
        if len(found) > 1:
            listed = tuple(sorted(name.removeprefix(holds.PREFIX) for name in found))
            raise UsageError(f"{word!r} means several holds", items=listed, next="write more of the id")
        for name in found:
            if self.holds[name] is None and name != holds.PREFIX + lowered:
                raise self.errors[name]
        return found

    def _by_path(self, word: str, *, may_fail: bool) -> tuple[str, set[str]]:
        """Return the pattern that a word means, and the holds that are on it, among others perhaps."""
        try:
            pattern = self.workspace.session.relative(word)
        except DvError:
            if may_fail:
                return "", set()
            raise
        return pattern, {name for name, each in self.holds.items() if each is not None and pattern in each.paths}

    def _require_whole(self, names: set[str], named: set[str]) -> None:
        """Refuse to let go of paths that nobody named, with those that were.

        Raises:
            ConflictError: when a hold is on such.
        """
        rest = [
            f"{each.id.hex()}: {path or '.'}"
            for name, each in self.holds.items()
            if name in names and each is not None
            for path in each.paths
            if path not in named
        ]
        if rest:
            raise ConflictError(
                "a hold is on more paths than were named; nothing was released",
                items=tuple(rest),
                next="name all of its paths, or its id",
            )

    def _none(self, word: str) -> set[str]:
        """Refuse what nothing is held by; of a hold that cannot be read nobody knows what it is on.

        Raises:
            NotFoundError: always, unless a hold cannot be read, which is then what is said.
        """
        for error in self.errors.values():
            raise error
        raise NotFoundError(f"there is no hold {word!r}", next="run 'dv hold list' to see the holds")


def _store(workspace: Workspace, made: Sequence[Hold]) -> None:
    """Store holds and name them, by one entry.

    Raises:
        UsageError: when one is larger than the format allows, or says what has no encoding.
    """
    with workspace.session.store.transaction() as transaction:
        moves: list[log.Action] = []
        for each in made:
            try:
                data = hold.encode(each)
            except FormatError as error:
                raise UsageError(error.what, why=error.why, next="name less, or in fewer words") from None
            moves.append(log.MoveRef(name=hold.ref_name(each.id), old=None, new=transaction.put_object(ids.HOLD, data)))
        transaction.commit(ADDED, lambda _state: moves)


def _end(until: dt.datetime | None, now: int) -> int | None:
    """Return when a hold is over, in microseconds since 1970 UTC.

    Raises:
        UsageError: when that has passed, or is on no calendar.
    """
    if until is None:
        return None
    if until.tzinfo is None:
        raise UsageError("a date needs a time zone", next="use a datetime that has one, in UTC perhaps")
    since = until - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    found = since // dt.timedelta(microseconds=1)
    if found <= now:
        raise UsageError(
            "a hold cannot end in the past",
            where=until.isoformat(),
            why="an age, such as 90d, is a time that has passed",
            next="write the day on which it ends, such as 2036-12-31, or leave it out",
        )
    return found


def _pattern(workspace: Workspace, argument: str) -> str:
    """Return the pattern from the root that an argument means.

    Raises:
        UsageError: when nothing under it can be data.
    """
    found = workspace.session.relative(argument)
    if paths.is_own(found):
        raise UsageError(f"{argument!r} is never data", next="name files or directories that are")
    return found


def _require_rules(workspace: Workspace, subjects: Sequence[str]) -> None:
    """Refuse subjects of which nobody could tell what is theirs.

    Raises:
        UsageError: when ``dv.toml`` has no rule, or an id is empty.
    """
    if any(not subject.strip() or "\0" in subject for subject in subjects):
        raise UsageError("an empty id names nobody", next="write the id as it stands in paths or tables")
    if subjects and not projects.read(workspace.session.root).subjects:
        raise UsageError(
            "dv.toml does not say where the data of a subject is",
            next='add a rule: [[subject]] and, below it, paths = "data/{subject}/**"',
        )


def _tell_of_empty(workspace: Workspace, patterns: Sequence[str]) -> None:
    """Say on which paths nothing was ever stored: after a slip of the pen they hold nothing."""
    session = workspace.session
    try:
        left = presence.missing(session.trees, session.state, session.snapshot, session.stage().tree, patterns)
    except DvError:
        return  # the hold is there, and what is damaged is for 'dv fsck' to say
    for pattern in left[:TOLD]:
        session.context.tell(
            f"note: neither the stage nor any snapshot has anything at {paths.shown(pattern)!r}; "
            "what comes there is held"
        )
    if len(left) > TOLD:
        session.context.tell(f"note: nor at {len(left) - TOLD:,} more of the paths")


def _item(found: Hold, now: int) -> HoldItem:
    return HoldItem(
        id=found.id.hex(),
        paths=found.paths,
        subject=found.subject or None,
        ground=found.ground,
        author=found.author,
        created=rfc3339(found.created),
        until=rfc3339(found.until) if found.until is not None else None,
        state=OVER if holds.is_over(found, now) else ACTIVE,
    )


def _lost(name: str) -> HoldItem:
    return HoldItem(
        id=name.removeprefix(holds.PREFIX),
        paths=(),
        subject=None,
        ground="",
        author="",
        created=None,
        until=None,
        state=UNREADABLE,
    )
