"""``dv push``: brings branches, tags and runs to a remote, with everything that they lead to."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids
from dvtool.erasure import following
from dvtool.errors import ConflictError, IntegrityError, KeyAccessError, NotFoundError, UsageError
from dvtool.formats import log, pack, snapshot
from dvtool.history import graph, recorded
from dvtool.history.marking import Marks
from dvtool.sharing import clones, erased, fetching, moving, runs
from dvtool.sharing.erased import FollowedErasure
from dvtool.sharing.fetching import RefChange
from dvtool.sharing.meeting import Meeting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dvtool.formats.snapshot import Snapshot
    from dvtool.sharing.reaching import Remote
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace

ATTEMPTS: Final = 20
"""Times that a push is planned anew because refs of the remote moved, or packs there were collected, meanwhile."""
OPERATION: Final = "push"


class PushResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a push came to: refs that moved at the remote, and how many packs, objects and bytes were sent.

    ``verified`` counts the packs that are there, looked at one by one, of those that the remote's log names.
    ``followed`` are the erasures of others that were carried out here first.
    """

    remote: str
    created: bool
    refs: tuple[RefChange, ...]
    packs: int
    objects: int
    bytes: int
    verified: int
    followed: tuple[FollowedErasure, ...] = ()


class _AgainError(ConflictError):
    """The remote changed in a way for which the plan has to be made anew."""


def push(
    workspace: Workspace,
    remote: Remote,
    names: Sequence[str] = (),
    *,
    delete: bool = False,
    lease: bool = False,
) -> PushResult:
    """Send refs to a remote; they move there all together or not at all.

    Args:
        workspace: the worktree.
        remote: which remote.
        names: branches, tags and runs; without any, the current branch with the tags on its history and the runs that
            belong to it.
        delete: remove these refs from the remote instead.
        lease: move a branch of the remote back or aside as well, if it is still where it was when last fetched.

    Raises:
        NotFoundError: when there is no such branch, tag or run.
        ConflictError: when the remote has something that is not here, a ref there moved, or others have erased
            something and that cannot be followed now.
        IntegrityError: when something that is to be sent is damaged or missing here.
        StorageError: when the remote refuses.
        UsageError: when there is no branch to push, or the environment has the clone register for no number of days.
    """
    clones.wanted_days()
    created = False
    try:
        there = remote.open()
    except (NotFoundError, KeyAccessError):
        if delete or not remote.may_create():
            raise
        there, created = remote.create(), True
    pushing = _Pushing(workspace, remote, there, delete=delete, lease=lease)
    followed: list[FollowedErasure] = []
    for attempt in range(ATTEMPTS):
        followed += following.followed(remote)
        try:
            wanted = pushing.wanted(names)
            there.try_again(functools.partial(pushing.run, wanted))
            break
        except _AgainError:
            if attempt == ATTEMPTS - 1:
                raise
            there.refresh()
    there.maintain()
    pushing.tell_of_runs()
    verified = there.try_again(pushing.verify)
    pushing.track(wanted)
    clones.meet(remote)
    fetching.note(remote)
    return PushResult(
        remote=remote.name,
        created=created,
        refs=tuple(pushing.changes),
        packs=pushing.packs,
        objects=pushing.objects,
        bytes=pushing.size,
        verified=verified,
        followed=tuple(followed),
    )


class _Pushing:
    """One push, planned anew as often as it has to be."""

    def __init__(self, workspace: Workspace, remote: Remote, there: Store, *, delete: bool, lease: bool) -> None:
        self.workspace = workspace
        self.session = workspace.session
        self.here = workspace.session.store
        self.remote = remote
        self.there = there
        self.delete = delete
        self.lease = lease
        self.choice = runs.Choice()
        self.changes: list[RefChange] = []
        self.packs = 0
        self.objects = 0
        self.size = 0

    def wanted(self, names: Sequence[str]) -> dict[str, bytes | None]:
        """Return what refs the remote is to have: by their names there, their values; None for those that are to go.

        Raises:
            NotFoundError: when there is no branch, tag or run of a name, here or, to be removed, there.
            UsageError: when there is no branch to push.
        """
        state = self.session.state
        if self.delete:
            if not names:
                raise UsageError("nothing is named that could be removed", next="dv push REMOTE BRANCH --delete")
            return dict.fromkeys(self._named(name, self.there.state, "at the remote")[0] for name in names)
        if names:
            return dict(self._named(name, state, "here") for name in names)
        head = self.session.head()
        if head.branch is None or head.snapshot is None:
            why = "HEAD is detached" if head.branch is None else "there is no snapshot yet"
            raise UsageError("there is no branch to push", why=why, next="name one: dv push REMOTE BRANCH")
        found: dict[str, bytes | None] = {f"heads/{head.branch}": head.snapshot}
        for name, value in state.ref_names("tags/"):
            if self.there.state.ref(name) is None and state.expiry(value) is None:
                current = state.standing(value)
                if current is not None and graph.is_ancestor(current, head.snapshot, self._snapshot, state.standing):
                    found[name] = value
        known = dict(self.there.state.ref_names(recorded.PREFIX))
        unequal = {name: value for name, value in state.ref_names(recorded.PREFIX) if known.get(name) != value}
        return found | runs.belonging(self.here, head.snapshot, unequal, self._snapshot, self.choice)

    def _named(self, name: str, state: State, place: str) -> tuple[str, bytes]:
        run = name.removeprefix(recorded.PREFIX)
        for ref in (f"heads/{name}", f"tags/{name}", recorded.PREFIX + run):
            value = state.ref(ref)
            if value is not None:
                if ref.startswith(recorded.PREFIX) and not self.delete:
                    recorded.named(self.here, ref, value)  # one that is asked for by name is not left out in silence
                return ref, value
        raise NotFoundError(f"there is no branch, tag or run {name!r} {place}", next="run 'dv branch' and 'dv tag'")

    def run(self, wanted: dict[str, bytes | None]) -> None:
        """Send what the remote lacks, then move its refs by one entry.

        Raises:
            _AgainError: when the remote changed meanwhile.
            ConflictError: when a ref cannot move as wanted, or the remote has data that was erased here.
        """
        if not self.delete:
            erased.refuse_return(self.here, self.there, self.remote.name)
        state = self.there.state
        self._refuse_behind(state)
        moves = [
            log.MoveRef(name=name, old=state.ref(name), new=new)
            for name, new in sorted(wanted.items())
            if state.ref(name) != new and self._may_move(name, state.ref(name), new)
        ]
        if not moves:
            return
        for move in moves:
            self._require_forward(move)
        tips, computed = runs.divided(moves)
        meeting = Meeting(self.here, self.there, tips, here=self.here, runs=computed)
        if meeting.cut:
            first = min(meeting.cut).hex()[:12]
            self.session.context.tell(
                f"note: {self.remote.name} has expired its history before some of this ({first}): it is not sent again"
            )
        with self.there.transaction() as transaction:
            marks, relied = self._needed(meeting, computed)
            shipment = moving.Shipment(marks, self.there)
            self._send(shipment, transaction)
            aside = [name for name in relied if self.there.state.aside(name) is not None]
            transaction.relied.aside.update(aside)
            own = None if self.delete else clones.draft(self.remote)
            if own is not None:
                transaction.put_object(ids.CLONE, own.data)

            def build(current: State) -> list[log.Action]:
                self._refuse_behind(current)
                if any(current.ref(move.name) != move.old for move in moves) or not meeting.holds(current):
                    raise _AgainError("refs of the remote moved meanwhile", next="run it again")
                if any(current.is_doomed(name) for name in relied):
                    raise _AgainError("packs of the remote were collected meanwhile", next="run it again")
                pairs = meeting.pairs()
                registered = own.moves(current) if own is not None else []
                return [*([log.Supersede(pairs=pairs)] if pairs else []), *moves, *registered]

            transaction.commit(OPERATION, build)
            if own is not None:
                clones.note(self.remote, own)
            self.packs += len(transaction.added)
            self.size += sum(transaction.added)
        self.changes = [_change(move) for move in moves]

    def _refuse_behind(self, there: State) -> None:
        """Refuse to go on once the remote has an erasure that was not followed here.

        Raises:
            _AgainError: when it has.
        """
        if erased.lacking(self.here.state, there):
            raise _AgainError("others have erased something meanwhile", next="run it again")

    def _may_move(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Return whether a ref of the remote may move if it is that of a run; of others it is looked at together."""
        if new is None or not name.startswith(recorded.PREFIX):
            return True
        if old is None:
            return self.choice.forward(name, None, (self.here, new))
        near = self.here.has(old)
        return self.choice.forward(name, (self.here if near else self.there, old), (self.here, new))

    def tell_of_runs(self) -> None:
        """Say which runs were not sent."""
        tell, name = self.session.context.tell, self.remote.name
        runs.say(tell, self.choice.behind, f"note: {{}} was written anew at {name}, and not sent: run 'dv fetch'")
        runs.say(tell, self.choice.apart, f"warning: {{}} here and at {name} differ, written equally often; not sent")
        for ref, error in sorted(self.choice.unread.items()):
            tell(f"warning: {runs.title(ref)} was not sent: {error.finding()}")

    def _needed(self, meeting: Meeting, computed: list[bytes]) -> tuple[Marks, set[str]]:
        """Mark here what the remote lacks; return the marks, and the packs of the remote that have the rest."""
        progress = self.session.context.progress
        there = Marks(self.there, progress)
        there.rely_on_sound_packs()
        here = Marks(self.here, progress)
        here.standing = meeting.standing
        here.pass_over(sorted(meeting.border))
        here.only = meeting.fresh.keys()
        here.elsewhere = there.hold
        here.lacking = self._refuse_lacking
        here.follow([*sorted(meeting.fresh), *computed])
        return here, {use.file for use in there.packs() if use.live}

    def _refuse_lacking(self, chunks: set[bytes]) -> None:
        if chunks:
            raise IntegrityError(
                f"{len(chunks):,} chunks of data are neither here nor at the remote",
                where=min(chunks).hex()[:16],
                next="bring them here first with 'dv get', or run 'dv fsck' to see what is damaged",
            )

    def _send(self, shipment: moving.Shipment, transaction: Transaction) -> None:
        meter = moving.Meter(self.session.context.progress, "sending", files=shipment.files, size=shipment.size)
        try:
            moving.send(self.here, self.there, shipment, transaction, meter)
        finally:
            meter.finish()
        self.objects += shipment.objects

    def _require_forward(self, move: log.MoveRef) -> None:
        """Refuse to move a ref of the remote otherwise than forward.

        Raises:
            ConflictError: when it would.
        """
        if move.old is None or move.name.startswith(recorded.PREFIX):
            return
        what = move.name.partition("/")[2]
        if self.lease:
            known = self.session.state.ref(self.remote.prefix + what)
            if move.name.startswith("heads/") and known != move.old:
                raise ConflictError(
                    f"{what!r} of the remote moved since it was last fetched",
                    where=self.remote.name,
                    next="run 'dv fetch' and look at what came",
                )
            return
        if move.new is None:
            return
        if move.name.startswith("tags/"):
            raise ConflictError(
                f"tag {what!r} is another at the remote",
                where=self.remote.name,
                next="choose another name, or replace it with --force-with-lease",
            )
        standing = self.here.state.standing
        if not self.here.has(move.old) or not graph.is_ancestor(move.old, move.new, self._snapshot, standing):
            raise ConflictError(
                f"{what!r} of the remote has snapshots that are not in what you push",
                where=self.remote.name,
                why="somebody pushed meanwhile, or history was rewritten here",
                next=f"run 'dv pull', or 'dv fetch' and 'dv merge {self.remote.name}/{what}'; then push again",
            )

    def verify(self) -> int:
        """Check that every pack which the remote's log names is there, whole; return how many there are.

        Raises:
            IntegrityError: when one is missing or has another size.
        """
        sizes = {each.name: each.size for each in self.there.backend.listed("packs")}
        state = self.there.state
        count = 0
        for segment in self.there.segments.live():
            for entry in segment.index.directory.packs:
                name = pack.file_name(entry.name)
                if state.is_doomed(name):
                    continue
                count += 1
                if sizes.get(entry.name.hex()) != entry.size:
                    raise IntegrityError(
                        "a pack that the remote should have is missing there, or cut short",
                        where=name,
                        next=f"run 'dv fsck --remote {self.remote.name} --repair', which sends a good copy again",
                    )
        return count

    def track(self, wanted: dict[str, bytes | None]) -> None:
        """Note here where the remote's branches are now."""
        moved = {
            self.remote.prefix + name.removeprefix("heads/"): new
            for name, new in wanted.items()
            if name.startswith("heads/")
        }

        def build(state: State) -> list[log.Action]:
            return [
                log.MoveRef(name=name, old=state.ref(name), new=new)
                for name, new in sorted(moved.items())
                if state.ref(name) != new
            ]

        if build(self.here.refresh()):
            self.here.log.append(OPERATION, build)
            self.here.refresh()

    def _snapshot(self, identity: bytes) -> Snapshot:
        return snapshot.decode(self.here.read_object(ids.SNAPSHOT, identity))


def _change(move: log.MoveRef) -> RefChange:
    top, _, rest = move.name.partition("/")
    return RefChange(
        name={"heads": "", "tags": "tag ", "runs": "run "}[top] + rest,
        before=move.old.hex() if move.old is not None else None,
        after=move.new.hex() if move.new is not None else None,
    )
