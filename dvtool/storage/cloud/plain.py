"""Other file systems of fsspec, used as such: files by path.

What fsspec promises of all of them is little.  Its ``mode="create"`` looks and then writes, which is a race wherever
the file system behind it does not do better; so creating counts as exclusive only where that is known.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import threading
from typing import TYPE_CHECKING, Any, Final

from dvtool.errors import NotFoundError, UsageError
from dvtool.storage.backend import Abilities, Keeping, Listed, Purged, Version
from dvtool.storage.cloud.client import Opened, Remains, Stat
from dvtool.storage.cloud.failures import as_ours, reply_of
from dvtool.storage.disk import temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dvtool.effects import View
    from dvtool.storage.retrying import Persistence

RENAMING: Final = frozenset({"arrow_hdfs", "hdfs", "sftp", "smb", "ssh", "webhdfs"})
"""File systems on which a half-written file can be seen, and that rename in one step."""
READ_ONLY: Final = frozenset({"http", "https"})

_AZURE: Final = {"account_name": str, "anon": bool}
_HDFS: Final = {"host": str, "port": int, "user": str}
_SSH: Final = {"allow_agent": bool, "compress": bool, "host": str, "port": int, "timeout": float, "username": str}
_WEB: Final = {"block_size": int, "encoded": bool, "simple_links": bool}
OPTIONS: Final[Mapping[str, Mapping[str, type]]] = {
    "abfs": _AZURE,
    "abfss": _AZURE,
    "adl": _AZURE,
    "arrow_hdfs": _HDFS,
    "az": _AZURE,
    "ftp": {"encoding": str, "host": str, "port": int, "timeout": float, "tls": bool, "username": str},
    "hdfs": _HDFS,
    "http": _WEB,
    "https": _WEB,
    "memory": {},
    "oss": {"endpoint": str},
    "sftp": _SSH,
    "smb": {"encrypt": bool, "host": str, "port": int, "share_access": str, "timeout": int, "username": str},
    "ssh": _SSH,
    "webhdfs": {**_HDFS, "kerberos": bool, "use_https": bool},
}
"""The file systems that may hold a store, and what a remote may say of each.

Who writes ``dv.toml`` is not always who runs dv.  So none is here that opens other places in turn, keeps copies on
this machine, unpacks, or runs programs; and no option that names a file here, what is sent beside a request, or how the
other side is trusted.
"""
UNFINISHED: Final = "tmp"
"""The directory of unfinished files, below the store."""
PIECE: Final = 8 * 1024 * 1024
"""Bytes of a view that are copied at once."""

_CREATING: Final = threading.Lock()
_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")


class PlainClient:
    """One directory of a file system."""

    def __init__(self, protocol: str, root: str, options: Mapping[str, Any], persistence: Persistence) -> None:
        """Name the file system, where the store begins in it, and how often it is asked; nothing is opened yet."""
        # What is in the memory of this process is written by this process alone, and so by one thread at a time.
        self._in_memory = protocol == "memory"
        self.abilities = Abilities(exclusive=self._in_memory, writing=protocol not in READ_ONLY)
        self.renames = protocol in RENAMING
        """Whether files are written elsewhere first, and then renamed."""
        self._protocol = protocol
        self._root = root
        self._options = dict(options)
        self._opened = Opened(self._open, lambda _fs: None, persistence)
        self._made: set[str] = set()

    def read(self, key: str, start: int, end: int) -> bytes:
        """Return a range; the whole is cut where the file system does not know of ranges."""
        if start == 0:
            return self._beginning(key, end)
        stop = min(end, self.stat(key).size)
        if start >= stop:
            return b""
        found = bytes(self._ask(lambda fs: fs.cat_file(key, start=start, end=stop)))
        return found if len(found) <= stop - start else found[start:stop]

    def stat(self, key: str) -> Stat:
        """Return length and time; 0 for a time that the file system does not tell."""
        found = self._ask(lambda fs: fs.info(key))
        if found.get("type") == "directory":
            raise FileNotFoundError(key)
        size = found.get("size")
        if size is None:
            size = len(self._ask(lambda fs: fs.cat_file(key)))
        return Stat(int(size), _micros(found))

    def listed(self, prefix: str, after: str, most: int) -> Iterator[Listed]:
        """Yield what a listing of the whole directory tells."""
        found = {_name(each): each for each in self._list(prefix) if each["type"] == "file"}
        left = most
        for name, each in sorted(found.items(), key=lambda item: item[0]):
            if name <= after:
                continue
            size = each.get("size")
            yield Listed(name, self.stat(each["name"]).size if size is None else int(size), _micros(each))
            left -= 1
            if most and not left:
                return

    def names(self, prefix: str) -> Iterator[str]:
        """Yield names by one listing."""
        yield from (_name(each) for each in self._list(prefix))

    def create(self, key: str, data: bytes) -> None:
        """Write where nothing is, as far as the file system knows how."""
        self._make_directory(key)
        if self._in_memory:
            with _CREATING:
                self._ask(lambda fs: fs.pipe_file(key, data, mode="create"))
        elif self._exists(key):
            raise FileExistsError(key)
        else:
            self.write(key, data)

    def write(self, key: str, data: bytes) -> None:
        """Write so that nobody sees a part of it."""
        self._make_directory(key)
        with self._finished(key) as path:
            self._ask(lambda fs: fs.pipe_file(path, data))

    def send(self, key: str, view: View) -> None:
        """Write as bytes."""
        self.write(key, bytes(view[: len(view)]))

    def upload(self, key: str, view: View) -> None:
        """Write piece by piece."""
        self._make_directory(key)

        def copy(fs: Any) -> None:  # noqa: ANN401 - published without types
            with fs.open(path, "wb") as file:
                for at in range(0, len(view), PIECE):
                    file.write(view[at : at + PIECE])

        try:
            with self._finished(key) as path:
                self._ask(copy)
        except BaseException:
            # Closing a file keeps what had been written of it.
            self.delete(key)
            raise

    def delete(self, key: str) -> None:
        """Remove one file."""
        try:
            self._ask(lambda fs: fs.rm_file(key))
        except Exception as error:
            if not isinstance(as_ours(error, "", ""), NotFoundError):
                raise

    def purge(self, key: str, *, older: bool = False) -> Purged:
        """Remove one file, and look again; of versions fsspec knows nothing."""
        if older:
            return Purged(versions=0)
        there = self._exists(key)
        self.delete(key)
        remains = Remains()
        remains.versions = int(there)
        if self._exists(key):
            remains.leave("it is still there", None)
        return remains.report()

    def versions(self, prefix: str) -> Iterator[Version]:
        """Yield the files: of older ones fsspec knows nothing."""
        return (Version(name, is_latest=True) for name in self.names(prefix))

    def keeping(self) -> Keeping:
        """Return what is known: nothing, but of what is in memory."""
        unknown = "off" if self._in_memory else "unknown: this kind of place does not tell"
        return Keeping(versioning=unknown, soft_delete=unknown, lock=unknown)

    def sweep(self, _prefix: str, _before: int) -> int:
        """Do nothing: of uploads fsspec knows nothing."""
        return 0

    def close(self) -> None:
        """Forget the file system."""
        self._opened.close()

    def _beginning(self, key: str, end: int) -> bytes:
        """Return the first bytes, by one request; of an empty file, some servers say that it has no such range."""
        try:
            found = self._ask(lambda fs: fs.cat_file(key, start=0, end=end))
        except Exception as error:
            if reply_of(error).status == 416:  # noqa: PLR2004 - no such range
                return b""
            raise
        return bytes(found[:end])

    def _ask(self, request: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - published without types
        return self._opened.ask(request)

    def _exists(self, key: str) -> bool:
        return bool(self._ask(lambda fs: fs.exists(key)))

    def _list(self, prefix: str) -> list[dict[str, Any]]:
        try:
            found = self._ask(lambda fs: fs.ls(prefix.rstrip("/"), detail=True))
        except FileNotFoundError:
            return []
        return [each for each in found if each["name"].strip("/") != prefix.strip("/")]

    def _make_directory(self, key: str) -> None:
        directory = os.path.dirname(key)
        if directory not in self._made:
            self._ask(lambda fs: fs.makedirs(directory, exist_ok=True))
            self._made.add(directory)

    @contextlib.contextmanager
    def _finished(self, key: str) -> Iterator[str]:
        """Give a path to write to, which takes its place at ``key`` afterwards."""
        if not self.renames:
            yield key
            return
        path = f"{self._root}/{UNFINISHED}/{temporary_name()}"
        self._make_directory(path)
        try:
            yield path
            self._ask(lambda fs: fs.mv(path, key))
        except BaseException:
            with contextlib.suppress(Exception):
                self._ask(lambda fs: fs.rm_file(path))
            raise

    def _open(self) -> Any:  # noqa: ANN401 - published without types
        import fsspec

        try:
            fs = fsspec.filesystem(
                self._protocol, **{"skip_instance_cache": True, "use_listings_cache": False, **self._options}
            )
        except (TypeError, ValueError) as error:
            raise UsageError(
                "the options of the remote do not fit", why=str(error)[:300], next="correct them in dv.toml"
            ) from None
        except ImportError as error:
            raise UsageError(
                f"{self._protocol}:// needs a package that is not installed",
                why=str(error)[:300],
                next="install it beside dv",
            ) from None
        return fs


def resolved(protocol: str, url: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path of a URL, as its file system understands it, and the arguments of that file system.

    Raises:
        UsageError: when no file system is known for the protocol, its package is not installed, or an account cannot
            have the name that is given.
    """
    try:
        import fsspec
    except ImportError:
        raise missing(protocol, "fsspec", "pip install 'dvtool[s3]'") from None
    try:
        kind = fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise missing(protocol, str(error)[:200], "install what it names beside dv") from None
    except ValueError:
        raise UsageError(
            "there is no file system of this kind",
            where=f"{protocol}://",
            next="give a directory, or a URL such as s3://BUCKET/PREFIX or gs://BUCKET/PREFIX",
        ) from None
    root = str(kind._strip_protocol(url)).rstrip("/")  # noqa: SLF001 - as fsspec itself does with every URL
    found = {**kind._get_kwargs_from_urls(url), **options}  # noqa: SLF001 - likewise
    if "account_name" in found and not _ACCOUNT.fullmatch(str(found["account_name"])):
        # It becomes part of the name of the server to which tokens are sent.
        raise UsageError(
            "no account can have this name",
            where=f"{protocol}://",
            why="the name of an account of Azure has 3 to 24 small letters and digits",
            next="correct it in the URL, or in the option account_name",
        )
    return root, found


def missing(protocol: str, what: str, next: str) -> UsageError:
    """Return the error that says that a package must be installed."""
    return UsageError(
        f"{protocol}:// needs a package that is not installed", where=f"{protocol}://", why=what, next=next
    )


def _name(found: dict[str, Any]) -> str:
    return os.path.basename(str(found["name"]).rstrip("/"))


def _micros(found: dict[str, Any]) -> int:
    """Return when a file was written: file systems name it differently, and some do not know."""
    for name in ("mtime", "last_modified", "LastModified", "modified", "created"):
        moment = found.get(name)
        if isinstance(moment, dt.datetime):
            return int(moment.timestamp() * 1_000_000)
        if isinstance(moment, int | float):
            return int(moment * 1_000_000)
    return 0
