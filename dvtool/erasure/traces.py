"""What is known of erased contents as long as they are there: their ids, and a few words out of them in every disguise.

Whoever looks whether anything is left needs it after the contents are gone.  It is kept in memory alone, and there is
little of it, however much is erased.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool.errors import DvError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.erasure.planning import Plan
    from dvtool.store.store import Store

WORDS: Final = 512
"""Words that are taken at most; of few contents several each, of more contents than these some have none."""
EACH: Final = 4
SHORTEST: Final = 32
"""Bytes of a content of which a word is taken; and of one as it is."""
_LONGEST: Final = 64
"""Bytes of which a word of a script is taken that has three of them for a letter."""
_HEX: Final = 16
_BASE64: Final = 26
"""Bytes of which 34 letters are known, wherever a group of three begins; of more, lines would often cut them in two."""
_VARIED: Final = 6
"""Different bytes that the beginning of a word has; what is all blanks or zeros stands elsewhere too."""


class Traces(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for: ``gone``, ids of contents that are kept nowhere; ``words``, texts that stood in these."""

    gone: tuple[bytes, ...] = ()
    words: tuple[bytes, ...] = ()


def taken(store: Store, plan: Plan, *, words: bool = True) -> Traces:
    """Return what to look for when a plan is carried out; contents that cannot be read are passed over.

    What is kept elsewhere as well, in a file of somebody else's, is left out.  Without ``words`` it is the ids alone.
    """
    files = {identity: size for identity, size in plan.contents.items() if identity not in plan.long}
    known = plan.contents.keys() | plan.chunks.keys()
    gone = known - plan.marks.among(known)
    if not words:
        return Traces(gone=tuple(sorted(gone)))
    short = _some(identity for identity, size in files.items() if size >= SHORTEST and identity in gone)
    pieces = plan.chunks.items() if plan.long else ()
    long = _some(
        identity for identity, size in pieces if size >= SHORTEST and identity in gone and identity not in files
    )
    chosen = [*short[: max(WORDS // 2, WORDS - len(long))], *long]
    reader = store.frames()
    texts: list[bytes] = []
    each = max(1, min(EACH, WORDS // max(1, len(chosen))))
    for identity in chosen[:WORDS]:
        with contextlib.suppress(DvError):
            texts += itertools.chain.from_iterable(map(disguised, words_of(reader.chunk(identity), each)))
    return Traces(gone=tuple(sorted(gone)), words=tuple(dict.fromkeys(texts)))


def _some(identities: Iterable[bytes]) -> list[bytes]:
    """Return so many ids at most, each as likely as any other: ids are random to whoever lacks the key."""
    return sorted(identities)[:WORDS]


def words_of(content: bytes, count: int) -> list[bytes]:
    """Return some words out of a content, from all over it; fewer, or none, where it says the same all over."""
    room = len(content) - SHORTEST
    if room < 0:
        return []
    many = 4 * count
    # First those that lie far apart; those in between stand in for what says nothing.
    order = [number for first in (1, 3, 0, 2) for number in range(first, many, 4)]
    places = dict.fromkeys(room * (2 * number + 1) // (2 * many) for number in order)
    found = (content[at : at + _LONGEST] for at in places)
    return list(itertools.islice((word for word in found if len(set(word[:_HEX])) >= _VARIED), count))


def disguised(word: bytes) -> Iterator[bytes]:
    """Yield a word as it may stand in a file: as it is, in hexadecimal, in Base64, and in UTF-16.

    Each has 32 bytes at least, so that :class:`~dvtool.erasure.proving.Sieve` finds it.
    """
    yield word[:SHORTEST]
    digits = word[:_HEX].hex()
    yield from (digits.encode(), digits.upper().encode())
    for before in range(3):
        letters = base64.b64encode(bytes(before) + word[:_BASE64])
        # The first letters and the last stand for bits of what lies beside the word, too.
        sure = letters[before + bool(before) : (before + _BASE64) * 8 // 6]
        yield from {sure, sure.translate(bytes.maketrans(b"+/", b"-_"))}
    text = word.decode("utf-8", "ignore")
    if text.encode() not in word:
        text = word.decode("latin-1")
    for order in ("utf-16-le", "utf-16-be"):
        wide = text.encode(order)
        if len(wide) >= SHORTEST:
            yield wide[:SHORTEST]
