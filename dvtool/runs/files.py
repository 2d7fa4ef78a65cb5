"""The tree of a run: what it read, what it made, and what is recorded of it beside."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, Final

from dvtool import digest, ids, paths, urls
from dvtool.errors import DvError
from dvtool.formats import run, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.git import beside
from dvtool.runs import catalogue
from dvtool.store.editing import Editor
from dvtool.store.trees import Trees
from dvtool.worktree import ingest, projects

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats import journal
    from dvtool.runs.reading import Opened
    from dvtool.store.editing import Changes
    from dvtool.store.transaction import Transaction
    from dvtool.workspace import Workspace

FULL: Final = 2 * ids.ID_SIZE
SLACK: Final = 20_000
"""Microseconds by which the clock of a file system may be behind that of the machine."""
WHOLE_LIMIT: Final = 1 << 30
"""Bytes of a file outside of the repository of which a keyed hash is made."""
NAMED: Final = 1000
"""Files that are in no snapshot, and of which it is recorded that they were read."""
CODE: Final = (".py", ".pyc", ".pyi", ".pyx", ".so", ".ipynb")


class Files:
    """Gathers the tree of one run."""

    def __init__(self, workspace: Workspace, transaction: Transaction, notes: list[str]) -> None:
        """Begin with nothing; ``notes`` takes what whoever reads the run should know."""
        self._workspace = workspace
        self._session = workspace.session
        self._transaction = transaction
        self._notes = notes
        self._trees = Trees(transaction)
        self._editor = Editor(transaction, self._session.store.secrets.split)
        self._entries: dict[str, Entry] = {}
        self._whole: dict[str, tree.Columns] = {}
        self.sources: list[run.Source] = []
        self.found: list[run.Input] = []
        self._seen: set[run.Input] = set()
        self._splits = projects.read(self._session.root).splits
        self._tree: bytes | None = None
        self.is_known = True
        """Whether all that is known to have been read is known by its content as well."""

    # ------------------------------------------------------------------------------------------ what was read

    def inputs(self, begin: journal.Begin, said: Iterable[tuple[str, str, str]], opened: Opened) -> None:
        """Take what was declared, before the run or while it went, and what hooks saw."""
        self._begin = begin
        if begin.snapshot:
            self.sources.append(run.Source(snapshot=begin.snapshot, dirty=begin.dirty))
        for path, role, known in dict.fromkeys([*begin.inputs, *said]):
            try:
                self._declared(path, role, known)
            except (DvError, OSError, ValueError) as error:
                why = error.finding() if isinstance(error, DvError) else str(error)
                self._notes.append(f"an input could not be recorded: {why}")
                self.is_known = False
        if begin.trace == "audit":
            self._audited(opened)

    def _declared(self, place: str, role: str, known: str) -> None:
        if urls.is_url(place):
            self.is_known = False  # nothing at a URL is looked at
            self.found.append(
                run.Input(source=run.OUTSIDE, path=paths.shown(place), role=role, known=known, files=0, size=0)
            )
            return
        if not place.startswith("/"):
            name, _, path = place.partition(":")
            if catalogue.looks_like_run(name):
                self._of_run(catalogue.find(self._workspace, name), path, role, known)
                return
            if re.fullmatch(f"[0-9a-f]{{{FULL}}}", name):
                snapshot = bytes.fromhex(name)
            else:
                snapshot, path, _entry = self._workspace.place(place)
            source = self._source(run.Source(snapshot=snapshot))
            self._of_tree(source, self._snapshot_tree(snapshot), path, role, known)
            return
        root = self._session.root
        if paths.below(place, root) and self._begin.snapshot:
            path = "" if place == root else place[len(root) + 1 :]
            top = self._snapshot_tree(self._begin.snapshot)
            if self._trees.resolve(top, path) is not None:
                role = role or projects.role_of(path, self._splits)[0]
                self._of_tree(0, top, path, role, known)
                return
        if paths.below(place, root) and self._untracked(place, role, known):
            return
        self._outside(place, role, known)

    def _snapshot_tree(self, identity: bytes) -> bytes:
        return self._session.snapshot(identity).root

    def _source(self, wanted: run.Source) -> int:
        """Return the position of a source, which is there from now on."""
        for at, each in enumerate(self.sources):
            if each.snapshot == wanted.snapshot and each.run == wanted.run:
                return at
        self.sources.append(wanted)
        return len(self.sources) - 1

    def _of_run(self, identity: str, path: str, role: str, known: str) -> None:
        """Take an output of another run."""
        found = catalogue.read(self._workspace, identity)
        entry = self._session.trees.resolve(found.tree, paths.join(run.OUTPUTS, path) if path else run.OUTPUTS)
        if entry is None:
            self._notes.append(f"run {identity} has no output {path!r}")
            return
        self._put(self._source(run.Source(run=identity)), path, entry, role, known)

    def _of_tree(self, source: int, top: bytes, path: str, role: str, known: str) -> None:
        entry = self._trees.resolve(top, path) if path else self._trees.directory_entry(top)
        if entry is None:
            self._notes.append(f"the input {path!r} is not in its snapshot")
            return
        self._put(source, path, entry, role, known)

    def _put(self, source: int, path: str, entry: Entry, role: str, known: str) -> None:
        files, size = (entry.files, entry.size) if entry.kind == DIRECTORY else (1, entry.size)
        place = paths.join(f"{run.INPUTS}/{source}", path) if path else f"{run.INPUTS}/{source}"
        self._entries[place] = entry
        value = run.Input(source=source, path=path, role=role, known=known, files=files, size=size)
        if value not in self._seen:
            self._seen.add(value)
            self.found.append(value)

    def _untracked(self, place: str, role: str, known: str) -> bool:
        """Take what lies in the worktree and in no snapshot; it is stored, unless it is an output of another run."""
        path = place[len(self._session.root) + 1 :]
        if paths.is_own(path) or not os.path.lexists(place):
            return False
        columns, _missing = self._read(self._session.root, [path])
        entry = self._entry_of(columns, path)
        if entry is None:
            return False
        maker = self._maker(entry)
        source = self._source(run.Source(run=maker) if maker else run.Source())
        if entry.kind == DIRECTORY:
            for directory, found in columns.items():
                self._whole[paths.join(f"{run.INPUTS}/{source}", directory)] = found
            value = run.Input(source=source, path=path, role=role, known=known, files=entry.files, size=entry.size)
            self.found.append(value)
        else:
            self._put(source, path, entry, role, known)
        return True

    def _entry_of(self, columns: dict[str, tree.Columns], path: str) -> Entry | None:
        """Return what stands for something that was read: a file, or a directory."""
        directory, name = paths.split(path)
        if directory in columns and name in columns[directory].names and path not in columns:
            return columns[directory].entries()[name]
        below = {each: found for each, found in columns.items() if paths.below(each, path)}
        if not below:
            return None
        top = self._editor.apply(None, {}, dict(below))
        return self._trees.resolve(top, path)

    def _maker(self, entry: Entry) -> str:
        """Return the newest run that made something as one of its outputs, or nothing."""
        return self._made().get((entry.kind == DIRECTORY, entry.id), "")

    def _made(self) -> dict[tuple[bool, bytes], str]:
        """Return the newest maker of every output: by whether it is a directory, and its content."""
        found: dict[tuple[bool, bytes], str] = {}
        for each in catalogue.everything(self._workspace):
            if each.outputs is None:
                continue
            for output in each.run.outputs:
                entry = self._session.trees.resolve(each.outputs, output.path)
                if entry is not None and entry.size:
                    found.setdefault((entry.kind == DIRECTORY, entry.id), each.id)
        return found

    def _outside(self, place: str, role: str, known: str) -> None:
        """Note something that is not stored; of a file, a keyed hash tells whether it is the same one day."""
        try:
            status = os.stat(place)
        except OSError:
            self._notes.append(f"the input {paths.shown(place)!r} was gone when the run had ended")
            return
        known_as = b""
        files, size = 1, status.st_size
        if stat.S_ISDIR(status.st_mode):
            files, size = _below(place)
        elif stat.S_ISREG(status.st_mode) and size <= WHOLE_LIMIT:
            with contextlib.suppress(OSError), open(place, "rb") as file:
                known_as = digest.keyed_of(self._session.store.secrets.id_key, iter(lambda: file.read(1 << 20), b""))
        self.is_known &= bool(known_as)
        self.found.append(
            run.Input(
                source=run.OUTSIDE, path=paths.shown(place), role=role, known=known, files=files, size=size,
                known_as=known_as,
            )
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ what hooks saw

    def _audited(self, opened: Opened) -> None:
        """Take what hooks saw opened: files of the snapshot, and outputs of other runs."""
        root = self._session.root + "/"
        read = [path[len(root) :] for path in opened.read if path.startswith(root)]
        read = [path for path in read if not paths.is_own(path) and "__pycache__/" not in path]
        known: dict[str, Entry] = {}
        others: list[str] = []
        top = self._top()
        if top is not None:
            for directory, names in ingest.by_directory(read).items():
                entries = self._listed(top, directory)
                for name in names:
                    path = paths.join(directory, name)
                    if name in entries:
                        known[path] = entries[name]
                    else:
                        others.append(path)
        else:
            others = read
        self._groups(known)
        self._strangers([path for path in others if root + path not in opened.written])
        if opened.blind:
            self._notes.append(
                f"{', '.join(sorted(opened.blind))} was loaded, which opens files past the hook: "
                "what it read is known only where it was declared"
            )
        if not opened.processes and not self.found:
            self._notes.append("no Python process told what it opened: what was read is known only where declared")

    def _top(self) -> bytes | None:
        """Return the tree that the run read from, None where there is none, or it was dropped while the run went on."""
        if not self._begin.snapshot:
            return None
        try:
            return self._snapshot_tree(self._begin.snapshot)
        except DvError as error:
            self._notes.append(f"the snapshot that it read from was dropped while it went on: {error.what}")
            self.is_known = False
            return None

    def _listed(self, top: bytes, directory: str) -> dict[str, Entry]:
        entry = self._trees.resolve(top, directory) if directory else self._trees.directory_entry(top)
        if entry is None or entry.kind != DIRECTORY:
            return {}
        return {name: each for name, each in self._trees.entries(entry.id) if each.kind != DIRECTORY}

    def _groups(self, known: dict[str, Entry]) -> None:
        """Take files of the snapshot, put together by role and tracked root."""
        roots = self._session.snapshot(self._begin.snapshot).roots if known else ()
        groups: dict[tuple[str, str], list[Entry]] = {}
        declared = [each.path for each in self.found if each.source == 0]
        for path, entry in known.items():
            role, top = projects.role_of(path, self._splits)
            root = top or next((each for each in roots if paths.below(path, each)), "")
            groups.setdefault((root, role), []).append(entry)
            if not paths.covered(path, declared):
                self._entries[f"{run.INPUTS}/0/{path}"] = entry
        for (root, role), entries in sorted(groups.items()):
            self.found.append(
                run.Input(
                    source=0, path=root, role=role, known="audit", files=len(entries),
                    size=sum(entry.size for entry in entries),
                )
            )  # fmt: skip

    def _strangers(self, read: list[str]) -> None:
        """Take what is in no snapshot: outputs of other runs are known by their content, of all else that is noted."""
        root = self._session.root
        left = [path for path in read if not path.endswith(CODE) and os.path.isfile(f"{root}/{path}")]
        left = [path for path in left if not os.path.islink(f"{root}/{path}")]  # what they lead to was seen itself
        if not left:
            return
        if self._workspace.in_git():
            tracked = set(beside.tracked(root, left))
            left = [path for path in left if path not in tracked]
        outputs = {content: maker for (is_directory, content), maker in self._made().items() if not is_directory}
        unknown = []
        columns, _missing = self._read(root, left, store=False) if outputs else ({}, [])
        for path in left:
            directory, name = paths.split(path)
            found = columns[directory].entries().get(name) if directory in columns else None
            maker = outputs.get(found.id) if found is not None else None
            if found is None or maker is None:
                unknown.append(path)
                continue
            self._put(self._source(run.Source(run=maker)), path, found, "", "audit")
        for path in unknown[:NAMED]:
            self._outside(f"{root}/{path}", "", "audit")
        if len(unknown) > NAMED:
            self.is_known = False
            self._notes.append(f"{len(unknown) - NAMED:,} more files were read that are neither in dv nor in Git")

    # ------------------------------------------------------------------------------------------ what was made

    def outputs(
        self, promised: Iterable[tuple[str, str]], said: Iterable[tuple[str, str]], since: int
    ) -> tuple[run.Output, ...]:
        """Take what was made, as it is now.

        Args:
            promised: places and kinds that were named before the run; what was not written since then was not made.
            said: places and kinds that the program named itself, whose word is taken.
            since: when the run began, in microseconds.
        """
        found: dict[str, run.Output] = {}
        before = dict.fromkeys(promised)
        for place, kind in before | dict.fromkeys(said):
            root = self._session.root
            if place == "/" or paths.below(root, place):
                self._notes.append(f"the output {paths.shown(place)!r} holds the repository itself, and is not stored")
                continue
            is_inside = paths.below(place, root)
            base = root if is_inside else os.path.dirname(place)
            path = os.path.relpath(place, base)
            path, number = paths.shown(path), 1
            while path in found and found[path].origin != ("" if is_inside else paths.shown(place)):
                number += 1
                path = f"{number}-{os.path.basename(place)}"
            origin = "" if is_inside else paths.shown(place)
            if paths.is_own(path):
                self._notes.append(f"the output {path!r} has a name of dv's or Git's own, and is not stored")
                continue
            name = os.path.relpath(place, base)
            if (place, kind) in before and os.path.lexists(place) and not _is_written(place, since):
                self._notes.append(f"the output {path!r} was there before, and was not written")
                found[path] = run.Output(path=path, origin=origin, kind=kind, files=0, size=0, missing=True)
                continue
            found[path] = self._output(base, name, path, origin, kind)
        return tuple(found[path] for path in sorted(found))

    def _output(self, base: str, name: str, path: str, origin: str, kind: str) -> run.Output:
        if not os.path.lexists(f"{base}/{name}"):
            self._notes.append(f"the output {path!r} is missing")
            return run.Output(path=path, origin=origin, kind=kind, files=0, size=0, missing=True)
        columns, _missing = self._read(base, [name])
        files = size = 0
        for directory, found in columns.items():
            is_file = not paths.below(directory, name)
            if is_file:
                for entry in found.entries().values():
                    self._entries[paths.join(run.OUTPUTS, path)] = entry
            else:
                self._whole[paths.join(run.OUTPUTS, path + directory[len(name) :])] = found
            files += len(found.names)
            size += sum(found.sizes)
        return run.Output(path=path, origin=origin, kind=kind, files=files, size=size, missing=False)

    def _read(
        self, base: str, names: Sequence[str], *, store: bool = True
    ) -> tuple[dict[str, tree.Columns], list[str]]:
        """Read files, and all below directories; return what they hold by directory, and what could not be read."""
        wanted: list[str] = []
        empty: list[str] = []
        for name in names:
            _walk(base, name, wanted, empty)
        result = ingest.ingest(
            self._session.store, base, ingest.by_directory(wanted), self._transaction if store else None,
            self._session.context.progress,
        )  # fmt: skip
        for path, reason in result.problems:
            self._notes.append(f"{paths.shown(path)} could not be read: {reason}")
        columns = {directory: seen.columns() for directory, seen in result.directories.items()}
        for directory in empty:
            columns.setdefault(directory, _nothing())
        return columns, [path for path, _reason in result.problems]

    # ------------------------------------------------------------------------------------------ the tree

    def record(self, directory: str) -> None:
        """Take what lies in the journal's directory of things to keep."""
        if not os.path.isdir(directory):
            return
        base, name = os.path.split(directory)
        columns, _missing = self._read(base, [name])
        self._whole |= columns

    def tree(self) -> bytes:
        """Return the id of the tree, which is made now."""
        if self._tree is None:
            changes: Changes = {}
            taken: list[str] = []
            for place in sorted(self._entries, key=lambda each: (each.count("/"), each)):
                if paths.covered(place, taken):
                    continue  # a directory above was taken as a whole
                directory, name = paths.split(place)
                changes.setdefault(directory, {})[name] = self._entries[place]
                if self._entries[place].kind == DIRECTORY:
                    taken.append(place)
            for directory in self._whole.keys() & changes.keys():
                changes[directory] |= dict(self._whole.pop(directory).entries())
            self._tree = self._editor.apply(None, changes, self._whole)
        return self._tree

    def _part(self, path: str) -> bytes:
        entry = self._trees.resolve(self.tree(), path)
        return entry.id if entry is not None else b""

    def input_id(self) -> bytes:
        """Return the id of what was read."""
        return self._part(run.INPUTS)

    def output_id(self) -> bytes:
        """Return the id of what was made."""
        return self._part(run.OUTPUTS)

    def code_id(self) -> list[bytes]:
        """Return the ids of what was kept of the code."""
        return [self._part(f"{run.RECORD}/patch.diff"), self._part(f"{run.RECORD}/untracked")]


def _walk(base: str, name: str, files: list[str], empty: list[str]) -> None:
    """Add the files at and below a path, and its directories without any."""
    pending = [name]
    while pending:
        path = pending.pop()
        place = f"{base}/{path}"
        if os.path.islink(place) or not os.path.isdir(place):
            files.append(path)
            continue
        try:
            entries = sorted(os.listdir(place))
        except OSError:
            entries = []
        kept = [paths.join(path, each) for each in entries if not paths.is_reserved(each)]
        if not kept:
            empty.append(path)
        pending += kept


def _is_written(place: str, since: int) -> bool:
    """Return whether a file, or any below a directory, was made or changed since a time in microseconds.

    The time of the last change of its inode is looked at, which no program can set.
    """
    pending = [place]
    while pending:
        path = pending.pop()
        try:
            status = os.lstat(path)
            if status.st_ctime_ns // 1000 >= since - SLACK:
                return True
            if stat.S_ISDIR(status.st_mode):
                pending += [f"{path}/{name}" for name in os.listdir(path)]
        except OSError:
            continue
    return False


def _nothing() -> tree.Columns:
    return tree.Columns(names=[], kinds=b"", sizes=[], ids=b"")


def _below(place: str) -> tuple[int, int]:
    """Return how many files lie below a directory, and their bytes."""
    files = size = 0
    for directory, _directories, names in os.walk(place):
        for name in names:
            files += 1
            try:
                size += os.lstat(f"{directory}/{name}").st_size
            except OSError:
                continue
    return files, size
