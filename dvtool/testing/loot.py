"""Opens everything in and around a repository that any key in it opens, whatever its log says.

What is here trusts neither the log nor the index for what exists: it lists directories, tries every key on every file,
and takes whatever opens.  It is no part of what erases, and shares with it the formats alone.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from dvtool import digest, ids
from dvtool.crypto import KEY_SIZE, Sealer
from dvtool.errors import DvError, FormatError, KeyAccessError, NotFoundError, StorageError
from dvtool.formats import codec, index, keyfile, pack, repokey, sealed, storeformat
from dvtool.sharing.memory import Memory
from dvtool.store import compression
from dvtool.store.keys import Secrets
from dvtool.worktree.unlocking import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTROL: Final = ".dv"


class File(NamedTuple):
    """A file: where it is, and how it is called in findings (from the root, where it lies below that)."""

    path: str
    name: str

    def read(self) -> bytes:
        """Return what it holds; of a link, where it points to; nothing of what is neither."""
        try:
            mode = os.lstat(self.path).st_mode
            if stat.S_ISLNK(mode):
                return os.fsencode(os.readlink(self.path))
            if not stat.S_ISREG(mode):
                return b""
            with open(self.path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StorageError(
                "a file cannot be read, so nothing can be said of it", where=self.path, why=error.strerror or ""
            ) from None


class Piece(NamedTuple):
    """Bytes to be searched: the file that they are from, where in it, and whether they are, or should be, sealed."""

    place: str
    inside: str
    data: bytes
    sealed: bool = False


class Source(NamedTuple):
    """How a frame is opened again: its file, its key, its number, offset, stored length, raw length and flags."""

    file: File
    key: bytes
    at: tuple[int, int, int, int, int]


class Frame(NamedTuple):
    """An opened frame: its file, its number, the kind that it claims, its content, the key that opened it."""

    place: str
    number: int
    kind: int
    data: bytes
    key: str
    source: Source

    @property
    def inside(self) -> str:
        """How findings call it."""
        return f"frame {self.number}, {ids.KIND_NAMES.get(self.kind, 'unknown')}, key from {self.key}"


class Ring:
    """Every key that is left: what follows from the secrets, and what opens with that."""

    def __init__(self) -> None:
        """Hold none."""
        self.wraps: dict[bytes, str] = {}
        self.data: dict[bytes, str] = {}
        self.index: dict[bytes, str] = {}
        self.log: dict[bytes, str] = {}
        self.caches: dict[bytes, str] = {}
        self.stores: dict[bytes, str] = {}
        """Ids of stores, by which what is sealed is bound to them."""
        self.named: dict[bytes, list[bytes]] = {}
        """Data keys by the name of the pack that they are said to open: tried first."""


class Loot:
    """A repository's files, and what is in them."""

    def __init__(self, root: str, *, stores: Iterable[str] = ()) -> None:
        """List every worktree and open every key.

        Args:
            root: the root of a worktree: the directory with ``.dv``.
            stores: directories that are further stores of this repository, such as remotes.

        Raises:
            NotFoundError: when there is no repository, or no store at one of the places.
            KeyAccessError, FormatError: when the repository's own key does not open.
            StorageError: when something cannot be read.
        """
        self.root = os.path.realpath(root)
        if not os.path.isdir(f"{self.root}/{CONTROL}"):
            raise NotFoundError(
                "this is not the root of a dv repository", where=self.root, next=f"name the directory with {CONTROL}"
            )
        self.store = _store_of(self.root)
        self.others = [os.path.realpath(each) for each in stores]
        self.roots = _roots(self.root, self.store)
        self.ring = Ring()
        value, opened = _opened(self.store)
        self.format = value
        self.secrets = Secrets(opened)
        for place in (self.store, *self.others):
            self._take_store(place)
        self._take_keys()
        self._read: dict[str, bytes] = {}
        self._locations: dict[bytes, set[tuple[int, int, int, int, int]]] | None = None

    # ------------------------------------------------------------------------------------------ files

    def files(self) -> Iterator[File]:
        """Yield every file and link there is below the worktrees and stores, ``.dv`` and ``.git`` included."""
        for top in (*self.roots, *self.others):
            for path in _walk(top):
                yield File(path, self.name(path))

    def directories(self) -> Iterator[File]:
        """Yield every directory below the worktrees and stores."""
        for top in (*self.roots, *self.others):
            for path, _directories, _files in os.walk(top, onerror=_refuse):
                if path != top:
                    yield File(path, self.name(path))

    def name(self, path: str) -> str:
        """Return how findings call a path."""
        return path[len(self.root) + 1 :] if path.startswith(self.root + "/") else path

    # ------------------------------------------------------------------------------------------- keys

    def _take_store(self, place: str) -> None:
        """Note the ids and wrapping keys of a store; another one's may be sealed for others, or lie elsewhere."""
        value = _format(place)
        self.ring.stores[value.store] = place
        try:
            opened = _opened(place)[1]
        except DvError:
            if place == self.store:
                raise
            return
        secrets = Secrets(opened)
        self._take_wrap(secrets.wrap.current, f"{place}/{repokey.PLACE}")
        if secrets.wrap.previous is not None:
            self._take_wrap(secrets.wrap.previous, f"{place}/{repokey.PLACE}, previous")
        self.ring.caches.setdefault(secrets.cache, f"{place}/{repokey.PLACE}")

    def _take_wrap(self, key: bytes, origin: str) -> None:
        self.ring.wraps.setdefault(key, self.name(origin))

    def _take_keys(self) -> None:
        """Open every file that could hold keys, under every wrapping key, until no more come up."""
        for file, data in self._sealed(sealed.CACHE):
            payload = self.cache_of(file, data)
            if payload is not None and f"/{CONTROL}/remotes/" in file.path:
                self._take_memory(file, payload)
        for file, data in self._sealed(sealed.KEY_FILE):
            payload = self.key_file_of(file, data)
            try:
                found = keyfile.decode(payload) if payload is not None else None
            except FormatError:
                continue
            if found is not None:
                self.ring.index.setdefault(found.index, file.name)
                for name, key in found.packs.items():
                    self.ring.data.setdefault(key, file.name)
                    self.ring.named.setdefault(name, []).append(key)
        for file, data in self._sealed(sealed.LOG_KEY):
            payload = self.log_key_of(file, data)
            if payload is not None:
                self.ring.log.setdefault(payload[:KEY_SIZE], file.name)

    def _take_memory(self, file: File, payload: bytes) -> None:
        try:
            found = codec.decode(Memory, payload, what="memory of a remote", exact=False)
            if found.format:
                self.ring.stores.setdefault(storeformat.decode(found.format).store, file.name)
        except DvError:
            return
        for key in (found.wrap, found.previous):
            if len(key) == KEY_SIZE:
                self._take_wrap(key, file.path)

    def _sealed(self, kind: int) -> Iterator[tuple[File, bytes]]:
        for file in self.files():
            if not _begins(file.path, sealed.MAGIC + bytes([kind])):
                continue
            yield file, file.read()

    # ------------------------------------------------------------------------------------ sealed blobs

    def key_file_of(self, file: File, data: bytes) -> bytes | None:
        """Return the payload of a key file that any wrapping key opens."""
        return self._open(sealed.KEY_FILE, self.ring.wraps, self._bound(file, "keys/"), data)

    def log_key_of(self, file: File, data: bytes) -> bytes | None:
        """Return the payload of a log key that any wrapping key opens."""
        found = self._open(sealed.LOG_KEY, self.ring.wraps, self._bound(file, "keys/"), data)
        return found if found is not None and len(found) >= KEY_SIZE else None

    def entry_of(self, file: File, data: bytes) -> bytes | None:
        """Return the payload of a log entry that any log key opens, whether it should still or not."""
        return self._open(sealed.LOG_ENTRY, self.ring.log, self._bound(file, "log/"), data)

    def cache_of(self, file: File, data: bytes) -> bytes | None:
        """Return the payload of a cache that the cache key opens, as whichever cache it was sealed."""
        base = os.path.basename(file.path)
        words = [b"runs", base.encode("utf-8", "surrogateescape"), b"remote" + os.fsencode(base)]
        if base == "head":
            words += [b"head" + each for each in self._worktree_ids()]
        if f"/{CONTROL}/remotes/" in file.path:
            name = file.path.rpartition(f"/{CONTROL}/remotes/")[2]
            words.append(b"remote" + os.fsencode(name))
        contexts = [store + word for store in self.ring.stores for word in words]
        return self._open(sealed.CACHE, self.ring.caches, contexts, data)

    def _bound(self, file: File, directory: str) -> list[bytes]:
        """Return what a blob may have been bound to: its name in each of the stores."""
        return [store + directory.encode() + os.fsencode(os.path.basename(file.path)) for store in self.ring.stores]

    def _open(self, kind: int, keys: Iterable[bytes], contexts: list[bytes], data: bytes) -> bytes | None:
        for key in keys:
            for context in contexts:
                try:
                    return sealed.open_blob(kind, key, context, data, what="it")
                except KeyAccessError:
                    continue
                except DvError:
                    return None
        return None

    def _worktree_ids(self) -> list[bytes]:
        found = []
        for root in self.roots:
            try:
                with open(f"{root}/{CONTROL}/worktree", "rb") as file:
                    found.append(str(json.load(file)["id"]).encode())
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return found

    # ------------------------------------------------------------------------------------ index files

    def index_of(self, data: bytes) -> tuple[index.Reader, str] | None:
        """Return an index file opened with any index key, and where that key is from."""
        for key, origin in self.ring.index.items():
            for store in self.ring.stores:
                try:
                    return index.Reader(data, store, key), origin
                except DvError:
                    continue
        return None

    def locations(self) -> dict[bytes, set[tuple[int, int, int, int, int]]]:
        """Return where index files say that frames lie, by the name of the pack: for packs whose footer is damaged."""
        if self._locations is None:
            self._locations = {}
            for file in self.files():
                if not _begins(file.path, index.MAGIC):
                    continue
                opened = self.index_of(file.read())
                if opened is None:
                    continue
                packs = opened[0].directory.packs
                for record in _records(opened[0]):
                    _identity, at = index.unpack(record)
                    if at.pack < len(packs):
                        found = self._locations.setdefault(packs[at.pack].name, set())
                        found.add((at.number, at.offset, at.stored, at.raw, at.flags))
        return self._locations

    # ------------------------------------------------------------------------------------------ packs

    def packs(self) -> Iterator[tuple[File, bytes]]:
        """Yield every file that begins as a pack, wherever it lies and whatever it is called."""
        for file in self.files():
            if _begins(file.path, pack.MAGIC):
                yield file, file.read()

    def footer_of(self, data: bytes) -> tuple[pack.Footer, bytes, str] | None:
        """Return the footer of a pack opened with any data key, that key, and where it is from."""
        header, length = data[: pack.HEADER_SIZE], int.from_bytes(data[-pack.TAIL_SIZE : -pack.TRAILER_SIZE], "little")
        start = len(data) - pack.TAIL_SIZE - length
        if start < pack.HEADER_SIZE:
            return None
        bound = pack.associated(header, pack.FOOTER_NUMBER)
        for key in self._keys_for(data):
            try:
                plain = Sealer(key).open(pack.FOOTER_NUMBER, data[start : -pack.TAIL_SIZE], bound)
                return pack.decode_footer(plain), key, self.ring.data[key]
            except DvError:
                continue
        return None

    def frames(self, file: File, data: bytes) -> Iterator[Frame]:
        """Yield every frame of a pack that any key opens, by its footer, else by what index files say of it."""
        opened = self.footer_of(data)
        if opened is not None:
            footer, key, _origin = opened
            at = pack.HEADER_SIZE
            for number, (stored, flags, raw) in enumerate(zip(footer.stored, footer.flags, footer.raw, strict=True)):
                frame = self._frame(file, data, key, (number, at, stored, raw, flags))
                at += stored
                if frame is not None:
                    yield frame
            return
        known = self.locations().get(_name_of(file), set()) | self.locations().get(digest.sealed_name(data), set())
        for key in self._keys_for(data, file) if known else ():
            found = [self._frame(file, data, key, each) for each in sorted(known)]
            yield from filter(None, found)
            if any(found):
                return

    def _keys_for(self, data: bytes, file: File | None = None) -> list[bytes]:
        first = self.ring.named.get(digest.sealed_name(data), [])
        if file is not None:
            first = [*first, *self.ring.named.get(_name_of(file), [])]
        return [*dict.fromkeys([*first, *self.ring.data])]

    def again(self, source: Source) -> bytes:
        """Return the content of a frame that was opened before; nothing if its file is gone."""
        if source.file.path not in self._read:
            self._read = {source.file.path: source.file.read()}
        frame = self._frame(source.file, self._read[source.file.path], source.key, source.at)
        return frame.data if frame is not None else b""

    def _frame(self, file: File, data: bytes, key: bytes, at: tuple[int, int, int, int, int]) -> Frame | None:
        number, offset, stored, raw, flags = at
        bound = pack.associated(data[: pack.HEADER_SIZE], number)
        try:
            plain = Sealer(key).open(number, data[offset : offset + stored], bound)
            if flags & pack.COMPRESSED:
                plain = compression.decompress(plain, raw)
        except DvError:
            return None
        return Frame(file.name, number, flags & pack.KIND_MASK, plain, self.ring.data[key], Source(file, key, at))

    # -------------------------------------------------------------------------------------------- log

    def entries(self) -> Iterator[tuple[File, bytes]]:
        """Yield the payload of every log entry that any log key opens."""
        for file, data in self._sealed(sealed.LOG_ENTRY):
            payload = self.entry_of(file, data)
            if payload is not None:
                yield file, payload


def ids_in(data: bytes) -> Iterator[bytes]:
    """Yield every 32 bytes in a MessagePack value that could be an id: byte strings of that length, or of several."""
    try:
        pending: list[object] = [msgspec.msgpack.decode(data)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        return
    while pending:
        value = pending.pop()
        if isinstance(value, bytes):
            if value and len(value) % ids.ID_SIZE == 0:
                yield from (value[at : at + ids.ID_SIZE] for at in range(0, len(value), ids.ID_SIZE))
        elif isinstance(value, dict):
            pending += [*value, *value.values()]
        elif isinstance(value, list | tuple):
            pending += value


def records_of(reader: index.Reader) -> list[bytes]:
    """Return the records of an index file, as far as its pages open."""
    return list(_records(reader))


def _records(reader: index.Reader) -> Iterator[bytes]:
    for number in range(-(-len(reader) // index.PAGE_RECORDS)):
        try:
            yield from index.split(reader.page(number))
        except DvError:
            continue


def _walk(top: str) -> Iterator[str]:
    for path, directories, files in os.walk(top, onerror=_refuse):
        links = [each for each in directories if os.path.islink(f"{path}/{each}")]
        directories.sort()
        for name in sorted([*files, *links]):
            yield f"{path}/{name}"


def _refuse(error: OSError) -> None:
    raise StorageError(
        "a directory cannot be read, so nothing can be said of it",
        where=str(error.filename),
        why=error.strerror or "",
    )


def _begins(path: str, magic: bytes) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _name_of(file: File) -> bytes:
    try:
        return bytes.fromhex(os.path.basename(file.path))
    except ValueError:
        return b""


def _store_of(root: str) -> str:
    place = f"{root}/{CONTROL}/store"
    if os.path.isdir(place):
        return os.path.realpath(place)
    try:
        with open(place, "rb") as file:
            target = os.fsdecode(file.read(65536).removesuffix(b"\n"))
    except OSError as error:
        raise NotFoundError("the repository has no store", where=place, why=error.strerror or "") from None
    if "\0" in target or not os.path.isdir(target):
        raise NotFoundError("the store of this worktree is gone", where=target)
    return os.path.realpath(target)


def _roots(root: str, store: str) -> list[str]:
    """Return the roots of all worktrees of a store, the one that was named first; none that lies in another."""
    control = os.path.dirname(store)
    found = [root]
    if os.path.basename(control) == CONTROL:
        found.append(os.path.dirname(control))
    try:
        with open(f"{control}/worktrees", "rb") as file:
            found += [os.path.realpath(str(each)) for each in json.load(file).values()]
    except (OSError, ValueError, AttributeError):
        pass
    there = [each for each in dict.fromkeys(found) if each == root or _is_of(each, store)]
    return [each for each in there if not any(each.startswith(other + "/") for other in there)]


def _is_of(root: str, store: str) -> bool:
    """Return whether a directory is a worktree of a store: a list of worktrees is copied along with a repository."""
    try:
        return os.path.isdir(f"{root}/{CONTROL}") and _store_of(root) == store
    except NotFoundError:
        return False


def _format(place: str) -> storeformat.StoreFormat:
    try:
        with open(f"{place}/format", "rb") as file:
            return storeformat.decode(file.read())
    except OSError as error:
        raise NotFoundError(
            "there is no store", where=place, why=error.strerror or "", next="name the directory with 'format' in it"
        ) from None


def _opened(place: str) -> tuple[storeformat.StoreFormat, repokey.Opened]:
    value = _format(place)
    try:
        with open(f"{place}/{repokey.PLACE}", "rb") as file:
            data = file.read(repokey.SIZE_LIMIT + 1)
    except OSError as error:
        raise KeyAccessError(
            "the repository key cannot be read", where=f"{place}/{repokey.PLACE}", why=error.strerror or ""
        ) from None
    return value, repokey.decode(data, value.repository, ENVIRONMENT)
