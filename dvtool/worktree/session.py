"""One command's view of a worktree: its store, HEAD, stage and index, opened as far as they are needed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.effects import Clock, Entropy, Progress, Silence, SystemClock, SystemEntropy
from dvtool.errors import MEND, ConflictError, DvError, ErasedError, IntegrityError, NotFoundError, StorageError
from dvtool.formats import codec, log, sealed, snapshot, stage
from dvtool.formats.repokey import Unlock
from dvtool.formats.tree import DIRECTORY
from dvtool.storage.disk import Disk
from dvtool.store import store as stores
from dvtool.store.editing import Editor, Scratch
from dvtool.store.treediff import diff_trees
from dvtool.store.trees import Trees
from dvtool.worktree import ignore as ignoring
from dvtool.worktree import index as indexes
from dvtool.worktree import layout, locking
from dvtool.worktree.unlocking import ENVIRONMENT

if TYPE_CHECKING:
    from dvtool.formats.tree import Entry
    from dvtool.store.state import State
    from dvtool.store.store import Store
    from dvtool.store.trees import Damage
    from dvtool.worktree.layout import Layout, WorktreeFile
    from dvtool.worktree.materialise import Frames

DEFAULT_BRANCH: Final = "main"
WAIT_SECONDS: Final = 30.0


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a command is handed: where to report, how long to wait, which clock, randomness and disk to use.

    ``unlock`` says where a passphrase and identities come from, where a store's key is sealed.
    """

    progress: Progress = Silence()
    tell: Callable[[str], None] = lambda _text: None
    wait: float = WAIT_SECONDS
    clock: Clock = SystemClock()
    entropy: Entropy = SystemEntropy()
    disk: Disk = Disk()
    cwd: str = ""
    unlock: Unlock = ENVIRONMENT


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Where the worktree stands: branch (None: detached), snapshot (None before the first), the ref's value."""

    branch: str | None
    snapshot: bytes | None
    value: bytes | None


class StageView(msgspec.Struct, frozen=True, kw_only=True):
    """What the next commit would record; ``value`` is the stage's ref, None when it equals HEAD.

    ``tree`` is None before anything was ever added.
    """

    tree: bytes | None
    roots: tuple[str, ...]
    merging: tuple[bytes, ...]
    value: bytes | None


class _Remembered(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """``.dv/cache/head``: how far the log was seen, and what a stage or snapshot said, to save reading them again."""

    checkpoint: int
    number: int
    head: bytes
    of: bytes
    tree: bytes
    roots: tuple[str, ...]
    merging: tuple[bytes, ...]
    lock: str


class Session:
    """One worktree, opened."""

    def __init__(self, place: Layout, context: Context) -> None:
        """Open the worktree at ``place``.

        Raises:
            NotFoundError, FormatError, KeyAccessError, IntegrityError: when its store does not open.
        """
        self.layout = place
        self.context = context
        self.worktree: WorktreeFile = place.read_worktree()
        self.store: Store = stores.open_local(
            place.store(), clock=context.clock, entropy=context.entropy, disk=context.disk, unlock=context.unlock
        )
        self.store.log.origin = self.worktree.id
        self.trees = Trees(self.store)
        self._remembered = self._recall()
        self.lock_written = self._remembered.lock if self._remembered is not None else ""
        if self._remembered is not None:
            self.store.log.hint(self._remembered.checkpoint)
        self._index: indexes.WorktreeIndex | None = None
        self._ignore: ignoring.Ignore | None = None
        self._check_not_rolled_back()
        self.frames: Callable[[], Frames] = self.store.frames
        """Returns a reader of chunks, which in a lazy clone reads those that are not here at the remote."""
        self.bring: Callable[[Iterable[Entry]], None] = lambda _entries: None
        """Brings the content of files that is about to be read, where the store is a lazy clone's."""
        self.held_by_git: Callable[[Iterable[str]], set[str]] = lambda _files: set()

    @classmethod
    def open(cls, path: str, context: Context) -> Session:
        """Open the repository that holds ``path``; raises as the constructor."""
        return cls(layout.find(path), context)

    @property
    def root(self) -> str:
        """The worktree's root directory."""
        return self.layout.root

    @property
    def state(self) -> State:
        """The store's state as last folded."""
        return self.store.state

    @property
    def head_ref(self) -> str:
        """The name of this worktree's HEAD."""
        return f"worktrees/{self.worktree.id}"

    @property
    def stage_ref(self) -> str:
        """The name of this worktree's stage."""
        return f"stage/{self.worktree.id}"

    @property
    def ignore(self) -> ignoring.Ignore:
        """The rules of ``.dvignore``."""
        if self._ignore is None:
            self._ignore = ignoring.load(self.root)
        return self._ignore

    @property
    def lazy(self) -> str | None:
        """The remote that has the data which the store lacks, because it was cloned without; None for any other."""
        try:
            with open(self.lazy_note, "rb") as file:
                return file.read(1024).decode().strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    @property
    def lazy_note(self) -> str:
        """The file beside the store that names this remote."""
        return f"{os.path.dirname(self.layout.store())}/lazy"

    def lock(self) -> locking.WorktreeLock:
        """Return the worktree's lock, to be held by commands that change it."""
        return locking.WorktreeLock(self.layout.lock, wait=self.context.wait, tell=self.context.tell)

    def relative(self, argument: str) -> str:
        """Return the repository path that a command-line argument means.

        Raises:
            UsageError: when it is outside the repository.
            ConflictError: when it leads through a link that took the place of a tracked directory.
        """
        self._refuse_replaced(argument)
        return paths.from_argument(argument, root=self.root, cwd=self.context.cwd or os.getcwd())

    def _refuse_replaced(self, argument: str) -> None:
        """Refuse a path that names what is tracked, but leads elsewhere since a directory on the way became a link."""
        literal = os.path.normpath(os.path.join(self.context.cwd or os.getcwd(), argument))
        if not literal.startswith(self.root + "/"):
            return
        for above in reversed(paths.parents(literal[len(self.root) + 1 :])[:-1]):
            if not os.path.islink(f"{self.root}/{above}"):
                continue
            tree = self.stage().tree
            entry = self.trees.resolve(tree, above) if tree is not None else None
            if entry is not None and entry.kind == DIRECTORY:
                raise ConflictError(
                    "a link stands where a tracked directory was, so what was below it cannot be reached",
                    where=paths.shown(above),
                    why=f"{paths.shown(argument)!r} leads to {paths.shown(os.path.realpath(literal))}",
                    next=f"bring the directory back with 'dv restore --force {paths.shown(above)}', "
                    "or name what the link points to",
                )
            return

    def head(self) -> Head:
        """Return where the worktree stands."""
        value = self.state.ref(self.head_ref)
        name = log.symbolic(value)
        if name is None:
            return Head(branch=None, snapshot=value, value=value)
        return Head(branch=name.removeprefix("heads/"), snapshot=self.state.ref(name), value=value)

    def snapshot(self, identity: bytes) -> snapshot.Snapshot:
        """Return a snapshot.

        Raises:
            IntegrityError: when it is missing or damaged.
        """
        return snapshot.decode(self.store.read_object(ids.SNAPSHOT, identity))

    def stage(self) -> StageView:
        """Return what is staged."""
        value = self.state.ref(self.stage_ref)
        of = value or self.head().snapshot
        if of is None:
            return StageView(tree=None, roots=(), merging=(), value=None)
        known = self._remembered
        if known is not None and known.of == of:
            return StageView(tree=known.tree, roots=known.roots, merging=known.merging, value=value)
        if value is not None:
            staged = stage.decode(self.store.read_object(ids.STAGE, value))
            return StageView(tree=staged.tree, roots=staged.roots, merging=staged.merging, value=value)
        recorded = self.snapshot(of)
        return StageView(tree=recorded.root, roots=recorded.roots, merging=(), value=None)

    def head_tree(self) -> bytes | None:
        """Return the root tree of HEAD's snapshot, or None before the first."""
        of = self.head().snapshot
        if of is None:
            return None
        known = self._remembered
        if known is not None and known.of == of:
            return known.tree
        return self.snapshot(of).root

    def index(self) -> indexes.WorktreeIndex:
        """Return the index, brought up to the stage's tree."""
        if self._index is None:
            self._index = indexes.load(self.layout.index)
        view = self.stage()
        if self._index.tree != view.tree and view.tree is not None:
            before = self._index.tree
            damaged: Damage = []
            try:
                diff = diff_trees(self.trees, self.trees, before, view.tree, lost_after=damaged)
            except IntegrityError:
                # The tree that was mirrored may have been collected since; the one staged must be there.
                self._index = indexes.WorktreeIndex()
                damaged = []
                diff = diff_trees(self.trees, self.trees, None, view.tree, lost_after=damaged)
            self._index.follow(diff, view.tree)
            self._index.damaged = damaged
            for path, reason in damaged:
                self.context.tell(f"warning: directory {paths.shown(path)!r} cannot be read in the store: {reason}")
        elif view.tree is None and self._index.tree is not None:
            self._index = indexes.WorktreeIndex()
        return self._index

    @property
    def opened_index(self) -> indexes.WorktreeIndex | None:
        """The index as it was last brought up to date, without bringing it up to date now."""
        return self._index

    def scratch(self) -> Scratch:
        """Return an object store in memory over the store, for trees that are not kept."""
        return Scratch(self.store, self.store.hasher)

    def editor(self, objects: Scratch) -> Editor:
        """Return an editor of trees that writes to ``objects``."""
        return Editor(objects, self.store.secrets.split)

    def left_out(self) -> Callable[[str], bool] | None:
        """Return a function that says whether a path is not materialised, or None when all are."""
        if not self.worktree.is_sparse:
            return None
        only, dropped = set(self.worktree.only), set(self.worktree.dropped)
        leading = {parent for top in only for parent in paths.parents(top)}

        def check(path: str) -> bool:
            if paths.under(path, dropped):
                return True
            return bool(only) and path not in leading and not paths.under(path, only)

        return check

    def set_sparse(self, *, only: tuple[str, ...], dropped: tuple[str, ...]) -> None:
        """Record which paths are materialised, durably."""
        value = msgspec.structs.replace(
            self.worktree, only=tuple(sorted(set(only))), dropped=tuple(sorted(set(dropped)))
        )
        if value != self.worktree:
            self.layout.write_worktree(value, self.context.disk)
            self.worktree = value

    def save(self) -> None:
        """Write what was learnt about the worktree: the index if it changed, and how far the log was seen.

        Both are caches; a disk that refuses them is reported by the next command that needs to write.
        """
        try:
            index = self._index
            # One that lacks what is damaged would hide it from the next command.
            if index is not None and index.changed and index.tree is not None and not index.damaged:
                indexes.save(index, self.layout.index, self.context.disk)
            self.remember()
        except StorageError:
            return

    def remember(self) -> None:
        """Write how far the log was seen."""
        state = self.store.refresh()
        view = self.stage()
        of = view.value or self.head().snapshot
        value = _Remembered(
            checkpoint=state.checkpoint,
            number=state.number,
            head=state.head,
            of=of or b"",
            tree=view.tree or b"",
            roots=view.roots,
            merging=view.merging,
            lock=self.lock_written,
        )
        if value == self._remembered:
            return
        blob = sealed.seal(
            sealed.CACHE,
            self.store.secrets.cache,
            bytes(sealed.LABEL_SIZE),
            self.context.entropy.bytes(sealed.SALT_SIZE),
            cache_context(self.store.format.store, self.worktree.id),
            codec.encode(value),
        )
        if not os.path.isdir(self.layout.cache):
            self.context.disk.make_directory(self.layout.cache)
        layout.write_file(f"{self.layout.cache}/head", blob, self.context.disk, durable=False)
        self._remembered = value

    def _recall(self) -> _Remembered | None:
        try:
            with open(f"{self.layout.cache}/head", "rb") as file:
                blob = file.read()
            context = cache_context(self.store.format.store, self.worktree.id)
            payload = sealed.open_blob(sealed.CACHE, self.store.secrets.cache, context, blob, what="cache")
            return codec.decode(_Remembered, payload, what="cache")
        except (OSError, DvError):
            return None

    def _check_not_rolled_back(self) -> None:
        known = self._remembered
        state = self.store.refresh()
        if state.ref(self.head_ref) is None:
            raise IntegrityError(
                "the store does not know this worktree",
                where=self.layout.worktree,
                why="its log is incomplete, or the worktree was removed from another one",
                next=f"{MEND}; or make a new worktree with 'dv worktree add'",
            )
        if known is not None and (
            state.number < known.number
            or (state.number == known.number and state.head != known.head)
            or (state.number > known.number and self.store.log.is_forked(known.number, known.head))
        ):
            raise IntegrityError(
                "the store was rolled back, or replaced by another course of events",
                where=f"{self.layout.store()}/log",
                why=f"entry {known.number} of its log was seen here and is gone, or is another now",
                next=f"{MEND}; if going back was meant, remove .dv/cache/head",
            )

    def resolve_superseded(self, identity: bytes) -> bytes | None:
        """Return the snapshot that stands for ``identity`` now; see :meth:`~dvtool.store.state.State.standing`."""
        return self.state.standing(identity)

    def require_unlocked_refs(self) -> None:
        """Refuse early what an erasure under way would refuse late.

        Raises:
            ConflictError: when one is.
        """
        if self.state.lock:
            raise ConflictError(
                "an erasure is under way in this store",
                next="wait for it; if it was stopped, run 'dv erasure resume'",
            )


def cache_context(store: bytes, identity: str) -> bytes:
    """Return what binds ``.dv/cache/head`` to its store (by its id), its name and its worktree."""
    return store + b"head" + identity.encode()


def erased(path: str) -> ErasedError:
    """Return the error for content that was erased."""
    return ErasedError("this content was erased", where=path, why="it was removed from every version on request")


def missing_path(path: str, where: str) -> NotFoundError:
    """Return the error for a path that a revision does not have."""
    return NotFoundError(f"{path!r} is not in {where}", next="run 'dv ls' to see what is")
