"""What every backend promises, as checks that any backend can be held to; they need no test framework.

Each check is a method of :class:`Conformance`, wants an empty place, and leaves files in it.  ``CHECKS`` names them
all, for frameworks that run one test for each::

    for name in CHECKS:
        Conformance(make_an_empty_backend()).run(name)

A place that lies in a local directory needs the directories of a store (``DIRECTORIES``) before.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from typing import TYPE_CHECKING, Final

from dvtool.errors import DvError, ExistsError, IntegrityError, NotFoundError
from dvtool.storage.backend import SMALL_LIMITS, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvtool.storage.backend import Backend

DIRECTORIES: Final = ("packs", "index", "keys", "log", "acks")
"""The directories of a store."""
CREATORS: Final = 8
"""Threads that create one name at the same moment."""
SECOND: Final = 1_000_000
"""In microseconds."""
SAME_TIME: Final = 60_000_000
"""Microseconds by which two files written one after the other may differ."""

_LARGE: Final = bytes(range(256)) * 5000
_EDGES: Final = (0, 1, 2, 99, 100, 101, 250)


class Broken(AssertionError):  # noqa: N818 - it is a promise that is broken
    """A backend did not keep a promise; the message says which."""


class Conformance:
    """Checks of one backend, whose place is empty."""

    def __init__(self, backend: Backend, *, views_last: bool = True) -> None:
        """Hold ``backend`` to its promises.

        Args:
            backend: over an empty place.
            views_last: whether a view can be read when its name is gone; in the cloud it says that it is gone.
        """
        self.backend = backend
        self.views_last = views_last

    def run(self, name: str) -> None:
        """Run one of ``CHECKS``.

        Raises:
            Broken: when the backend does not keep its promise.
        """
        check: Callable[[], None] = getattr(self, f"check_{name}")
        check()

    def check_what_is_written_is_read(self) -> None:
        """Bytes come back as they went, whichever way and however many."""
        for (way, write), data in itertools.product(self._writers().items(), (b"", b"x", _LARGE)):
            name = f"packs/{way}-{len(data)}"
            write(name, data)
            self.backend.flush()
            _expect(self.backend.read(name) == data, f"{way}: {len(data)} bytes are read as they were written")
            _expect(self.backend.size(name) == len(data), f"{way}: the size is that of what was written")
            _expect(self.backend.exists(name), f"{way}: what was written exists")

    def check_what_is_adopted_was_written_when_it_was_adopted(self) -> None:
        """The time of a file is that of its writing here, not of its making there."""
        path = self._finished(b"x")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        self.backend.adopt(path, "packs/a")
        self.backend.put("packs/b", b"y")
        apart = abs(self.backend.modified("packs/a") - self.backend.modified("packs/b"))
        _expect(apart < SAME_TIME, "two files that were written together have nearly the same time")

    def check_a_part_is_a_slice(self) -> None:
        """Offsets and lengths are those of a slice, beyond the end as well."""
        data = bytes(range(100))
        self.backend.replace("packs/a", data)
        self.backend.replace("packs/nothing", b"")
        for offset, length in itertools.product(_EDGES, (None, *_EDGES)):
            end = None if length is None else offset + length
            part = self.backend.read("packs/a", offset, length)
            _expect(part == data[offset:end], f"read({offset}, {length}) is the slice")
            _expect(self.backend.read("packs/nothing", offset, length) == b"", f"read({offset}, {length}) of nothing")

    def check_what_is_far_too_long_is_not_read_whole(self) -> None:
        """Files that are small in every store are refused when they are not; who says how many bytes has them."""
        for name, limit in SMALL_LIMITS.items():
            data = bytes(limit)
            self.backend.replace(name, data)
            _expect(self.backend.read(name) == data, f"{name}: the longest that may be is read")
            self.backend.replace(name, data + b"x")
            with _raising(IntegrityError) as caught:
                self.backend.read(name)
            _expect(name in caught[0].where, "the error names what is too long")
            _expect(self.backend.read(name, limit, 9) == b"x", f"{name}: a part of it is read")

    def check_a_view_is_sliced_as_the_bytes_are(self) -> None:
        """Views know their length and take negative bounds."""
        for name, data in (("index/a", bytes(range(100))), ("index/b", b"")):
            self.backend.replace(name, data)
            view = self.backend.view(name)
            _expect(len(view) == len(data), "a view has the length of the bytes")
            bounds = (None, 0, 1, 50, 99, 100, 300, -1, -100, -300)
            for start, stop in itertools.product(bounds, bounds):
                _expect(bytes(view[start:stop]) == data[start:stop], f"view[{start}:{stop}] is the slice")

    def check_a_view_outlives_its_name_or_says_that_it_is_gone(self) -> None:
        """What a view gives after its name is gone are the old bytes, or an error."""
        self.backend.put("index/a", b"kept while it is read")
        view = self.backend.view("index/a")
        self.backend.delete("index/a")
        if self.views_last:
            _expect(bytes(view[5:10]) == b"while", "a view outlives its name")
        else:
            with _raising(NotFoundError):
                view[5:10]
        with _raising(NotFoundError):
            self.backend.view("index/a")

    def check_creating_is_exclusive(self) -> None:
        """Who creates what is there is told so, and changes nothing."""
        self.backend.create("log/1", b"first")
        with _raising(ExistsError):
            self.backend.create("log/1", b"second")
        _expect(self.backend.read("log/1") == b"first", "the first creation stays")
        self.backend.put("log/2", b"put")
        with _raising(ExistsError):
            self.backend.create("log/2", b"created")

    def check_of_many_creators_one_wins(self) -> None:
        """At the same moment as well; not asked of places that say they cannot."""
        if not self.backend.abilities.exclusive:
            return
        won: list[int] = []
        barrier = threading.Barrier(CREATORS)

        def create(number: int) -> None:
            barrier.wait()
            with contextlib.suppress(ExistsError):
                self.backend.create("log/1", str(number).encode() * 1000)
                won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(CREATORS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _expect(len(won) == 1, f"one of {CREATORS} creators wins, and not {len(won)}")
        _expect(self.backend.read("log/1") == str(won[0]).encode() * 1000, "what is there is the winner's")

    def check_writing_again_takes_the_place(self) -> None:
        """All ways but creating write over what is there."""
        for way, write in self._writers().items():
            if way != "create":
                self.backend.put(f"keys/{way}", b"old and longer")
                write(f"keys/{way}", b"new")
                _expect(self.backend.read(f"keys/{way}") == b"new", f"{way}: the new bytes are there")

    def check_what_is_not_there_is_said_so(self) -> None:
        """Errors name what is missing; listing a directory that is not there is listing nothing."""
        asks: tuple[Callable[[str], object], ...] = (
            self.backend.read,
            self.backend.size,
            self.backend.modified,
            self.backend.view,
            lambda name: self.backend.read(name, 0, 0),
        )
        for ask in asks:
            with _raising(NotFoundError) as caught:
                ask("packs/missing")
            _expect("packs/missing" in caught[0].where, "the error names what is missing")
        _expect(not self.backend.exists("packs/missing"), "what is missing does not exist")
        _expect(list(self.backend.names("nowhere")) == [], "nothing is in a directory that is not there")
        _expect(list(self.backend.listed("nowhere")) == [], "nothing is listed of a directory that is not there")

    def check_deleting_is_final_and_may_be_repeated(self) -> None:
        """Deleting what is not there is no error."""
        self.backend.put("packs/a", b"a")
        self.backend.delete("packs/a")
        _expect(not self.backend.exists("packs/a"), "what was deleted does not exist")
        self.backend.delete("packs/a")
        with _raising(NotFoundError):
            self.backend.read("packs/a")
        self.backend.create("packs/a", b"again")
        _expect(self.backend.read("packs/a") == b"again", "what was deleted can be created")

    def check_names_are_those_of_one_directory(self) -> None:
        """Names are neither those of other directories nor those above."""
        for name in ("packs/a", "packs/b", "keys/a", "format"):
            self.backend.put(name, b"")
        _expect(sorted(self.backend.names("packs")) == ["a", "b"], "names are those below the directory")
        _expect(sorted(self.backend.names("keys")) == ["a"], "names are those below the directory")

    def check_the_workspace_is_a_directory_and_stays(self) -> None:
        """It is made when it is wanted, and is the same one each time."""
        place = self.backend.workspace()
        _expect(os.path.isdir(place), "the workspace is a directory")
        _expect(self.backend.workspace() == place, "it is the same one each time")

    def check_adopting_takes_the_file(self) -> None:
        """What was adopted is in the place, under its name alone, and no longer in the workspace."""
        path = self._finished(b"data")
        self.backend.adopt(path, "packs/a")
        self.backend.flush()
        _expect(self.backend.read("packs/a") == b"data", "what was adopted is read")
        _expect(list(self.backend.names("packs")) == ["a"], "it is there under its name alone")

    def check_a_failed_creation_leaves_nothing_behind(self) -> None:
        """Neither in the workspace nor in the place."""
        self.backend.create("log/1", b"first")
        with _raising(ExistsError):
            self.backend.create("log/1", b"second")
        _expect(os.listdir(self.backend.workspace()) == [], "nothing is left in the workspace")
        _expect(list(self.backend.names("log")) == ["1"], "nothing is left in the place")

    def check_flushing_nothing_is_nothing(self) -> None:
        """Flushing may be repeated."""
        self.backend.flush()
        self.backend.put("packs/a", b"a")
        self.backend.flush()
        self.backend.flush()
        _expect(self.backend.read("packs/a") == b"a", "what was put is there after two flushes")

    def check_files_are_listed_in_order_with_their_sizes(self) -> None:
        """Listing begins where it is told to, and ends when it has told enough."""
        for name in ("c", "a", "b"):
            self.backend.put(f"packs/{name}", name.encode() * (ord(name) - 96))
        self.backend.flush()
        found = [(each.name, each.size) for each in self.backend.listed("packs")]
        _expect(found == [("a", 1), ("b", 2), ("c", 3)], "files are listed in order, with their sizes")
        for each in self.backend.listed("packs"):
            apart = abs(each.modified - self.backend.modified(f"packs/{each.name}"))
            _expect(apart < SECOND, "the time in a listing is the time of the file, to a second")
        for after, most, wanted in (
            ("a", 0, "bc"),
            ("a", 1, "b"),
            ("", 2, "ab"),
            ("aa", 1, "b"),
            ("c", 0, ""),
            ("", 9, "abc"),
        ):
            names = "".join(each.name for each in self.backend.listed("packs", after=after, most=most))
            _expect(names == wanted, f"after {after!r}, {most} at most: {wanted!r} are listed, and not {names!r}")

    def check_what_is_sent_is_there_after_a_flush(self) -> None:
        """Several at once, and an empty one."""
        data = bytes(range(256)) * 4000
        for number in range(6):
            self.backend.send(memoryview(data)[number:], f"packs/{number}")
        self.backend.send(b"", "packs/empty")
        self.backend.flush()
        for number in range(6):
            _expect(self.backend.read(f"packs/{number}") == data[number:], "what was sent is read")
        _expect(self.backend.size("packs/empty") == 0, "nothing can be sent too")

    def check_what_was_sent_is_seen_at_once(self) -> None:
        """Whoever asks for what is still under way waits for it."""
        self.backend.send(_LARGE, "packs/a")
        _expect(self.backend.size("packs/a") == len(_LARGE), "what was sent has its size")
        self.backend.send(_LARGE, "packs/b")
        _expect(sorted(self.backend.names("packs")) == ["a", "b"], "what was sent is listed")
        self.backend.send(_LARGE, "packs/c")
        self.backend.delete("packs/c")
        _expect(not self.backend.exists("packs/c"), "what is deleted while it is sent is deleted")
        self.backend.flush()

    def check_what_is_purged_is_gone(self) -> None:
        """Names that begin with the same letters stay."""
        self.backend.put("packs/a", b"x")
        self.backend.put("packs/ab", b"y")
        self.backend.flush()
        _expect(self.backend.purge("packs/a").left == (), "nothing is left of what was purged")
        _expect(list(self.backend.names("packs")) == ["ab"], "what begins with the same letters stays")
        _expect(self.backend.purge("packs/a").versions == 0, "what was purged has no versions")

    def check_what_was_there_before_is_purged_and_what_is_there_stays(self) -> None:
        """Of a name that was written over, the last bytes stay; so does what begins with the same letters."""
        for data in (b"first", b"second", b"third"):
            self.backend.replace("keys/a", data)
        self.backend.replace("keys/ab", b"other")
        _expect(self.backend.purge("keys/a", older=True).left == (), "nothing is left of what was there before")
        _expect(self.backend.read("keys/a") == b"third", "what is there now stays")
        _expect(sorted(self.backend.names("keys")) == ["a", "ab"], "what begins with the same letters stays")
        _expect(self.backend.purge("keys/a", older=True).versions == 0, "what was purged has no versions")
        _expect(self.backend.purge("keys/b", older=True).versions == 0, "of nothing there is nothing older")

    def check_what_is_kept_of_files_is_told_until_it_is_purged(self) -> None:
        """What is there is the latest version; what was written over or deleted is an older one, if it is kept."""
        self.backend.replace("keys/a", b"first")
        self.backend.replace("keys/a", b"second")
        self.backend.replace("keys/b", b"other")
        self.backend.delete("keys/b")
        found = list(versions_of(self.backend, "keys"))
        _expect({each.name for each in found if each.is_latest} - {"b"} == {"a"}, "what is there is the latest")
        _expect({each.name for each in found} <= {"a", "b"}, "nothing else is told")
        for name in ("keys/a", "keys/b"):
            _expect(self.backend.purge(name).left == (), "nothing is left of what was purged")
        _expect(not list(versions_of(self.backend, "keys")), "of what was purged nothing is told")

    def _writers(self) -> dict[str, Callable[[str, bytes], None]]:
        def adopt(name: str, data: bytes) -> None:
            self.backend.adopt(self._finished(data), name)

        return {
            "create": self.backend.create,
            "put": self.backend.put,
            "replace": self.backend.replace,
            "send": lambda name, data: self.backend.send(data, name),
            "adopt": adopt,
        }

    def _finished(self, data: bytes) -> str:
        path = f"{self.backend.workspace()}/unfinished-{os.urandom(8).hex()}"
        with open(path, "xb") as file:
            file.write(data)
        return path


CHECKS: Final = tuple(sorted(name.removeprefix("check_") for name in vars(Conformance) if name.startswith("check_")))
"""The names of all checks."""


def _expect(kept: bool, promise: str) -> None:  # noqa: FBT001 - reads as an assertion
    if not kept:
        raise Broken(promise)


@contextlib.contextmanager
def _raising(kind: type[DvError]) -> Iterator[list[DvError]]:
    caught: list[DvError] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    if not caught:
        raise Broken(f"{kind.__name__} is raised")
