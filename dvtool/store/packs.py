"""Writes and reads packs.

A writer seals frames straight into one reused buffer and writes it out in large pieces, hashing as it goes, so its
memory does not depend on the pack.  A data key is made with its writer, in the process that uses it.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
from array import array
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import digest, ids
from dvtool.crypto import KEY_SIZE, TAG_SIZE, Sealer
from dvtool.errors import MEND, DvError, FormatError, IntegrityError, NotFoundError, StorageError
from dvtool.formats import index, pack
from dvtool.storage.disk import ALIGNMENT, temporary_name
from dvtool.store.compression import Compressor, decompress

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvtool.effects import Entropy
    from dvtool.storage.backend import Backend
    from dvtool.storage.disk import Disk

BUFFER_SIZE: Final = 4 * 1024 * 1024
BUFFERS_KEPT: Final = 4
"""Buffers kept for the next packs of this process; a pack has one or two."""
DIRECT_FROM: Final = 1024 * 1024
"""Bytes at the end of a pack from which writing past the page cache pays for waiting on the disk."""


class FinishedPack(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A pack that is whole in the workspace and not yet part of the store.

    One that came from another store of the repository lies in this one's place already; its ``path`` is empty.

    ``ids`` has 32 bytes for each frame; ``stored`` and ``raw``, its sealed length and that of its content, have four
    as this machine orders them: lists of numbers would take nine times as much.
    """

    path: str
    name: bytes
    key: bytes
    content: int
    size: int
    ids: bytes
    flags: bytes
    stored: bytes
    raw: bytes

    def entry(self) -> index.PackEntry:
        """Return what an index file says of this pack."""
        return index.PackEntry(
            name=self.name, content=self.content, size=self.size, frames=len(self.flags), raw=sum(_numbers(self.raw))
        )

    def records(self, position: int) -> list[bytes]:
        """Return the index records of its frames, for a pack at ``position`` of an index file's list."""
        count = len(self.flags)
        stored = _numbers(self.stored)
        return index.records(
            ids.split(self.ids),
            itertools.repeat(position, count),
            range(count),
            itertools.accumulate(stored[:-1], initial=pack.HEADER_SIZE),
            stored,
            map(index.pack_raw_flags, _numbers(self.raw), self.flags),
        )


def _numbers(column: bytes) -> memoryview[int]:
    return memoryview(column).cast("I")


class PackWriter:
    """Writes one pack into a workspace."""

    def __init__(self, disk: Disk, workspace: str, *, content: int, store: bytes, entropy: Entropy) -> None:
        """Make a key, a header and an empty file."""
        self._disk = disk
        self._content = content
        self._key = entropy.bytes(KEY_SIZE)
        self._sealer = Sealer(self._key)
        self._header = pack.encode_header(pack.Header(content=content, store=store, salt=entropy.bytes(32)))
        self._path = f"{workspace}/{temporary_name()}"
        self._view, self._spare = _take_buffer(), _NO_BUFFER
        self._descriptor = disk.open_new(self._path)
        self._view[: pack.HEADER_SIZE] = self._header
        self._fill = pack.HEADER_SIZE
        self._aligned = True
        self._hasher = digest.SealedHasher()
        self._compressor = Compressor()
        self._ids: list[bytes] = []
        self._flags = bytearray()
        self._stored = array("I")
        self._raw = array("I")
        self.size = pack.HEADER_SIZE
        self._written: Callable[[], None] = _nothing_to_wait_for
        self.wait: Callable[[], None] = _nothing_to_wait_for

    def __len__(self) -> int:
        """Return the number of frames so far."""
        return len(self._ids)

    @property
    def ids(self) -> list[bytes]:
        """The ids of the frames so far."""
        return self._ids

    def add(self, kind: int, identity: bytes, data: bytes | memoryview) -> None:
        """Seal one frame.

        Raises:
            FormatError: when ``data`` is longer than the format allows.
        """
        raw = len(data)
        if raw > pack.FRAME_LIMIT:
            raise FormatError(
                f"a {ids.KIND_NAMES[kind]} is too long to be stored",
                why=f"it has {raw:,} bytes, and no frame of a pack holds more than {pack.FRAME_LIMIT:,}",
                next="track directories rather than very many single files, so that fewer names stand in one object",
            )
        packed = self._compressor.try_compress(data)
        if packed is None:
            self.add_packed(kind, identity, data, raw)
        else:
            self.add_packed(kind | pack.COMPRESSED, identity, packed, raw)

    def add_packed(self, flags: int, identity: bytes, data: bytes | memoryview, raw: int) -> None:
        """Seal one frame whose content is compressed already, or is not to be: as it lay in another pack.

        Args:
            flags: its kind, with the flag COMPRESSED if it is.
            identity: its id.
            data: what is to be sealed.
            raw: the length of the content, in bytes.
        """
        stored = len(data) + TAG_SIZE
        if stored > BUFFER_SIZE - self._fill:
            self._write_ahead()
        associated = pack.associated(self._header, len(self._ids))
        if stored <= BUFFER_SIZE - self._fill:
            end = self._fill + stored
            self._sealer.seal_into(len(self._ids), data, associated, self._view[self._fill : end])
            self._fill = end
        else:
            sealed = self._sealer.seal(len(self._ids), data, associated)
            self._write_out()
            self._hasher.update(sealed)
            self._disk.append(self._descriptor, self._path, sealed)
            self._aligned = False
        self._ids.append(identity)
        self._flags.append(flags)
        self._stored.append(stored)
        self._raw.append(raw)
        self.size += stored

    def finish(self) -> FinishedPack:
        """Write the footer, begin to make the file durable, and return it; :attr:`wait` tells when it is."""
        footer = pack.Footer(ids=b"".join(self._ids), flags=bytes(self._flags), stored=self._stored, raw=self._raw)
        sealed = self._sealer.seal(
            pack.FOOTER_NUMBER, pack.encode_footer(footer), pack.associated(self._header, pack.FOOTER_NUMBER)
        )
        if self._fill >= DIRECT_FROM:
            self._write_ahead()
        self._write_out()
        self._release()
        end = sealed + len(sealed).to_bytes(4, "little")
        self._hasher.update(end)
        trailer = self._hasher.accident()
        self._hasher.name_only(trailer)
        self._disk.append(self._descriptor, self._path, end + trailer)
        size = self.size + len(end) + len(trailer)
        if os.fstat(self._descriptor).st_size != size:
            raise StorageError(
                "the disk took less than it was given",
                where=self._path,
                next="check the disk's health and its log, then run the command again",
            )
        self.wait = self._disk.sync_behind(self._descriptor, self._path)
        self._descriptor = -1
        return FinishedPack(
            path=self._path,
            name=self._hasher.name(),
            key=self._key,
            content=self._content,
            size=size,
            ids=footer.ids,
            flags=footer.flags,
            stored=self._stored.tobytes(),
            raw=self._raw.tobytes(),
        )

    def abandon(self) -> None:
        """Remove the unfinished file."""
        if self._descriptor >= 0:
            with contextlib.suppress(Exception):
                self._written()  # interrupted here too, the thread keeps descriptor and buffers: nothing is reused
            os.close(self._descriptor)
            self._descriptor = -1
            self._release()
        self._disk.unlink(self._path)

    def _write_ahead(self) -> None:
        """Begin to write what fills whole blocks, and go on in the other buffer with the rest."""
        if not self._aligned:
            self._write_out()
            return
        whole = self._fill - self._fill % ALIGNMENT
        piece, rest = self._view[:whole], self._view[whole : self._fill]
        self._hasher.update(piece)
        self._settle()
        self._written = self._disk.append_behind(self._descriptor, self._path, piece)
        following = self._spare or _take_buffer()
        following[: len(rest)] = rest
        self._fill = len(rest)
        self._view, self._spare = following, self._view

    def _write_out(self) -> None:
        self._settle()
        if self._fill:
            piece = self._view[: self._fill]
            self._hasher.update(piece)
            self._disk.append(self._descriptor, self._path, piece)
            self._aligned = False
            self._fill = 0

    def _release(self) -> None:
        """Hand the buffers on to the next pack: fresh memory costs as much as sealing what goes into it."""
        if len(_buffers) < BUFFERS_KEPT:
            _buffers.extend(buffer for buffer in (self._view, self._spare) if buffer)
        self._view = self._spare = _NO_BUFFER

    def _settle(self) -> None:
        """Wait for the piece that is being written."""
        self._written()  # if this is interrupted, the thread still has its buffer, and abandoning waits for it again
        self._written = _nothing_to_wait_for


_NO_BUFFER: Final = memoryview(b"")
_buffers: list[memoryview] = []


def _take_buffer() -> memoryview:
    """Return memory that begins at a page, as writing past the page cache asks for.

    It is private: memory that processes share after a fork would mix their packs.
    """
    try:
        return _buffers.pop()
    except IndexError:
        pass
    try:
        return memoryview(mmap.mmap(-1, BUFFER_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError as error:
        raise StorageError(
            "there is no memory for a pack", why=error.strerror or str(error), next="free some, then try again"
        ) from None


def _nothing_to_wait_for() -> None:
    """Stand for the wait of a pack that is not finished."""


def missing(file: str) -> IntegrityError:
    """Return what is said of a pack that is gone."""
    return IntegrityError(
        f"pack {file.removeprefix('packs/')[:16]} is missing",
        where=file,
        next=MEND,
    )


class PackReader:
    """Reads frames of one pack, by location."""

    def __init__(self, backend: Backend, entry: index.PackEntry, key: bytes) -> None:
        """Read and check the header.

        It names the store for which the pack was written first. That need not be this one: packs move between the
        stores of a repository as they are. What vouches for them is their key, which authenticates the header.

        Raises:
            IntegrityError: when it is damaged.
            NotFoundError: when the pack is missing.
        """
        self._backend = backend
        self.file = pack.file_name(entry.name)
        self._entry = entry
        self._key = key
        self._sealer = Sealer(key)
        self._header = backend.read(self.file, 0, pack.HEADER_SIZE)
        try:
            header = pack.decode_header(self._header)
        except FormatError as error:
            raise self._damaged(error.what, b"") from None
        if header.content != entry.content:
            raise self._damaged("it holds another kind of content", b"")

    def read(self, identity: bytes, location: index.Location) -> bytes:
        """Return the content of one frame; its id is for the caller to check.

        Raises:
            IntegrityError: when the frame is damaged, missing or not what its footer says.
        """
        return self.open(identity, location, self.sealed(location.offset, location.stored))

    def sealed(self, offset: int, length: int) -> bytes:
        """Return bytes as they lie in the pack.

        Raises:
            IntegrityError: when the pack went since it was opened.
            StorageError: when the disk refuses.
        """
        try:
            return self._backend.read(self.file, offset, length)
        except NotFoundError:
            raise missing(self.file) from None

    def open(self, identity: bytes, location: index.Location, sealed: bytes | memoryview) -> bytes:
        """Return the content of a frame whose sealed bytes have been read."""
        return self.unpacked(identity, location, self.packed(identity, location, sealed))

    def packed(self, identity: bytes, location: index.Location, sealed: bytes | memoryview) -> bytes:
        """Return what was sealed as a frame, compressed where it is; raises as :meth:`read`."""
        try:
            if len(sealed) != location.stored or len(sealed) < TAG_SIZE:
                raise IntegrityError("the pack is truncated")
            return self._sealer.open(location.number, sealed, pack.associated(self._header, location.number))
        except DvError as error:
            raise self._damaged(error.what, identity) from None

    def unpacked(self, identity: bytes, location: index.Location, packed: bytes) -> bytes:
        """Return the content of a frame from what was sealed; raises as :meth:`read`."""
        try:
            if location.flags & pack.COMPRESSED:
                return decompress(packed, location.raw)
            if len(packed) != location.raw:
                raise IntegrityError("a frame has another length than its footer claims")
        except DvError as error:
            raise self._damaged(error.what, identity) from None
        return packed

    def footer(self) -> pack.Footer:
        """Return the footer, opened.

        Raises:
            IntegrityError: when it is damaged.
        """
        size = self._backend.size(self.file)
        tail = self._backend.read(self.file, max(0, size - pack.TAIL_SIZE), pack.TAIL_SIZE)
        length = int.from_bytes(tail[:4], "little")
        at = size - pack.TAIL_SIZE - length
        if len(tail) != pack.TAIL_SIZE or at < pack.HEADER_SIZE:
            raise self._damaged("the pack is truncated", b"")
        if length > pack.FOOTER_LIMIT:
            raise self._damaged("its footer claims more than the format allows", b"")
        sealed = self._backend.read(self.file, at, length)
        try:
            plain = self._sealer.open(pack.FOOTER_NUMBER, sealed, pack.associated(self._header, pack.FOOTER_NUMBER))
            return pack.decode_footer(plain)
        except DvError as error:
            raise self._damaged(error.what, b"") from None

    def described(self) -> FinishedPack:
        """Return what the pack says of itself, as its writer had it; it has no path, since it is where it belongs.

        Raises:
            IntegrityError: when its footer is damaged.
        """
        footer = self.footer()
        return FinishedPack(
            path="",
            name=self._entry.name,
            key=self._key,
            content=self._entry.content,
            size=self._backend.size(self.file),
            ids=footer.ids,
            flags=footer.flags,
            stored=array("I", footer.stored).tobytes(),
            raw=array("I", footer.raw).tobytes(),
        )

    def _damaged(self, why: str, identity: bytes) -> IntegrityError:
        return IntegrityError(
            f"pack {self._entry.name.hex()[:16]} is damaged",
            where=self.file + (f", object {identity.hex()[:16]}" if identity else ""),
            why=why,
            next=f"{MEND}; what lies in other packs still comes out",
        )
