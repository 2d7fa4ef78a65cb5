"""Compares the worktree with the index, by stat data alone.

This is what ``dv status`` does most of the time, so its inner loop makes one tuple for each file and compares a
directory at once; only directories that differ are looked at file by file.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat as stat_module
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.effects import Silence
from dvtool.formats import tree
from dvtool.formats.worktree_index import UNKNOWN_STAT
from dvtool.storage.disk import word_for
from dvtool.worktree import stats, workers
from dvtool.worktree.stats import Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from dvtool.formats.worktree_index import Glance
    from dvtool.worktree.ignore import Ignore
    from dvtool.worktree.index import WorktreeIndex

SHARED_WEIGHT: Final = 2_000_000
"""Bytes of index records (about 20,000 files) from which a second process is worth its start."""
TURNS_EACH: Final = 64
"""Turns that each worker gets at least, so that all of them end at about the same time."""


class Findings(msgspec.Struct, kw_only=True, array_like=True):
    """How the worktree differs from the index, as far as stat data tells.

    ``doubtful`` are files of the index whose content must be looked at; ``added`` are files that it does not have,
    by directory and sorted, named by their listing alone; ``removed`` are files it has and the worktree not.
    ``problems`` are (path, reason) of what cannot be stored or looked at, ``leftovers`` unfinished files of a command
    that was killed.  Of a directory in ``unreadable`` and of what is below it nothing is known, so nothing of it is
    missed.
    """

    doubtful: list[tuple[str, Stat]]
    added: dict[str, list[str]]
    removed: list[str]
    new_directories: list[str]
    gone_directories: list[str]
    problems: list[tuple[str, str]]
    leftovers: list[str]
    unreadable: list[str]

    def added_paths(self) -> Iterator[str]:
        """Yield the paths of added files."""
        for directory, names in self.added.items():
            prefix = f"{directory}/" if directory else ""
            for name in names:
                yield prefix + name

    def leave(self, files: AbstractSet[str]) -> None:
        """Take back that ``files`` were added."""
        if files:
            kept = {
                directory: [name for name in names if paths.join(directory, name) not in files]
                for directory, names in self.added.items()
            }
            self.added = {directory: names for directory, names in kept.items() if names}


def nothing() -> Findings:
    """Return findings without anything found."""
    return Findings(
        doubtful=[],
        added={},
        removed=[],
        new_directories=[],
        gone_directories=[],
        problems=[],
        leftovers=[],
        unreadable=[],
    )


class Scanner:
    """Scans below some paths of a worktree."""

    def __init__(self, root: str, index: WorktreeIndex, ignore: Ignore, left_out: Callable[[str], bool] | None) -> None:
        """Prepare a scan.

        Args:
            root: the worktree's root.
            index: what to compare with.
            ignore: what to leave out of files that the index does not know.
            left_out: whether a path is not materialised and so cannot be missed; None when everything is.
        """
        self._root = root
        self._index = index
        self._mirrored = index.directories
        self._ignore = ignore
        self._left_out = left_out
        self._shared = False
        self._tops: set[str] = set()
        self._absent: set[str] = set()
        self.found = nothing()

    def scan(self, tops: Sequence[str]) -> Findings:
        """Return the findings at and below ``tops`` (repository paths, none below another)."""
        known: list[str] = []
        self._tops = set(tops)
        for top in tops:
            self._top(top, known)
        processes = workers.count()
        weights = [self._index.weight(path) for path in known]
        if processes > 1 and sum(weights) > SHARED_WEIGHT and len(known) > 1:
            self._share(workers.split(known, weights, processes * TURNS_EACH), processes)
        else:
            self._directories(known)
        # A directory that became a link is read through the link by the process that has what was below it.
        gone = set(self.found.gone_directories) | self._absent
        if gone:
            self._forget_below(gone)
        if self.found.unreadable:
            self._name_once(set(self.found.unreadable))
        self.found.doubtful = sorted(set(self.found.doubtful))
        self.found.added = dict(sorted(self.found.added.items()))
        # A directory that is gone is missed by its parent and by itself, perhaps in two processes.
        self.found.removed = sorted(set(self.found.removed))
        self.found.new_directories = sorted(set(self.found.new_directories))
        self.found.gone_directories = sorted(set(self.found.gone_directories))
        return self.found

    def _share(self, turns: list[list[str]], processes: int) -> None:
        """Look at directories in several processes, each taking the next turn when it is done with its own."""
        before = self.found
        given = workers.Turns(len(turns))

        def work(_number: int, _counter: workers.Counter) -> Findings:
            self.found = nothing()
            self._shared = True
            workers.leave_imports()
            for turn in given:
                self._directories(turns[turn])
            return self.found

        try:
            results = workers.run(range(processes), work, Findings, Silence(), clean=lambda _process: None)
        finally:
            given.close()
        self.found = before
        for result in results:
            merge(self.found, result)

    def _forget_below(self, gone: set[str]) -> None:
        def stays(path: str) -> bool:
            return not any(parent in gone for parent in paths.parents(path))

        self.found.doubtful = [item for item in self.found.doubtful if stays(item[0])]
        self.found.added = {
            directory: names
            for directory, names in self.found.added.items()
            if directory not in gone and stays(directory)
        }
        self.found.new_directories = [path for path in self.found.new_directories if stays(path)]
        self.found.problems = [item for item in self.found.problems if stays(item[0])]

    def _name_once(self, unreadable: set[str]) -> None:
        """Leave directories unnamed that cannot be read because the one above cannot, which is named."""
        told = {path for path in unreadable if unreadable.intersection(paths.parents(path))}
        self.found.unreadable = sorted(unreadable - told)
        self.found.problems = sorted({item for item in self.found.problems if item[0] not in told})

    def _top(self, top: str, known: list[str]) -> None:
        path = f"{self._root}/{top}" if top else self._root
        if any(os.path.islink(f"{self._root}/{parent}") for parent in paths.parents(top) if parent):
            self._missing(top)  # a link on the way leads elsewhere; nothing of ours is behind it
            return
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._missing(top)
            return
        except OSError as error:
            self._unreadable(top, error)
            return
        if stat_module.S_ISDIR(status.st_mode):
            if self._index.row(top) is not None:
                self.found.removed.append(top)
            if top in self._index:
                known.extend(below(self._mirrored, top))
            else:
                self._new_directory(top)
            return
        if top in self._index:
            self._gone(top)
        self._file(top, stats.of(status), self._index.row(top))

    def _missing(self, top: str) -> None:
        if top in self._index:
            self._gone(top)
        elif self._index.row(top) is not None:
            self._lost(top)

    def _is_directory(self, path: str) -> bool:
        return os.path.isdir(f"{self._root}/{path}") and not os.path.islink(f"{self._root}/{path}")

    def _directories(self, directories: list[str]) -> None:
        for path in directories:
            if self._absent and any(above in self._absent for above in (path, *paths.parents(path))):
                continue
            glance = self._index.glance(path)
            if glance is not None and self._unchanged(path, glance):
                continue
            parent = paths.split(path)[0]
            replaced = os.path.lexists(f"{self._root}/{path}") and not self._is_directory(path)
            if replaced and path not in self._tops and parent in self._index:
                # Something else under the same name, which the listing of the parent could not tell.
                self._directory(parent)
            else:
                self._directory(path)

    def _unchanged(self, path: str, record: Glance) -> bool:
        """Return whether a directory is exactly as its record says.

        The hot path of every status: one listing and one look at each file that the record names, in loops that run
        in C.  A file that became a directory has another mode; a directory that became something else is noticed
        when its own turn comes.
        """
        place = f"{self._root}/{path}" if path else self._root
        try:
            if not stat_module.S_ISDIR(os.lstat(place).st_mode):
                return False
            # Without directories, as many names as recorded, each of which is found below, are the same names.
            present = os.listdir(os.fsencode(place))
            names = record.names.encode().split(b"\0") if record.kinds else []
            directories = record.directories.encode().split(b"\0") if record.directories else []
            if len(present) != len(names) + len(directories):
                return False
            if directories and sorted(present) != sorted([*names, *directories]):
                return False
            if self._shared:
                os.chdir(place)  # in a process of our own: names alone spare the kernel a sixth of its work
            else:
                prefix = os.fsencode(place) + b"/"
                names = [prefix + name for name in names]
            looked_at = map(stats.of, map(os.lstat, names))
            return stats.pack(list(itertools.chain.from_iterable(looked_at))) == record.stats
        except OSError:
            return False

    def _directory(self, path: str) -> None:
        """Compare one mirrored directory file by file."""
        rows = self._index.rows(path)
        mirrored = self._index.subdirectories(path)
        try:
            files, directories = self._list(path)
        except (FileNotFoundError, NotADirectoryError):
            self._gone(path)
            return
        except OSError as error:
            self._unreadable(path, error)
            return
        for name in sorted(directories):
            below_path = paths.join(path, name)
            if name in rows:
                self.found.removed.append(below_path)
            if name not in mirrored and not self._is_ignored(below_path, directory=True):
                self._new_directory(below_path)
        for name in sorted(files):
            row = rows.get(name)
            below_path = paths.join(path, name)
            if name in mirrored:
                self._gone(below_path)
            if row is None and self._is_ignored(below_path, directory=False):
                continue
            self._file(below_path, files[name], row)
        for name in sorted(rows.keys() - files.keys() - directories):
            self._lost(paths.join(path, name))
        for name in sorted(mirrored - directories - files.keys()):
            self._gone(paths.join(path, name))

    def _unreadable(self, path: str, error: OSError) -> None:
        self.found.unreadable.append(path)
        self.found.problems.append((path or ".", f"it cannot be read: {error.strerror or error}"))

    def _list(self, path: str) -> tuple[dict[str, Stat], set[str]]:
        """Return the files of a directory with their status, and its directories.

        Raises:
            OSError: when it is not there, or cannot be read: whoever may list a directory may not always look at what
                is in it, and what was not seen must not be taken for gone.
        """
        files: dict[str, Stat] = {}
        directories: set[str] = set()
        with os.scandir(f"{self._root}/{path}" if path else self._root) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        directories.add(entry.name)
                    else:
                        files[entry.name] = stats.of(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
        for name in self._foreign(path, [*files, *directories]):
            files.pop(name, None)
            directories.discard(name)
        return files, directories

    def _list_names(self, path: str) -> tuple[list[str], set[str], list[tuple[str, int]]]:
        """Return the names of a directory's files and links, of its directories, and (name, mode) of the rest.

        What a listing tells is enough: a file that is to be read is looked at when it is opened.
        """
        files: list[str] = []
        directories: set[str] = set()
        special: list[tuple[str, int]] = []
        try:
            with os.scandir(f"{self._root}/{path}" if path else self._root) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
                        files.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        directories.add(entry.name)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            special.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
        except (FileNotFoundError, NotADirectoryError):
            return [], set(), []
        except OSError as error:
            self._unreadable(path, error)
            return [], set(), []
        if not directories.isdisjoint(files):  # renamed while it was listed
            files = [name for name in files if name not in directories]
        foreign = set(self._foreign(path, [*files, *directories, *(name for name, _mode in special)]))
        if foreign:
            files = [name for name in files if name not in foreign]
            special = [item for item in special if item[0] not in foreign]
        return files, directories - foreign, special

    def _foreign(self, path: str, names: list[str]) -> list[str]:
        """Return those of the names of a directory that are not data."""
        joined = "\0".join(names)
        # One search of all names together: names that need a closer look are rare.
        if path and joined.isascii() and not paths.is_rare(joined.lower()):
            return []
        return [name for name in names if self._is_foreign(path, name)]

    def _is_foreign(self, path: str, name: str) -> bool:
        """Return whether a name is not data, reporting it when it looks like some that cannot be stored."""
        try:
            name.encode()
        except UnicodeEncodeError:
            self.found.problems.append((paths.shown(paths.join(path, name)), "its name is not UTF-8"))
            return True
        if paths.is_partial(name):
            self.found.leftovers.append(paths.join(path, name))
            return True
        if paths.is_reserved(name):
            if name not in paths.RESERVED:
                reason = f"some file systems would take it for {_taken_for(name)}, which is never data"
                self.found.problems.append((paths.join(path, name), reason))
            return True
        return not path and name in paths.ROOT_FILES

    def _file(self, path: str, found: Stat, row: object) -> None:
        kind = stats.kind_of(found[4])
        if kind is None:
            self.found.problems.append((path, f"it is {word_for(found[4])}"))
        elif row is None:
            directory, name = paths.split(path)
            _note(self.found.added, directory, [name])
        elif row.kind == tree.ERASED or row.stat == UNKNOWN_STAT or stats.pack(found) != row.stat:  # type: ignore[attr-defined]
            self.found.doubtful.append((path, found))

    def _new_directory(self, path: str) -> None:
        """Report a directory that the index does not have, and all below it."""
        pending = [path]
        while pending:
            self._new_level(pending.pop(), pending)

    def _new_level(self, path: str, pending: list[str]) -> None:
        self.found.new_directories.append(path)
        names, directories, special = self._list_names(path)
        prefix = f"{path}/" if path else ""
        ignores = not self._ignore.is_empty
        if ignores:
            names = [name for name in names if not self._ignore.excludes(prefix + name, directory=False)]
        for name, mode in special:
            if not (ignores and self._ignore.excludes(prefix + name, directory=False)):
                self.found.problems.append((prefix + name, f"it is {word_for(mode)}"))
        if names:
            names.sort()
            _note(self.found.added, path, names)
        for name in sorted(directories, reverse=True):
            below_path = prefix + name
            if not (ignores and self._ignore.excludes(below_path, directory=True)):
                pending.append(below_path)

    def _gone(self, path: str) -> None:
        """Report a mirrored directory, and all in it, as not there; what is left out on purpose is not missed."""
        self._absent.add(path)
        directories = below(self._mirrored, path)
        kept: set[str] = set()
        for directory in reversed(directories):
            names = [paths.join(directory, name) for name in self._index.rows(directory)]
            lost = [name for name in names if self._lost(name)]
            holds = len(lost) < len(names) or any(
                paths.join(directory, name) in kept for name in self._index.subdirectories(directory)
            )
            if holds or self._is_left_out(directory):
                kept.add(directory)
        self.found.gone_directories += [directory for directory in directories if directory not in kept]

    def _lost(self, path: str) -> bool:
        if self._is_left_out(path):
            return False
        row = self._index.row(path)
        if row is not None and row.kind == tree.ERASED:
            return True
        self.found.removed.append(path)
        return True

    def _is_left_out(self, path: str) -> bool:
        return self._left_out is not None and self._left_out(path)

    def _is_ignored(self, path: str, *, directory: bool) -> bool:
        return not self._ignore.is_empty and self._ignore.excludes(path, directory=directory)


def below(directories: Sequence[str], top: str) -> list[str]:
    """Return those of ``directories`` (sorted) that are ``top`` or lie below it, each before those in it."""
    if not top:
        return list(directories)
    prefix = top + "/"
    start = bisect_left(directories, prefix)
    found = []
    for path in itertools.islice(directories, start, None):
        if not path.startswith(prefix):
            break
        found.append(path)
    at = bisect_left(directories, top)
    return [top, *found] if at < len(directories) and directories[at] == top else found


def merge(into: Findings, other: Findings) -> None:
    """Add what another process found."""
    into.doubtful += other.doubtful
    for directory, names in other.added.items():
        _note(into.added, directory, names)
    into.removed += other.removed
    into.new_directories += other.new_directories
    into.gone_directories += other.gone_directories
    into.problems += other.problems
    into.leftovers += other.leftovers
    into.unreadable += other.unreadable


def _note(added: dict[str, list[str]], directory: str, names: list[str]) -> None:
    """Add sorted names of a directory, which may have been listed before by another process."""
    known = added.get(directory)
    added[directory] = names if known is None else sorted({*known, *names})


def _taken_for(name: str) -> str:
    small = name.lower()
    return "dv.toml or dv.lock" if ".tom" in small or ".loc" in small else ".git or .dv"
