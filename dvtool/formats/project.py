"""``dv.toml``: what people say about their data, kept beside it (``docs/format/project.md``).

Nothing is guessed: a key that is not known is an error that names the nearest one, since a rule that is misspelt
(of whom a file is about, say) would otherwise be silently without effect.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from dvtool import urls
from dvtool.errors import FormatError
from dvtool.formats import log

SIZE_LIMIT: Final = 65536

Policy = Literal["block", "warn", "off"]

UNITS: Final = {"B": 1}
UNITS.update({f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)})
UNITS.update({f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)})

SUBJECT: Final = "{subject}"
"""Stands in a pattern of paths for the part that names the person."""


class Remote(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A store elsewhere: its URL, options for the file system (never credentials), where its keys are kept.

    ``single_writer`` says that only one person writes there, so that a place which cannot tell two apart will do.
    """

    url: str
    options: dict[str, Any] = {}
    keys: str | None = None
    single_writer: bool | msgspec.UnsetType = msgspec.UNSET


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Where a person's data is: in files whose path holds ``{subject}``, or in rows of tables with it in a column."""

    paths: str | None = None
    tables: str | None = None
    column: str | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """By which columns rows of some tables are known again."""

    tables: str
    key: tuple[str, ...]


class LargeFile(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about large files in Git: from which size on (``10 MB``), and the policy."""

    over: str = "10 MB"
    policy: Policy = "block"

    @property
    def limit(self) -> int:
        """The size in bytes."""
        return size(self.over)


class Hooks(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What Git hooks do about each finding."""

    unstored_data: Policy = "block"
    stale_lock: Policy = "block"
    large_file: LargeFile = LargeFile()
    subject_path: Policy = "block"


class Project(msgspec.Struct, frozen=True, kw_only=True, rename={"remotes": "remote", "subjects": "subject"}):
    """All of ``dv.toml``; ``splits`` maps a role to the paths that have it."""

    remotes: dict[str, Remote] = {}
    splits: dict[str, tuple[str, ...]] = {}
    subjects: tuple[Subject, ...] = ()
    table: tuple[Table, ...] = ()
    hooks: Hooks = Hooks()


KEYS: Final = tuple(field.encode_name for field in msgspec.structs.fields(Project))
"""The tables at the top of the file."""

Value = TypeVar("Value")
Structure = TypeVar("Structure", bound=msgspec.Struct)


def decode(data: bytes) -> Project:
    """Return what the file says.

    Raises:
        FormatError: when it is no TOML, holds a key that is not known, or a value that makes no sense; ``where`` names
            the place in the file.
    """
    if len(data) > SIZE_LIMIT:
        raise _wrong("", "it is far too large", next="name patterns instead of single paths")
    try:
        found = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong("", f"it is no TOML: {error}", next="mend the line") from None
    _check_keys(found, Project, "")
    return Project(
        remotes={name: _remote(name, value) for name, value in _tables(found, "remote").items()},
        splits={role: _split(role, value) for role, value in _tables(found, "splits").items()},
        subjects=tuple(_subject(at, value) for at, value in _listed(found, "subject")),
        table=tuple(_table(at, value) for at, value in _listed(found, "table")),
        hooks=_hooks(found.get("hooks", {})),
    )


def size(text: str) -> int:
    """Return the bytes that a size for people means: a number and a unit, ``10 MB`` or ``1.5 GiB``.

    Raises:
        FormatError: when it is none.
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGT]?i?B)", text)
    if match is None or match[2] not in UNITS:
        raise _wrong("", f"{text!r} is no size", next="write a number and a unit, such as 10 MB or 1.5 GiB")
    return int(Decimal(match[1]) * UNITS[match[2]])


def _remote(name: str, value: object) -> Remote:
    where = f"remote.{name}"
    try:
        log.check_ref(f"remotes/{name}/heads/main")
    except FormatError:
        raise _wrong(where, "a remote cannot have this name", next="name it with letters, digits and '-'") from None
    if "/" in name:
        raise _wrong(where, "the name of a remote holds no '/'", next="choose another name")
    remote = _structure(value, Remote, where)
    for key in ("url", "keys"):
        url = getattr(remote, key)
        if url is not None and (not url.strip() or not url.isprintable()):
            raise _wrong(
                f"{where}.{key}", "it is empty or holds control characters", next="write the URL of a directory"
            )
        if url is not None and urls.holds_credential(url):
            raise _credential(f"{where}.{key}")
        if url is not None and urls.holds_query(url):
            raise _wrong(
                f"{where}.{key}",
                "it asks for something behind the path, where credentials are handed over",
                next="take away the '?' and what follows it; if that was a credential, change it where it is valid",
            )
    _refuse_credentials(remote.options, f"{where}.options")
    return remote


def _refuse_credentials(options: dict[str, Any], where: str) -> None:
    """Look for credentials at any depth, without a call for each level: TOML nests as deep as it likes."""
    pending: list[tuple[str, object]] = [(where, options)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, list):
            pending += [(place, item) for item in value]
        elif isinstance(value, dict):
            for name, item in value.items():
                if urls.names_credential(name):
                    raise _credential(f"{place[:200]}.{name}")
                pending.append((f"{place[:200]}.{name}", item))
        elif isinstance(value, str) and (urls.holds_credential(value) or urls.holds_query(value)):
            raise _credential(place)


def _credential(where: str) -> FormatError:
    return _wrong(
        where,
        "it holds a credential, and Git keeps this file for ever",
        next="take it out, change it where it is valid, and give it by the environment or the cloud's own settings",
    )


def _split(role: str, value: object) -> tuple[str, ...]:
    found = _convert(value, tuple[str, ...], f"splits.{role}")
    if not role.strip() or not role.isprintable():
        raise _wrong(f"splits.{role}", "a role needs a name", next="call it train, test, or what it is")
    for pattern in found:
        _check_pattern(pattern, f"splits.{role}")
    return found


def _subject(at: int, value: object) -> Subject:
    where = f"subject[{at}]"
    subject = _structure(value, Subject, where)
    by_path = subject.paths is not None and subject.tables is None and subject.column is None
    by_rows = subject.paths is None and subject.tables is not None and bool(subject.column)
    if not by_path and not by_rows:
        raise _wrong(where, "it says neither where nor in which rows", next="give it paths, or tables and column")
    _check_pattern(subject.paths or subject.tables or "", where)
    if subject.paths is not None and subject.paths.count(SUBJECT) != 1:
        raise _wrong(f"{where}.paths", f"it must hold {SUBJECT} once", next="write data/{subject}/** or the like")
    return subject


def _table(at: int, value: object) -> Table:
    where = f"table[{at}]"
    table = _structure(value, Table, where)
    _check_pattern(table.tables, f"{where}.tables")
    if not table.key or not all(table.key) or len(set(table.key)) < len(table.key):
        raise _wrong(f"{where}.key", "it names no columns, or one twice", next="name the columns that tell rows apart")
    return table


def _hooks(value: object) -> Hooks:
    if isinstance(value, dict) and isinstance(value.get("large-file"), dict):
        large = _structure(value["large-file"], LargeFile, "hooks.large-file")
        try:
            size(large.over)
        except FormatError as error:
            raise _wrong("hooks.large-file.over", error.why, next=error.next) from None
    return _structure(value, Hooks, "hooks")


def _check_pattern(pattern: str, where: str) -> None:
    parts = pattern.split("/")
    if not pattern or pattern.startswith("/") or "\0" in pattern or any(part in {".", ".."} for part in parts):
        raise _wrong(where, f"{pattern!r} is no path in the repository", next="write it from the root, without '..'")


def _tables(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key, {})
    if not isinstance(value, dict):
        raise _wrong(key, "it is no table", next=f"write [{key}] or [{key}.NAME] above its keys")
    return value


def _listed(found: dict[str, Any], key: str) -> list[tuple[int, Any]]:
    value = found.get(key, [])
    if not isinstance(value, list):
        raise _wrong(key, "it is no list of tables", next=f"write [[{key}]] above each")
    return list(enumerate(value, 1))


def _structure(value: object, kind: type[Structure], where: str) -> Structure:
    if not isinstance(value, dict):
        raise _wrong(where, "it is no table", next="write its keys below a heading, or between braces")
    _check_keys(value, kind, where)
    return _convert(value, kind, where)


def _convert(value: object, kind: type[Value], where: str) -> Value:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        inside = place.removesuffix("`")
        raise _wrong(where + inside, reason[:1].lower() + reason[1:], next="give it a value of that kind") from None


def _check_keys(found: dict[str, Any], kind: type[msgspec.Struct], where: str) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0)
            place = f"{where}.{key}" if where else key
            raise _wrong(place, f"there is no key {key!r} here", next=f"did you mean {near[0]!r}?")


def _wrong(where: str, why: str, *, next: str) -> FormatError:
    place = f"dv.toml, {where}" if where else "dv.toml"
    return FormatError("dv.toml cannot be used", where=place, why=why, next=next)
