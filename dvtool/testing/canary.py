"""What an erased person's data could be known by, and every disguise in which it is looked for.

A :class:`Wanted` says what is looked for; a :class:`Lookout` finds it in bytes: as it is, in hexadecimal digits, in
base64 (in all three alignments, in both alphabets), in UTF-16, escaped as JSON or URLs do, composed otherwise, and in
what is compressed.  It knows nothing of stores; :mod:`dvtool.testing.attacker` brings it everything there is.
"""

from __future__ import annotations

import base64
import bz2
import json
import lzma
import unicodedata
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import msgspec

from dvtool.errors import UsageError
from dvtool.store import compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

WORD_LEAST: Final = 4
"""Bytes of the shortest word; anything shorter is found everywhere."""
CONTENT_LEAST: Final = 8
"""Bytes of the shortest content that is looked for as it is; a shorter one is looked for by its ids alone."""
SEALED_LEAST: Final = 6
"""Bytes of the shortest needle that is looked for in sealed bytes, where any four stand somewhere by chance."""
ID_LEAST: Final = 8
"""Bytes of an id by which it is recognised: indexes keep so many, and 64 bits are equal by chance nowhere."""
PROBE: Final = 32
"""Bytes of a stretch of a long content that is looked for."""
SPREAD: Final = 16
"""Stretches that are spread over a long content, besides those at which its chunks begin."""
CHUNKS: Final = 64
"""Chunks of a content whose beginnings are looked for."""
DISTINCT: Final = 6
"""Different bytes that a stretch has at least; zeros, or blanks, are found everywhere."""
WHOLE: Final = 64 << 10
"""Bytes of the longest content without a telling stretch that is looked for as a whole."""
INFLATED: Final = 64 << 20
"""Bytes of what is compressed that are looked at."""
DEPTH: Final = 3
"""How often what was compressed is looked into for what is compressed."""
MEMBERS: Final = 64
"""Places in the middle of a file at which something compressed may begin that are tried."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for.

    ``contents`` are the bytes of erased files, ``words`` texts such as paths, names of files, a person's id (4 bytes
    of UTF-8 or more), ``ids`` what the erased objects were called (8 bytes or more, 32 as a rule).  ``files`` are
    erased files with their paths, for who knows them: their contents are looked for as the others, and directories
    are guessed with them in their places; their paths are not words unless they are among these as well.

    ``kept`` are contents that rightly remain.  What they have in common with the others (the first bytes of an image,
    the schema of a table, a whole chunk) is not looked for.
    """

    contents: tuple[bytes, ...] = ()
    words: tuple[str, ...] = ()
    ids: tuple[bytes, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    kept: tuple[bytes, ...] = ()

    @property
    def all_contents(self) -> tuple[bytes, ...]:
        """All contents, each once, in the order in which they were named; without the empty one."""
        return tuple(filter(None, dict.fromkeys((*self.contents, *(content for _path, content in self.files)))))

    def check(self) -> None:
        """Refuse what cannot be looked for.

        Raises:
            UsageError: when nothing is wanted, a word is too short, or an id has an impossible length.
        """
        if not (self.all_contents or self.words or self.ids):
            raise UsageError("nothing to look for was named", next="name words or contents")
        for word in self.words:
            if len(word.encode("utf-8", "surrogateescape")) < WORD_LEAST:
                raise UsageError(
                    f"{word!r} is too short to be looked for",
                    why=f"words of fewer than {WORD_LEAST} bytes are found everywhere",
                    next="name it with what stands around it",
                )
        for identity in self.ids:
            if len(identity) < ID_LEAST:
                raise UsageError("an id is too short to be looked for", where=identity.hex(), why="8 bytes at least")


class Hit(NamedTuple):
    """Something was found: what, in which disguise, and at which byte."""

    found: str
    disguise: str
    offset: int


class Lookout:
    """Finds what is wanted in bytes."""

    def __init__(self, wanted: Wanted, ids: Iterable[tuple[str, bytes]], cut: Callable[[bytes], list[int]]) -> None:
        """Make every needle.

        Args:
            wanted: what is looked for.
            ids: what it is, and the id that it would have in this repository.
            cut: returns at which bytes the chunks of a content begin.
        """
        self._needles: dict[tuple[str, str], list[bytes]] = {}
        for word in wanted.words:
            for disguise, needle in _of_text(word):
                self._add(f"word {word!r}", disguise, needle, least=WORD_LEAST)
        for number, content in enumerate(wanted.all_contents, 1):
            self._add_content(f"content {number}", content, wanted.kept, cut)
        for what, identity in (*(("id", each) for each in wanted.ids), *ids):
            for disguise, needle in _of_bytes(identity[:ID_LEAST]):
                self._add(f"{what} {identity.hex()[:12]}", disguise, needle, least=ID_LEAST)

    def _add_content(
        self, what: str, content: bytes, kept: tuple[bytes, ...], cut: Callable[[bytes], list[int]]
    ) -> None:
        for probe in _probes(content, kept, cut):
            for disguise, needle in _of_bytes(probe):
                self._add(what, disguise, needle, least=CONTENT_LEAST)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return
        for piece in _text_probes(text, kept):
            for disguise, needle in _of_text(piece):
                if disguise not in _BINARY:
                    self._add(what, disguise, needle, least=CONTENT_LEAST)

    def _add(self, what: str, disguise: str, needle: bytes, *, least: int) -> None:
        if len(needle) >= least:
            needles = self._needles.setdefault((what, disguise), [])
            if needle not in needles:
                needles.append(needle)

    def look(self, data: bytes, *, sealed: bool = False) -> Iterator[Hit]:
        """Yield what is found in bytes, each thing once in each disguise, and what is found in what they hold.

        Args:
            data: the bytes.
            sealed: they are cipher text, or ought to be.
        """
        yield from self._look(data, sealed=sealed)
        for how, inside in unpacked(data, everywhere=not sealed):
            for hit in self._look(inside, sealed=False):
                yield hit._replace(disguise=f"{hit.disguise}, {how}")

    def _look(self, data: bytes, *, sealed: bool) -> Iterator[Hit]:
        for (what, disguise), needles in self._needles.items():
            for needle in needles:
                if sealed and len(needle) < SEALED_LEAST:
                    continue
                at = data.find(needle)
                if at >= 0:
                    yield Hit(what, disguise, at)
                    break


_BINARY: Final = frozenset({"raw", "hex", "HEX", "base64"})


def _of_bytes(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "raw", data
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    for needle in base64_forms(data):
        yield "base64", needle


def _of_text(text: str) -> Iterator[tuple[str, bytes]]:
    yield from _of_bytes(text.encode("utf-8", "surrogateescape"))
    for name, encoding in (("UTF-16 LE", "utf-16-le"), ("UTF-16 BE", "utf-16-be"), ("Latin-1", "latin-1")):
        found = text.encode(encoding, "ignore")
        if encoding != "latin-1" or found not in {text.encode("utf-8", "ignore"), b""}:
            yield name, found
    escaped = json.dumps(text)[1:-1]
    for form in (escaped, json.dumps(text, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/"), _upper(escaped)):
        if form != text:
            yield "JSON", form.encode("utf-8", "surrogateescape")
    for safe in ("", "/"):
        form = quote(text.encode("utf-8", "surrogateescape"), safe=safe)
        if form != text:
            yield "percent", form.encode()
    for way in ("NFC", "NFD"):
        form = unicodedata.normalize(way, text)
        if form != text:
            yield way, form.encode("utf-8", "surrogateescape")


def _upper(escaped: str) -> str:
    """Return text with the digits of its escapes as capitals."""
    first, *rest = escaped.split("\\u")
    return first + "".join("\\u" + part[:4].upper() + part[4:] for part in rest)


def base64_forms(data: bytes) -> Iterator[bytes]:
    """Yield how bytes look in base64, whatever stands before and behind them, in both alphabets."""
    for shift, lead in ((0, 0), (1, 2), (2, 3)):
        whole = base64.b64encode(bytes(shift) + data)[lead : 8 * (shift + len(data)) // 6]
        yield whole
        other = whole.translate(bytes.maketrans(b"+/", b"-_"))
        if other != whole:
            yield other


def _probes(content: bytes, kept: tuple[bytes, ...], cut: Callable[[bytes], list[int]]) -> Iterator[bytes]:
    """Yield stretches of a content by which it is recognised, without what is nothing of its own."""
    size = len(content)
    if size <= 2 * PROBE:
        if size >= CONTENT_LEAST and not any(content in each for each in kept):
            yield content
        return
    starts = {at * (size - PROBE) // (SPREAD - 1) for at in range(SPREAD)}
    starts |= {at for start in cut(content)[:CHUNKS] for at in (start, start + PROBE)}
    found = False
    for at in sorted(starts):
        probe = content[at : at + PROBE]
        if len(probe) == PROBE and len(set(probe)) >= DISTINCT and not any(probe in each for each in kept):
            found = True
            yield probe
    if not found and size <= WHOLE and not any(content in each for each in kept):
        yield content


def _text_probes(text: str, kept: tuple[bytes, ...]) -> Iterator[str]:
    """Yield stretches of a text, cut between letters."""
    size = len(text)
    starts = {at * max(size - PROBE, 0) // (SPREAD - 1) for at in range(SPREAD)}
    for at in sorted(starts):
        piece = text[at : at + PROBE]
        if (size <= PROBE or len(set(piece)) >= DISTINCT) and not any(piece.encode() in each for each in kept):
            yield piece


_MAGIC: Final = {
    "zstd": (b"\x28\xb5\x2f\xfd",),
    "gzip": (b"\x1f\x8b\x08",),
    "zlib": (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"),
    "bzip2": (b"BZh",),
    "xz": (b"\xfd7zXZ\0",),
    "deflate in a zip": (b"PK\x03\x04",),
}
_INNER: Final = ("zstd", "gzip", "deflate in a zip")
"""What is also looked for in the middle of a file: magic of three bytes and more stands there rarely by chance."""


def unpacked(data: bytes, *, everywhere: bool, depth: int = DEPTH) -> Iterator[tuple[str, bytes]]:
    """Yield (how, what it holds) of everything compressed that bytes are, or hold if ``everywhere`` is looked."""
    if depth == 0:
        return
    for how, at in _beginnings(data, everywhere=everywhere):
        inside = _inflate(how, data[at:] if at else data)
        if inside:
            yield how, inside
            for deeper, found in unpacked(inside, everywhere=everywhere, depth=depth - 1):
                yield f"{deeper} in {how}", found


def _beginnings(data: bytes, *, everywhere: bool) -> Iterator[tuple[str, int]]:
    for how, magics in _MAGIC.items():
        if data.startswith(magics):
            yield how, 0
    if everywhere:
        for how in _INNER:
            at = data.find(_MAGIC[how][0], 1)
            for _number in range(MEMBERS):
                if at < 0:
                    break
                yield how, at
                at = data.find(_MAGIC[how][0], at + 1)


def _inflate(how: str, data: bytes) -> bytes:
    """Return what can be had of compressed bytes, up to a limit, without minding how they end."""
    try:
        return _INFLATERS[how](data)
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
        return b""


def _of_zip(data: bytes) -> bytes:
    """Return a member of a zip archive: PKWARE's application note, 4.3.7, has the lengths before it at 26 and 28."""
    start = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    if data[8:10] != b"\x08\x00":
        return b""
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(data[start:], INFLATED)


def _of_zlib(data: bytes) -> bytes:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(data, INFLATED)  # which takes gzip as well


_INFLATERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "zstd": lambda data: compression.inflate(data, INFLATED),
    "gzip": _of_zlib,
    "zlib": _of_zlib,
    "bzip2": lambda data: bz2.BZ2Decompressor().decompress(data, INFLATED),
    "xz": lambda data: lzma.LZMADecompressor(memlimit=INFLATED << 1).decompress(data, INFLATED),
    "deflate in a zip": _of_zip,
}
