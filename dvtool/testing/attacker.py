"""Searches all that is left of a repository for what was erased, as an attacker with every remaining key would.

This is the proof kit of an erasure: it shares nothing with what erases but the formats.  It trusts neither the log nor
an index for what there is: it lists directories, opens every file with every key that it finds, searches what comes
out in every disguise, and tries whether anything retained confirms a guess.

``python -m dvtool.testing.attacker ROOT --word TEXT --content FILE`` does so from a shell; see
``docs/howto/prove-an-erasure.md``.  :data:`CHECKLIST` says for each place where data can survive how it is searched.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import ids, paths
from dvtool.errors import DvError, UsageError
from dvtool.formats import index, pack, sealed, tree, worktree_index
from dvtool.tables import looking
from dvtool.testing.canary import Lookout, Wanted, unpacked
from dvtool.testing.guessing import Guess, Guesser, Model, Where
from dvtool.testing.locators import Locators
from dvtool.testing.loot import CONTROL, File, Loot, Piece, Source, ids_in, records_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROWS: Final[dict[str, str]] = {
    "names of files": "the name of every file and directory below every worktree and store",
    "worktree": "every file as it is, what is compressed in it, tables value by value",
    "notes for Git": "dv.lock, dv.toml, .dvignore, .gitignore and .git/info/exclude, as the files of the worktree",
    "Git": "every other file below .git, loose objects decompressed; packed objects are not taken apart",
    "databases": "every SQLite file with its journals, as it is: free pages and the write-ahead log included",
    "journals": "every file below .dv/runs, tables value by value",
    "unfinished files": ".dv/tmp, tmp/ of a store and files named .dv-partial-*: as they are, and opened with any key",
    "quarantine": "every file below .dv/quarantine: as it is, and opened with any key",
    "index of the worktree": ".dv/index as it is: names and ids",
    "caches": ".dv/cache and .dv/remotes: as they are, and opened with the cache key or any other",
    "notes of dv": "every other file below .dv, as it is",
    "files of the store": "every file of a store, as it is: nothing may lie there unsealed",
    "chunks": "every frame with a chunk, of every pack that any data key opens, tables value by value",
    "objects": "every frame with an object, likewise: manifests, trees, snapshots, stages, runs, tables, records",
    "footers": "the ids in the footer of every pack that any data key opens",
    "index files": "the ids in every page and directory of every index file that any index key opens",
    "key files": "every key file and log key that any wrapping key opens",
    "log": "every entry that any log key opens, though it be one that the log does not name any more",
    "locators": "every locator of an erasure, opened with keys that lie about and by the nonces of what is retained",
    "long files": "files of several chunks, put together as any retained tree names them, tables value by value",
    "saved copies": "copies that were made before: that a pack among them opens is a finding by itself",
    "directories": "every directory with the wanted put back: is the id that this gives retained anywhere?",
    "fingerprints": "every fingerprint of a run, computed with the wanted put back",
    "totals": "every total in runs, snapshots and directories, less what is left: is that the size of the wanted?",
}
"""What is searched, and how; each finding names its row."""

CHECKLIST: Final[dict[str, tuple[str, ...]]] = {
    "chunks and packs": ("chunks", "objects", "files of the store"),
    "shared chunks": ("chunks", "long files"),
    "pack footers and index files": ("footers", "index files"),
    "manifests": ("objects",),
    "trees": ("objects",),
    "directory checksums and fingerprints in runs": ("directories", "fingerprints", "totals"),
    "snapshot, stage and run objects": ("objects", "totals"),
    "log entries, ref and tag names, operation log": ("log", "objects"),
    "messages, run names, parameters": ("objects", "journals", "fingerprints"),
    "metrics tables, sample and prediction logs, captured output, patches": ("chunks", "long files", "journals"),
    "dv.lock, .gitignore": ("notes for Git",),
    "models and checkpoints": ("chunks", "long files", "worktree"),
    "derived data sets": ("chunks", "long files", "worktree"),
    "previews and table statistics": (),
    "stat cache and databases": ("index of the worktree", "databases"),
    "temp files and partial transfers": ("unfinished files",),
    "caches of lazy readers": ("caches",),
    "caches of dv:// readers and workers": (),
    "worktree and other worktrees of the store": ("worktree", "names of files", "notes of dv"),
    "hard links out of the worktree": (),
    "remotes that are directories": ("files of the store", "chunks", "objects"),
    "remotes elsewhere: current and noncurrent objects, multipart": (),
    "keys/, old keys": ("key files", "saved copies"),
    "damaged files that a repair took out": ("quarantine",),
    "clones and their acknowledgements": (),
    "exports": (),
    "crash journal of an erasure": ("notes of dv", "unfinished files"),
    "erasure record": ("objects", "log"),
    "locator of an erasure, sealed for whoever holds an old snapshot": ("locators",),
    "certificate": ("worktree", "notes of dv"),
    "Git's own history": ("Git",),
}
"""Places where erased data, or a trace that confirms a guess, can survive; by row.  Without a row it is *not present*:
there is no such thing in a repository so far, or it lies where no directory leads to."""

LARGEST: Final = 256 << 20
"""Bytes of a long file that are searched in one piece."""
OVERLAP: Final = 64 << 10
"""Bytes that two such pieces have in common."""

_STORE: Final = "files of the store"
_BY_MAGIC: Final = (pack.MAGIC, index.MAGIC, sealed.MAGIC)
_BELOW_CONTROL: Final = (
    ("store/tmp", "unfinished files"),
    ("store", _STORE),
    ("tmp", "unfinished files"),
    ("quarantine", "quarantine"),
    ("runs", "journals"),
    ("index", "index of the worktree"),
    ("cache", "caches"),
    ("remotes", "caches"),
)
_NOTES: Final = frozenset({"dv.lock", "dv.toml", ".dvignore", ".git/info/exclude"})
_SQLITE: Final = (b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7")
"""How a database, a write-ahead log and a rollback journal begin (SQLite's "Database File Format", 1.3, 3 and 4.1)."""
_HEX_ID: Final = re.compile(rb"[0-9a-fA-F]{64}")


class Finding(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Something that should not be there.

    ``row`` is the row of :data:`ROWS` by which it was found, ``place`` the file, ``inside`` where in it, ``found`` what
    of the wanted it is, and ``disguise`` how it looks there, or what it follows from.
    """

    row: str
    place: str
    inside: str
    found: str
    disguise: str

    def __str__(self) -> str:
        """Return it as a line."""
        inside = f", {self.inside}" if self.inside else ""
        return f"{self.place}{inside}: {self.found} ({self.disguise}) [{self.row}]"


def search(
    root: str,
    wanted: Wanted,
    *,
    saved: Iterable[str] = (),
    stores: Iterable[str] = (),
    rows: Iterable[str] = tuple(ROWS),
) -> tuple[Finding, ...]:
    """Search everything that is left, and return what was found, sorted; nothing, if an erasure did its work.

    The key is taken from where dv takes it: the passphrase or identity from the environment.  Memory grows with the
    largest file and the number of objects.

    Args:
        root: the root of a worktree, the directory with ``.dv``.
        wanted: what is looked for.
        saved: files, or directories of files, that were copied from the store before.  Key files among them are no
            keys: what is asked is what the keys that are left open.
        stores: directories that are further stores of the repository, such as remotes.
        rows: the rows of :data:`ROWS` that are searched.

    Raises:
        UsageError: when something wanted is too short to be recognised, nothing is wanted, or a row is unknown.
        NotFoundError: when there is no repository, or something that was named is not there.
        KeyAccessError: when the repository's key does not open.
        StorageError: when a file cannot be read: nothing could be said of it.
    """
    wanted.check()
    chosen = frozenset(rows)
    unknown = sorted(chosen - ROWS.keys())
    if unknown:
        raise UsageError("there is no such row", where=", ".join(unknown), why=f"there are {', '.join(ROWS)}")
    return tuple(sorted(set(_Search(Loot(root, stores=stores), wanted, chosen).all(tuple(saved)))))


class _Search:
    """One search."""

    def __init__(self, loot: Loot, wanted: Wanted, rows: frozenset[str]) -> None:
        self._loot = loot
        self._rows = rows
        self._model = Model(loot.secrets, loot.format.chunking)
        self._chunks: dict[bytes, Source] = {}
        self._locators = Locators()
        self._learn()
        self._guesser = Guesser(self._model, wanted)
        self._lookout = Lookout(wanted, self._guesser.ids(wanted.kept), self._model.cut)

    def all(self, saved: tuple[str, ...]) -> Iterator[Finding]:
        yield from self._names()
        for file in self._loot.files():
            yield from self._searched(self._pieces(file, file.read()))
        yield from self._searched(("locators", piece) for piece in self._locators.opened())
        yield from self._searched(self._long_files())
        yield from self._saved(saved)
        for row, guesses in (
            ("directories", self._guesser.directories),
            ("fingerprints", self._guesser.fingerprints),
            ("totals", self._guesser.totals),
        ):
            if row in self._rows:
                yield from (_finding(row, guess) for guess in guesses())

    # ------------------------------------------------------------------------------------ searching

    def _searched(self, pieces: Iterable[tuple[str, Piece]]) -> Iterator[Finding]:
        for row, piece in pieces:
            if row not in self._rows:
                continue
            for inside, data in _taken_apart(piece):
                for hit in self._lookout.look(data, sealed=piece.sealed):
                    at = ", ".join(filter(None, (inside, f"byte {hit.offset:,}")))
                    yield Finding(row=row, place=piece.place, inside=at, found=hit.found, disguise=hit.disguise)

    def _names(self) -> Iterator[Finding]:
        """Search names of files and directories, and paths for what stands in more than one name."""
        if "names of files" not in self._rows:
            return
        for file in (*self._loot.files(), *self._loot.directories()):
            above, name = os.path.split(file.name)
            hits = {(hit.found, hit.disguise) for hit in self._lookout.look(os.fsencode(name))}
            if not hits:
                path = {(hit.found, hit.disguise) for hit in self._lookout.look(os.fsencode(file.name))}
                hits = path - {(hit.found, hit.disguise) for hit in self._lookout.look(os.fsencode(above))}
            for found, disguise in hits:
                yield Finding(row="names of files", place=file.name, inside="its name", found=found, disguise=disguise)

    def _pieces(self, file: File, data: bytes) -> Iterator[tuple[str, Piece]]:
        """Yield everything that a file is and holds, each with its row."""
        row = self._row_of(file, data)
        yield row, Piece(file.name, "", data, sealed=data.startswith(_BY_MAGIC))
        for own, piece in self._opened(file, data):
            yield own if row == _STORE else row, piece

    def _row_of(self, file: File, data: bytes) -> str:
        """Return the row to which a file belongs."""
        if data.startswith(_SQLITE):
            return "databases"
        if paths.is_partial(os.path.basename(file.path)):
            return "unfinished files"
        for top in self._loot.roots:
            if file.path.startswith(top + "/"):
                return _row_of_path(file.path[len(top) + 1 :])
        is_unfinished = any(paths.below(file.path, os.path.join(each, "tmp")) for each in self._loot.others)
        return "unfinished files" if is_unfinished else _STORE

    def _opened(self, file: File, data: bytes) -> Iterator[tuple[str, Piece]]:
        """Yield what any key makes of a file."""
        loot = self._loot
        if data.startswith(pack.MAGIC):
            footer = loot.footer_of(data)
            if footer is not None:
                yield "footers", Piece(file.name, f"footer, key from {footer[2]}", footer[0].ids)
            for frame in loot.frames(file, data):
                row = "chunks" if frame.kind == ids.CHUNK else "objects"
                yield row, Piece(file.name, frame.inside, frame.data)
        elif data.startswith(index.MAGIC):
            found = loot.index_of(data)
            if found is not None:
                reader, origin = found
                names = b"".join(entry.name for entry in reader.directory.packs)
                yield "index files", Piece(file.name, f"pages, key from {origin}", b"".join(records_of(reader)))
                yield (
                    "index files",
                    Piece(file.name, f"directory, key from {origin}", reader.directory.prefixes + names),
                )
        elif data.startswith(sealed.MAGIC):
            for row, what, payload in (
                ("log", "entry", loot.entry_of(file, data)),
                ("key files", "keys", loot.key_file_of(file, data)),
                ("key files", "log key", loot.log_key_of(file, data)),
                ("caches", "opened", loot.cache_of(file, data)),
            ):
                if payload is not None:
                    yield row, Piece(file.name, what, payload)

    def _long_files(self) -> Iterator[tuple[str, Piece]]:
        """Yield files of several chunks as trees name them, each content once."""
        if "long files" not in self._rows:
            return
        seen = set()
        for identity, node in self._model.nodes.items():
            if not isinstance(node, tree.Leaf):
                continue
            for name, entry in zip(tree.names_of(node), tree.entries_of(node), strict=True):
                if entry.kind not in tree.LONG or entry.id in seen:
                    continue
                seen.add(entry.id)
                where = self._model.places[identity]
                for data in _windows(self._chunks_of(entry.id, 0)):
                    yield "long files", Piece(where.place, f"file {name!r} of the tree in {where.inside}", data)

    def _chunks_of(self, identity: bytes, depth: int) -> Iterator[bytes]:
        """Yield the chunks below a node of a manifest that are there."""
        node = self._model.manifests.get(identity)
        if node is None or depth > 12:  # noqa: PLR2004 - no manifest has more levels
            return
        for at in range(0, len(node.ids), ids.ID_SIZE):
            below = node.ids[at : at + ids.ID_SIZE]
            if node.level:
                yield from self._chunks_of(below, depth + 1)
            elif below in self._chunks:
                yield self._loot.again(self._chunks[below])

    def _saved(self, saved: tuple[str, ...]) -> Iterator[Finding]:
        """Yield what copies from before still give away; a pack that is still part of the store is no such copy."""
        if "saved copies" not in self._rows:
            return
        for place in saved:
            for file in _files_at(place):
                data = file.read()
                for _row, piece in self._opened(file, data):
                    yield from self._searched([("saved copies", piece)])
                still = f"{self._loot.store}/packs/{os.path.basename(file.path)}"
                if not data.startswith(pack.MAGIC) or File(still, still).read() == data:
                    continue
                found = self._loot.footer_of(data)
                origin = found[2] if found is not None else next((f.key for f in self._loot.frames(file, data)), None)
                if origin is not None:
                    yield Finding(
                        row="saved copies",
                        place=file.name,
                        inside="footer" if found is not None else "a frame",
                        found="a pack that opens",
                        disguise=f"key from {origin}",
                    )

    # -------------------------------------------------------------------------------------- learning

    def _learn(self) -> None:
        """Note every object and every id that is retained anywhere."""
        for file in self._loot.files():
            data = file.read()
            if data.startswith(pack.MAGIC):
                for frame in self._loot.frames(file, data):
                    where = Where(file.name, frame.inside)
                    identity = self._model.take(frame.kind, frame.data, where)
                    self._locators.take_object(frame.kind, identity, frame.data, f"{file.name}, {frame.inside}")
                    if frame.kind == ids.TABLE:
                        self._locators.take_payload(file.name, frame.inside, frame.data)
                    if frame.kind == ids.CHUNK:
                        self._chunks.setdefault(identity, frame.source)
                    else:
                        self._retain(ids_in(frame.data), where)
            for row, piece in self._opened(file, data):
                if row in {"footers", "index files"}:
                    step = ids.ID_SIZE if row == "footers" else index.RECORD_SIZE
                    found = (piece.data[at : at + ids.ID_SIZE] for at in range(0, len(piece.data), step))
                    self._retain(found, Where(piece.place, piece.inside))
                elif row in {"log", "caches"}:
                    self._retain(ids_in(piece.data), Where(piece.place, piece.inside))
                    self._locators.take_payload(piece.place, piece.inside, piece.data)
            if not data.startswith(_BY_MAGIC):
                self._retain(_ids_in_the_clear(data), Where(file.name, ""))
                self._locators.take_file(file.name, data)

    def _retain(self, found: Iterable[bytes], where: Where) -> None:
        for identity in found:
            self._model.retain(identity, where)


def _ids_in_the_clear(data: bytes) -> Iterator[bytes]:
    """Yield the ids that a file holds which is not sealed: in hexadecimal, in MessagePack, in a worktree's index."""
    yield from (bytes.fromhex(found.decode()) for found in _HEX_ID.findall(data))
    if data.startswith(worktree_index.MAGIC):
        try:
            top, places = worktree_index.decode(data)
            yield top
            for at, size in places.values():
                found = worktree_index.decode_record(memoryview(data)[at : at + size]).ids
                yield from (found[start : start + ids.ID_SIZE] for start in range(0, len(found), ids.ID_SIZE))
        except DvError:
            return
    else:
        yield from ids_in(data)


def _row_of_path(path: str) -> str:
    """Return the row to which a path below a worktree belongs."""
    if path in _NOTES or os.path.basename(path) == ".gitignore":
        return "notes for Git"
    if path.startswith(".git/"):
        return "Git"
    if not path.startswith(CONTROL + "/"):
        return "worktree"
    rest = path.removeprefix(CONTROL + "/")
    return next((row for name, row in _BELOW_CONTROL if paths.below(rest, name)), "notes of dv")


def _taken_apart(piece: Piece) -> Iterator[tuple[str, bytes]]:
    """Yield (where, bytes) of a piece and, where it is a table, or holds one, of everything in that."""
    yield piece.inside, piece.data
    if piece.sealed:
        return
    for how, data in (("", piece.data), *((how, each) for how, each in unpacked(piece.data, everywhere=False))):
        if looking.is_table(data):
            for where, part in looking.parts(data):
                yield ", ".join(filter(None, (piece.inside, how, where))), part


def _windows(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what chunks come to, in one piece if that is not too long."""
    found = bytearray()
    for chunk in chunks:
        found += chunk
        if len(found) > LARGEST:
            yield bytes(found)
            del found[:-OVERLAP]
    yield bytes(found)


def _files_at(place: str) -> Iterator[File]:
    if not os.path.lexists(place):
        raise UsageError("there is nothing at this place", where=place, next="name a file or a directory")
    if not os.path.isdir(place):
        yield File(place, place)
        return
    for path, directories, files in os.walk(place):
        directories.sort()
        yield from (File(f"{path}/{name}", f"{path}/{name}") for name in sorted(files))


def _finding(row: str, guess: Guess) -> Finding:
    place, inside = guess.where
    return Finding(row=row, place=place, inside=inside, found=guess.found, disguise=guess.by)


# ------------------------------------------------------------------------------------------ command line


def main(words: Sequence[str]) -> int:
    """Search a repository and print a line for each finding.

    Returns:
        0 if nothing was found, 1 if something was, 2 if it could not be searched.
    """
    asked = _parser().parse_args(words)
    try:
        wanted = Wanted(
            contents=tuple(map(_content, asked.content)),
            words=(*asked.word, *(word for path in asked.words_from for word in _lines(path))),
            ids=tuple(map(_identity, asked.id)),
            files=tuple((path, _content(file)) for path, file in asked.file),
            kept=tuple(map(_content, asked.kept)),
        )
        found = search(asked.root, wanted, saved=asked.saved, stores=asked.store)
    except DvError as error:
        sys.stderr.write(f"attacker: {error}\n")
        return 2
    sys.stdout.write("".join(f"{each}\n" for each in found))
    sys.stderr.write(f"{len(found):,} found in {len(ROWS)} kinds of places\n")
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dvtool.testing.attacker",
        description="Search everything that is left of a repository for what was erased, with every key that is left.",
        epilog="Exit code: 0 if nothing was found, 1 if something was, 2 if it could not be searched.",
    )
    parser.add_argument("root", metavar="ROOT", help="the directory with .dv")
    for flag, metavar, text in (
        ("--word", "TEXT", "a path, a name of a file, a person's id"),
        ("--words-from", "FILE", "a file with a word on each line, which keeps them out of the list of processes"),
        ("--content", "FILE", "a copy of an erased file"),
        ("--id", "HEX", "what an erased object was called"),
        ("--kept", "FILE", "a file that rightly remains; what it has in common with the others is not looked for"),
        ("--saved", "PATH", "a pack, or a directory of packs, that was copied before"),
        ("--store", "DIR", "a further store of the repository, such as a remote"),
    ):
        parser.add_argument(flag, metavar=metavar, help=text, action="append", default=[])
    parser.add_argument(
        "--file",
        metavar=("PATH", "FILE"),
        nargs=2,
        help="the path of an erased file in the data set, and a copy of it",
        action="append",
        default=[],
    )
    return parser


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError("a file cannot be read", where=path, why=error.strerror or "") from None


def _lines(path: str) -> list[str]:
    try:
        return [line for line in _content(path).decode().splitlines() if line]
    except UnicodeDecodeError:
        raise UsageError("a file of words is not UTF-8", where=path) from None


def _identity(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError("an id is not hexadecimal", where=text) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
