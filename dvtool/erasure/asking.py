"""What an erasure was asked for, and what follows from it: the locator, the patterns, what is to be planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dvtool import globs
from dvtool.erasure import planning, targets
from dvtool.erasure.targets import Targets
from dvtool.formats import erasure as formats
from dvtool.formats import project
from dvtool.globs import Matcher

if TYPE_CHECKING:
    from dvtool.erasure.planning import Wish
    from dvtool.formats.erasure import Locator


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for: see :func:`dvtool.operations.erase.erase`."""

    erasure: bytes
    key: bytes
    """That of its locator (32 random bytes)."""
    targets: Targets
    rules: tuple[str, ...] = ()
    contents: tuple[bytes, ...] = ()
    roots: tuple[str, ...] = ()
    copies: str = ""
    keep_path: bool = False
    redact: bool = False
    reference: str = ""
    ground: str = ""

    def locator(self) -> Locator:
        """Return what others find it by."""
        return formats.Locator(
            patterns=self.targets.patterns,
            subjects=self.targets.subjects,
            authors=self.targets.authors,
            rules=self.rules,
            contents=self.contents,
            roots=self.roots,
            copies=self.copies,
            keep_path=self.keep_path,
            redact=self.redact,
        )


def request_of(erasure: bytes, key: bytes, locator: Locator) -> Request:
    """Return the request that a locator was made for, as far as it says, with the key that opened it."""
    return Request(
        erasure=erasure,
        key=key,
        targets=Targets(patterns=locator.patterns, subjects=locator.subjects, authors=locator.authors),
        rules=locator.rules,
        contents=locator.contents,
        roots=locator.roots,
        copies=locator.copies,
        keep_path=locator.keep_path,
        redact=locator.redact,
    )


def matcher_of(request: Request) -> Matcher:
    """Return what says which paths a request is about."""
    subjects = [project.Subject(paths=pattern) for pattern in request.rules]
    rules = [globs.by_path(pattern) for pattern in request.targets.patterns]
    for identity in request.targets.subjects:
        rules += targets.by_subject(identity, subjects)
    return Matcher(rules)


def wish_of(request: Request) -> Wish:
    """Return what is to be planned for a request."""
    words = {*request.targets.subjects, *request.targets.authors}
    words |= {glob.literal() for glob in matcher_of(request).globs if glob.is_plain()}
    return planning.Wish(
        erasure=request.erasure,
        key=request.key,
        matcher=matcher_of(request),
        authors=frozenset(each.lower() for each in request.targets.authors),
        contents=frozenset(request.contents) if request.copies == "erase" else frozenset(),
        keep_path=request.keep_path,
        words=tuple(sorted(word for word in words if word)),
        redact=request.redact,
    )
