"""The whole of the everyday commands against dictionaries, with reopening, lost caches and checkpoints in between.

The model keeps three trees (worktree, stage, HEAD) as ``{path: (content, executable)}``, the branches, and the set of
contents that were ever stored; a command may refuse only where the model says that something would be lost.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dvtool.errors import ChecksFailedError, ConflictError, DvError, ErasedError, ExistsError, NotFoundError
from dvtool.operations import gc
from dvtool.repo import Repo
from dvtool.store import checkpoints
from dvtool.testing.audit import audit
from dvtool.testing.faults import Fault, FaultyDisk
from dvtool.worktree.session import Context

PATHS = ["data/a", "data/b", "data/c", "data/d/a", "data/d/b", "data/d/e/a", "data/ä ö"]
KEEP = "data/keep"
CONTENTS = {
    "empty": b"",
    "x": b"x",
    "y": b"y",
    "lines": b"three\n" * 40,
    "long": bytes(range(256)) * 300,
    "longer": bytes(range(255)) * 900,
}
LINK = "link"
Tree = dict[str, tuple[bytes, bool | str]]

paths = st.sampled_from(PATHS)
contents = st.sampled_from(sorted(CONTENTS))
modes = st.sampled_from([False, True, LINK])
branches = st.sampled_from(["main", "left", "right"])
anything = st.sampled_from([*PATHS, "data", "data/d", "data/d/e"])


def below(path, top):
    return path == top or path.startswith(top + "/")


def only(tree, top):
    return {path: value for path, value in tree.items() if below(path, top)}


def differing(one, other):
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


class Machine(RuleBasedStateMachine):
    """A repository and what it should hold."""

    @initialize()
    def start(self):
        self.root = tempfile.mkdtemp(prefix="dv-stateful-")
        os.environ["DV_AUTHOR"] = "Test Author <test@example.org>"
        self.work: Tree = {}
        self.put(KEEP, (b"keep", False))
        self.repo = Repo.init(self.root)
        self.repo.add(["data"])
        self.stage = dict(self.work)
        self.stored = {b"keep"}
        first = self.repo.commit("start").snapshot
        self.trees = {first: dict(self.work)}
        self.parents: dict[str, tuple[str, ...]] = {first: ()}
        self.gone: set[str] = set()
        self.tips = {"main": first}
        self.branch = "main"
        self.marks = 0
        self.states: dict[int, tuple[dict[str, str], str, Tree]] = {}

    def teardown(self):
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    # ---------------------------------------------------------------------------------- the worktree

    def put(self, path, value):
        place = Path(self.root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        data, mode = value
        if mode is LINK:
            place.symlink_to(os.fsdecode(data))
        else:
            place.write_bytes(data)
            place.chmod(0o755 if mode else 0o644)
        self.work[path] = value

    def seen(self):
        found: Tree = {}
        for place in Path(self.root, "data").rglob("*"):
            path = str(place.relative_to(self.root))
            if place.is_symlink():
                found[path] = (os.fsencode(os.readlink(place)), LINK)
            elif place.is_file():
                found[path] = (place.read_bytes(), bool(place.stat().st_mode & 0o100))
        return found

    @property
    def head(self):
        return self.trees[self.tips[self.branch]]

    @rule(path=paths, content=contents, mode=modes)
    def write(self, path, content, mode):
        data = CONTENTS[content]
        self.put(path, (data, mode) if mode is not LINK else ((data[:9] or b"nowhere").replace(b"\0", b"0"), LINK))

    @rule(path=paths, content=contents)
    def overwrite_in_place(self, path, content):
        data = CONTENTS[content]
        if path in self.work and self.work[path][1] is not LINK:
            Path(self.root, path).write_bytes(data)
            self.work[path] = (data, self.work[path][1])

    @rule(path=paths)
    def delete(self, path):
        if self.work.pop(path, None) is not None:
            Path(self.root, path).unlink()

    # ---------------------------------------------------------------------------------- recording

    @rule(top=anything)
    def add(self, top):
        here = os.path.lexists(f"{self.root}/{top}")
        try:
            self.repo.add([top])
        except NotFoundError:
            assert not here
            assert not only(self.stage, top)
            return
        self.take(top)

    def take(self, top):
        for path in only(self.stage, top):
            del self.stage[path]
        self.stage.update(only(self.work, top))
        self.stored |= {data for data, _mode in only(self.work, top).values()}

    @rule(everything=st.booleans())
    def commit(self, everything):
        try:
            snapshot = self.repo.commit("message", everything=everything).snapshot
        except ChecksFailedError:
            assert (self.work if everything else self.stage) == self.head
            return
        if everything:
            self.take("data")
        self.trees[snapshot] = dict(self.stage)
        self.parents[snapshot] = (self.tips[self.branch],)
        self.tips[self.branch] = snapshot

    # ---------------------------------------------------------------------------------- bringing together

    def history(self, snapshot):
        """A snapshot and everything before it, up to what was expired."""
        found, pending = set(), [snapshot]
        while pending:
            current = pending.pop()
            if current not in found:
                found.add(current)
                pending += [each for each in self.parents[current] if each not in self.gone]
        return found

    def merged(self, ours, theirs, prefer):
        """(what merging two snapshots comes to, the paths that both sides changed)."""
        common = self.history(ours) & self.history(theirs)
        bases = [
            self.trees[each]
            for each in common
            if not any(each in self.history(other) for other in common if other != each)
        ]
        mine, other = self.trees[ours], self.trees[theirs]
        result, conflicts = dict(mine), set()
        for path in differing(mine, other):
            before = {base.get(path) for base in bases} or {None}
            if before == {mine.get(path)}:
                takes = True
            elif before == {other.get(path)}:
                takes = False
            else:
                conflicts.add(path)
                takes = prefer == "theirs"
            if takes:
                result.pop(path, None)
                result |= {path: other[path]} if path in other else {}
        return result, conflicts

    @rule(name=branches, prefer=st.sampled_from([None, "ours", "theirs"]))
    def merge(self, name, prefer):
        if name not in self.tips:
            with pytest.raises(NotFoundError):
                self.repo.merge(name, prefer=prefer)
            return
        ours, theirs = self.tips[self.branch], self.tips[name]
        expected, conflicts = self.merged(ours, theirs, prefer)
        changed = differing(self.head, expected)
        try:
            found = self.repo.merge(name, prefer=prefer)
        except ConflictError:
            in_the_way = any(self.work.get(path) != self.head.get(path) for path in changed)
            assert in_the_way or (conflicts and prefer is None) or not self.repo.status().staged.is_empty
            return
        assert not conflicts or prefer is not None
        if found.result == "up-to-date":
            assert theirs in self.history(ours)
            return
        if found.result == "fast-forward":
            assert found.snapshot == theirs
            expected = self.trees[theirs]
        else:
            self.trees[found.snapshot] = expected
            self.parents[found.snapshot] = (ours, theirs)
        assert self.stage == self.head
        self.stage = dict(expected)
        self.tips[self.branch] = found.snapshot
        for path in changed:
            lost = self.work.pop(path, None)
            assert lost in {None, self.trees[ours].get(path), expected.get(path)}
            self.work |= {path: expected[path]} if path in expected else {}

    @rule(redo=st.booleans())
    def undo(self, redo):
        try:
            number = self.repo.undo(redo=redo).undone.number
        except NotFoundError:
            return
        except ErasedError:
            assert self.gone
            return
        earlier = [each for each in self.states if each < number]
        if not earlier:  # what came before the model began
            assert not redo
            self.repo.undo(redo=True)
            return
        # Whatever came after that operation was taken back before it, so all is as it was right before it.
        tips, self.branch, stage = self.states[max(earlier)]
        self.tips, self.stage = dict(tips), dict(stage)

    # ---------------------------------------------------------------------------------- moving about

    @rule(name=branches)
    def make_branch(self, name):
        try:
            self.repo.create_branch(name)
        except ExistsError:
            assert name in self.tips
            return
        assert name not in self.tips
        self.tips[name] = self.tips[self.branch]

    @rule(name=branches, force=st.booleans())
    def delete_branch(self, name, force):
        try:
            self.repo.delete_branch(name, force=force)
        except NotFoundError:
            assert name not in self.tips
            return
        except ConflictError:
            assert name == self.branch or not force
            return
        del self.tips[name]

    @rule(name=branches, force=st.booleans())
    def checkout(self, name, force):
        if name not in self.tips:
            with pytest.raises(NotFoundError):
                self.repo.checkout(name)
            return
        before, target = self.head, self.trees[self.tips[name]]
        switched = differing(before, target)
        try:
            self.repo.checkout(name, force=force)
        except ConflictError:
            assert not force
            assert any(self.work.get(path) != before.get(path) for path in switched) or any(
                self.stage.get(path) != before.get(path) for path in switched
            )
            return
        self.branch = name
        if force:
            tracked = self.stage.keys() | target.keys()
            self.work = {path: value for path, value in self.work.items() if path not in tracked} | target
            self.stage = dict(target)
            return
        # Out of the stage already, and not wanted there either: the file is nobody's but the user's.
        switched -= {path for path in switched if path not in self.stage and path not in target}
        for tree in (self.work, self.stage):
            for path in switched:
                lost = tree.pop(path, None)
                assert lost in {None, before.get(path), target.get(path)}
                if path in target:
                    tree[path] = target[path]

    # ---------------------------------------------------------------------------------- bringing back

    def unstored(self, touched):
        """The paths among ``touched`` whose content is nowhere but in the worktree."""
        found = {path: self.work[path][0] for path in touched if path in self.work}
        return {path for path, data in found.items() if data and data not in self.stored}

    @rule(top=anything, force=st.booleans())
    def restore(self, top, force):
        wanted = only(self.stage, top)
        touched = {path for path, value in wanted.items() if self.work.get(path) != value}
        lost = self.unstored(touched)
        try:
            self.repo.restore([top], force=force)
        except NotFoundError:
            assert not wanted
            return
        except ConflictError:
            assert lost
            assert not force
            return
        assert force or not lost
        self.work.update(wanted)

    @rule(top=anything)
    def unstage(self, top):
        try:
            self.repo.restore([top], staged=True)
        except NotFoundError:
            assert not only(self.stage, top)
            assert not only(self.head, top)
            return
        for path in only(self.stage, top):
            del self.stage[path]
        self.stage.update(only(self.head, top))

    @rule(top=st.sampled_from([*PATHS, "data/d"]), cached=st.booleans(), force=st.booleans())
    def remove(self, top, cached, force):
        wanted = only(self.stage, top)
        lost = self.unstored(path for path, value in wanted.items() if self.work.get(path) != value)
        try:
            self.repo.remove([top], cached=cached, force=force)
        except NotFoundError:
            assert not wanted
            return
        except ConflictError:
            assert lost
            assert not cached
            assert not force
            return
        assert cached or force or not lost
        for path in wanted:
            del self.stage[path]
            if not cached:
                self.work.pop(path, None)

    @rule(source=paths, goal=paths)
    def move(self, source, goal):
        try:
            self.repo.move(source, goal)
        except (NotFoundError, ExistsError):
            assert (
                source not in self.stage
                or source not in self.work
                or goal in self.work
                or not Path(self.root, goal).parent.is_dir()
            )
            return
        self.work[goal] = self.work.pop(source)
        self.stage[goal] = self.stage.pop(source)

    # ---------------------------------------------------------------------------------- there and back again

    @rule(top=anything)
    def drop_and_get(self, top):
        tracked = only(self.stage, top)
        try:
            self.repo.drop([top])
        except NotFoundError:
            assert not tracked
            return
        except ConflictError:
            assert any(self.work.get(path) != value for path, value in tracked.items()) or tracked != only(
                self.work, top
            )
            return
        assert not tracked.keys() & self.seen().keys()
        assert not tracked.keys() & set(self.repo.status().unstaged.removed)
        self.repo.get([top])
        self.work.update(tracked)

    @rule(name=branches)
    def another_worktree(self, name):
        place = f"{self.root}-other"
        if name not in self.tips:
            with pytest.raises(NotFoundError):
                self.repo.add_worktree(place, name)
            return
        self.repo.add_worktree(place, self.tips[name])
        other = Repo.open(place)
        assert other.status().clean
        assert {path.path: path.size for path in other.ls("HEAD", recursive=True) if path.kind != "dir"} == {
            path: len(data) for path, (data, _mode) in self.trees[self.tips[name]].items()
        }
        self.repo.remove_worktree(place)
        assert not os.path.lexists(f"{place}/data")
        shutil.rmtree(place, ignore_errors=True)

    @rule(name=branches)
    def tag(self, name):
        if name in self.tips:
            self.marks += 1  # undo may bring an earlier one back
            mark = f"mark-{self.marks}"
            self.repo.create_tag(mark, name)
            assert (mark, self.tips[name]) in [(item.name, item.snapshot) for item in self.repo.tags()]
            self.repo.delete_tag(mark)

    # ---------------------------------------------------------------------------------- mishaps and upkeep

    @rule(
        act=st.sampled_from(["add", "commit", "checkout", "restore", "unstage", "collect"]),
        call=st.integers(0, 60),
        top=anything,
        name=branches,
    )
    def stopped(self, act, call, top, name):
        """A command whose disk refuses everything from some call on; then again, on a disk that works."""
        doomed = Repo.open(self.root, Context(disk=FaultyDisk(Fault.READ_ONLY, call)))
        acts = {
            "add": lambda: doomed.add([top]),
            "commit": lambda: doomed.commit("message", everything=True),
            "checkout": lambda: doomed.checkout(name),
            "restore": lambda: doomed.restore([top]),
            "unstage": lambda: doomed.restore([top], staged=True),
            "collect": lambda: doomed.gc(grace=0),
        }
        with contextlib.suppress(DvError):
            acts[act]()
        self.repo = Repo.open(self.root)
        tip = next(item.snapshot for item in self.repo.branches() if item.name == self.branch)
        head = self.repo.status().branch
        if tip != self.tips[self.branch]:
            assert act == "commit"
            self.take("data")
            self.trees[tip] = dict(self.stage)
            self.parents[tip] = (self.tips[self.branch],)
            self.tips[self.branch] = tip
        again = {
            "add": lambda: self.add(top),
            "commit": lambda: self.commit(everything=True),
            "checkout": lambda: self.finish_checkout(name, head),
            "restore": lambda: self.restore(top, force=False),
            "unstage": lambda: self.unstage(top),
            "collect": lambda: self.collect(0),
        }
        again[act]()

    def finish_checkout(self, name, head):
        """Go on with a switch of branches that was stopped: HEAD has moved, or files have, or nothing has."""
        if head == self.branch:
            self.checkout(name, force=False)
            return
        before, target = self.head, self.trees[self.tips[name]]
        self.repo.checkout(name)
        self.branch = name
        for tree in (self.work, self.stage):
            for path in differing(before, target):
                tree.pop(path, None)
                if path in target:
                    tree[path] = target[path]

    @rule()
    def reopen(self):
        self.repo = Repo.open(self.root)

    @rule(name=st.sampled_from(["index", "cache/head"]))
    def lose_a_cache(self, name):
        Path(self.root, ".dv", name).unlink(missing_ok=True)
        self.repo = Repo.open(self.root)

    @rule()
    def checkpoint(self):
        checkpoints.write(self.repo.workspace.session.store)

    @rule()
    def prune(self):
        Repo.prune_cache(self.root)

    @rule(grace=st.sampled_from([0, gc.GRACE]))
    def collect(self, grace):
        # What refs have had stays for as long as it can be brought back, so nothing that the model knows of may go.
        self.repo.gc(grace=grace)

    @rule(keep=st.integers(1, 4))
    def expire(self, keep):
        led_to = {tip: self.history(tip) for tip in self.tips.values()}
        gone = set(self.repo.expire(keep_last=keep).snapshots)
        assert not gone & (self.gone | led_to.keys())
        self.gone |= gone
        for tip, before in led_to.items():
            kept = self.history(tip)
            assert len(kept) >= min(keep, len(before))
            assert {item.snapshot for item in self.repo.log(tip)} == kept

    # ---------------------------------------------------------------------------------- what must hold

    @invariant()
    def every_operation_leaves_a_state(self):
        if hasattr(self, "root"):
            number = self.repo.oplog(limit=1)[0].number
            self.states[number] = (dict(self.tips), self.branch, dict(self.stage))

    @invariant()
    def the_worktree_is_as_it_should_be(self):
        if hasattr(self, "root"):
            assert self.seen() == self.work

    @rule()
    def status(self):
        found = self.repo.status()
        for told, before, after in ((found.staged, self.head, self.stage), (found.unstaged, self.stage, self.work)):
            assert set(told.added) == after.keys() - before.keys()
            assert set(told.removed) == before.keys() - after.keys()
            assert set(told.modified) == {path for path in differing(before, after) if path in before and path in after}
        assert found.branch == self.branch
        assert found.snapshot == self.tips[self.branch]
        assert found.unstorable == ()

    @rule(one=branches, other=branches)
    def diff(self, one, other):
        def told(found):
            renamed = {path for item in found.renamed for path in (item.before, item.after)}
            return {item.path for item in (*found.added, *found.removed, *found.modified)} | renamed

        assert told(self.repo.diff()) == differing(self.head, self.work)
        assert told(self.repo.diff(staged=True)) == differing(self.head, self.stage)
        if one in self.tips and other in self.tips:
            expected = differing(self.trees[self.tips[one]], self.trees[self.tips[other]])
            assert told(self.repo.diff(one, other)) == expected

    @precondition(lambda self: hasattr(self, "root"))
    @rule()
    def everything_is_stored(self):
        found = audit(Repo.open(self.root).workspace.session.store)
        assert {name: value.hex() for name, value in found.refs.items() if name.startswith("heads/")} == {
            f"heads/{name}": snapshot for name, snapshot in self.tips.items()
        }
        for name, snapshot in self.tips.items():
            held = found.snapshots[bytes.fromhex(snapshot)]
            expected = {path: data for path, (data, _mode) in self.trees[self.tips[name]].items()}
            assert {path: data for path, data in held.items() if not path.endswith("/")} == expected


Machine.TestCase.settings = settings(settings.get_profile("default"), max_examples=25, stateful_step_count=40)
TestEverydayCommands = Machine.TestCase


class LongMachine(Machine):
    """The same, for longer."""


LongMachine.TestCase.settings = settings(settings.get_profile("default"), max_examples=600, stateful_step_count=80)
TestEverydayCommandsForLong = pytest.mark.deep(LongMachine.TestCase)
