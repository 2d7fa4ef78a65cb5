"""The worktree's index in memory: a mirror of the stage's tree with stat data, read and written by directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from dvtool import paths
from dvtool.errors import FormatError
from dvtool.formats import codec, tree, worktree_index
from dvtool.formats.worktree_index import STAT_SIZE, UNKNOWN_STAT, Glance, Record
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dvtool.formats.tree import Entry
    from dvtool.storage.disk import Disk
    from dvtool.store.treediff import TreeDiff
    from dvtool.store.trees import Damage


class Row(NamedTuple):
    """What the index says of one file: its entry in the stage's tree, and 40 bytes of stat data."""

    kind: int
    size: int
    id: bytes
    stat: bytes


class WorktreeIndex:
    """Directories, their files, and when they were last seen unchanged."""

    def __init__(self, data: bytes = b"") -> None:
        """Open the bytes of an index; none for an empty one.

        Raises:
            FormatError: when they are damaged.
        """
        self._data = memoryview(data)
        self.tree: bytes | None = None
        self._places: dict[str, tuple[int, int]] = {}
        if data:
            self.tree, self._places = worktree_index.decode(data)
        self._rows: dict[str, dict[str, Row]] = {}
        self._files: dict[str, Record] = {}
        self._directories: dict[str, set[str]] = {}
        self._last: tuple[str | None, dict[str, Row]] = (None, {})
        self.changed = False
        self.damaged: Damage = []
        """Directories of the tree that cannot be read: nothing of them is here, or what was there before."""

    @property
    def directories(self) -> list[str]:
        """Every directory of the mirrored tree, sorted by path, so that each stands before those in it."""
        if not self._directories:
            return list(self._places)  # written in this order
        return sorted({*self._places, *self._directories})

    def __contains__(self, path: object) -> bool:
        """Return whether a directory is mirrored."""
        return path in self._directories or path in self._places

    def weight(self, path: str) -> int:
        """Return about how many bytes the record of a directory has; a measure of the work to check it."""
        return self._places.get(path, (0, 0))[1]

    def record(self, path: str) -> Record | None:
        """Return the record of an unchanged directory, or None."""
        data = self._bytes(path)
        return worktree_index.decode_record(data) if data is not None else None

    def glance(self, path: str) -> Glance | None:
        """Return what a first look at an unchanged directory needs, or None."""
        data = self._bytes(path)
        return worktree_index.decode_glance(data) if data is not None else None

    def _bytes(self, path: str) -> memoryview | None:
        """Return the record of an unchanged directory as it stands in the index, or None."""
        place = None if path in self._directories else self._places.get(path)
        return self._data[place[0] : place[0] + place[1]] if place else None

    def rows(self, path: str) -> dict[str, Row]:
        """Return the files of a directory, by name; empty when it is not mirrored."""
        rows = self._rows.get(path)
        if rows is None and path in self._files:
            rows = self._rows[path] = rows_of(self._files.pop(path))
        if rows is None:
            if self._last[0] != path:
                record = self.record(path)
                self._last = (path, rows_of(record) if record else {})
            rows = self._last[1]
        return rows

    def subdirectories(self, path: str) -> set[str]:
        """Return the names of the mirrored directories right below one."""
        if path in self._directories:
            return self._directories[path]
        record = self.record(path)
        return set(record.directory_names()) if record else set()

    def row(self, path: str) -> Row | None:
        """Return what is known of one file."""
        directory, name = paths.split(path)
        return self.rows(directory).get(name)

    def set(self, directory: str, name: str, row: Row | None) -> None:
        """Change what is known of one file; None for "not there"."""
        self._open(directory)
        if row is None:
            self._rows[directory].pop(name, None)
        else:
            if name in self._directories[directory]:
                self.remove_directory(paths.join(directory, name))
            self._rows[directory][name] = row

    def fill(self, path: str, files: Record) -> None:
        """Change all that is known of the files of a mirrored directory; the record's directories do not count."""
        self._open(path)
        del self._rows[path]
        self._files[path] = files

    def restat(self, path: str, seen: Iterable[tuple[str, Entry, bytes]]) -> None:
        """Take in (name, entry, stat data) of files of a mirrored directory; those of other content are left out.

        Works on columns: of a million files, rows would take as much memory again as everything else.
        """
        record = self._files.get(path) or self.record(path)
        if record is None:
            for name, entry, stat in seen:
                row = self.rows(path).get(name)
                if row is not None and row[:3] == entry[:3]:
                    self.set(path, name, row._replace(stat=stat))
            return
        positions = {name: at for at, name in enumerate(record.file_names())}
        columns = bytearray(record.stats)
        for name, entry, stat in seen:
            at = positions.get(name)
            if at is not None and entry[:3] == (record.kinds[at], record.sizes[at], record.ids[at * 32 : at * 32 + 32]):
                columns[at * STAT_SIZE : (at + 1) * STAT_SIZE] = stat
        if columns != record.stats:
            self.changed = True
            self._directories.setdefault(path, set(record.directory_names()))
            self._files[path] = msgspec.structs.replace(record, stats=bytes(columns))

    def add_directory(self, path: str) -> None:
        """Mirror a directory, and those above it."""
        while True:
            self._open(path)
            if not path:
                return
            parent, name = paths.split(path)
            if name in self.subdirectories(parent):
                return
            self._open(parent)
            self._rows[parent].pop(name, None)
            self._directories[parent].add(name)
            path = parent

    def remove_directory(self, path: str) -> None:
        """Forget a directory and everything below it."""
        pending = [path]
        while pending:
            current = pending.pop()
            pending += [paths.join(current, name) for name in self.subdirectories(current)]
            self._rows.pop(current, None)
            self._files.pop(current, None)
            self._directories.pop(current, None)
            self._places.pop(current, None)
        self._last = (None, {})
        self.changed = True
        if path:
            parent, name = paths.split(path)
            if parent in self:
                self._open(parent)
                self._directories[parent].discard(name)

    def follow(self, diff: TreeDiff, new_tree: bytes) -> None:
        """Mirror ``new_tree``, which differs from the tree mirrored now by ``diff``; new content has no stat yet."""
        for path in sorted(diff.directories, reverse=True):
            if diff.directories[path][1] is None:
                self.remove_directory(path)
        for path in sorted(diff.directories):
            before, after = diff.directories[path]
            if before is None and after is not None:
                self.add_directory(path)
        fresh: dict[str, list[tuple[str, Entry]]] = {
            path: [] for path, (before, after) in diff.directories.items() if before is None and after is not None
        }
        for path, (_old, new) in diff.files.items():
            directory, name = paths.split(path)
            if directory in fresh and new is not None:
                fresh[directory].append((name, new))
            elif directory in self or new is not None:
                self.set(directory, name, row_of(new, UNKNOWN_STAT) if new is not None else None)
        for directory, files in fresh.items():
            if files:
                self.fill(directory, unseen(sorted(files)))
        if not self._places and not self._directories:
            self._open("")
        self.tree = new_tree
        self.changed = True

    def encode(self) -> bytes:
        """Return the bytes of the index."""
        if self.tree is None:
            raise RuntimeError("an index without a tree mirrors nothing")
        records: list[tuple[str, bytes | memoryview]] = []
        for path in self.directories:
            if path in self._directories:
                records.append((path, codec.encode(self._fresh(path))))
            else:
                offset, length = self._places[path]
                records.append((path, self._data[offset : offset + length]))
        return worktree_index.encode(self.tree, records)

    def _open(self, path: str) -> None:
        self.changed = True
        if path not in self._directories:
            record = self.record(path)
            self._rows[path] = rows_of(record) if record else {}
            self._directories[path] = set(record.directory_names()) if record else set()
        elif path in self._files:
            self._rows[path] = rows_of(self._files.pop(path))

    def _fresh(self, path: str) -> Record:
        directories = "\0".join(sorted(self._directories[path]))
        if path in self._files:
            return msgspec.structs.replace(self._files[path], directories=directories)
        rows = self._rows[path]
        names = sorted(rows)
        ordered = [rows[name] for name in names]
        return Record(
            names="\0".join(names),
            kinds=bytes([row.kind for row in ordered]),
            stats=b"".join([row.stat for row in ordered]),
            ids=b"".join([row.id for row in ordered]),
            sizes=[row.size for row in ordered],
            directories=directories,
        )


def rows_of(record: Record) -> dict[str, Row]:
    """Return the files of a record, by name."""
    stats, identities = record.stats, record.ids
    return {
        name: Row(kind, size, identities[at * 32 : at * 32 + 32], stats[at * STAT_SIZE : at * STAT_SIZE + STAT_SIZE])
        for at, (name, kind, size) in enumerate(zip(record.file_names(), record.kinds, record.sizes, strict=True))
    }


def unseen(files: Sequence[tuple[str, Entry]]) -> Record:
    """Return the record of files, sorted by name, of which no stat data are known."""
    return Record(
        names="\0".join([name for name, _entry in files]),
        kinds=bytes([entry.kind for _name, entry in files]),
        stats=UNKNOWN_STAT * len(files),
        ids=b"".join([entry.id for _name, entry in files]),
        sizes=[entry.size for _name, entry in files],
        directories="",
    )


def row_of(entry: Entry, stat: bytes) -> Row:
    """Return the row of a tree's entry."""
    return Row(entry.kind, entry.size, entry.id, stat if entry.kind != tree.ERASED else UNKNOWN_STAT)


def load(path: str) -> WorktreeIndex:
    """Return the index at ``path``; an empty one when it is missing or damaged, since it can be made anew."""
    try:
        with open(path, "rb") as file:
            return WorktreeIndex(file.read())
    except (OSError, FormatError):
        return WorktreeIndex()


def save(index: WorktreeIndex, path: str, disk: Disk) -> None:
    """Write the index; not made durable, because a torn one is noticed and made anew."""
    write_file(path, index.encode(), disk, durable=False)
    index.changed = False


def remove(path: str) -> None:
    """Remove the index; the next command makes it anew."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
