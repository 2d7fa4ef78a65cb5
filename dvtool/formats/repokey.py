"""The file ``keys/repo``: the secret of the repository and that of this store (``docs/format/repokey.md``).

Everything in a repository's stores follows from the repository secret, and what one store adds to that, the key under
which its other keys lie, from the wrapping secret.  The file keeps the two in the clear, under a passphrase, or sealed
for the owners of given public keys.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import crypto, digest
from dvtool.errors import FormatError, IntegrityError, KeyAccessError, UsageError
from dvtool.formats import identity
from dvtool.formats.identity import Recipient

if TYPE_CHECKING:
    from dvtool.effects import Entropy

MAGIC: Final = b"DVKEY\n"
VERSION: Final = 2
FIRST_VERSION: Final = 1
FIRST_SIZE: Final = 88
SIZE_LIMIT: Final = 2**20
HEAD_SIZE: Final = 24
SECRET_SIZE: Final = 32
CHECK_SIZE: Final = 16
TRAILER_SIZE: Final = 16

PLAIN: Final = 0
PASSPHRASE: Final = 1
RECIPIENTS: Final = 2

SALT_SIZE: Final = 32
MEMORY: Final = 64 * 1024
MEMORY_LEAST: Final = 19 * 1024
MEMORY_LIMIT: Final = 2**20
ITERATIONS: Final = 3
ITERATIONS_LEAST: Final = 2
ITERATIONS_LIMIT: Final = 16
LANES: Final = 4
LANES_LEAST: Final = 1
LANES_LIMIT: Final = 16
PASSPHRASE_LIMIT: Final = 1024
RECIPIENTS_LIMIT: Final = 1000

PLACE: Final = "keys/repo"
RESTORE: Final = "put it back from your backup: 'dv key import FILE'; without it nothing in this store can be read"
"""What to do next where the file is missing or damaged."""
GIVING: Final = "type it when asked on a terminal, or set DV_PASSPHRASE, or DV_PASSPHRASE_FILE to a file that holds it"
"""How a passphrase reaches dv."""

_HEAD = struct.Struct("<6sBB16s")
_COUNT = struct.Struct("<I")
_STRETCHING = struct.Struct("<III32s")
_SEALED_SIZE: Final = SECRET_SIZE + crypto.TAG_SIZE
_PURPOSE: Final = b"dv keys/repo recipient"


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What the file protects: the repository's secret and this store's wrapping secret, 32 bytes each.

    ``previous`` is the wrapping secret that a rotation under way replaces: what is not sealed anew yet opens with it.
    In a file of version 1 the repository's secret is the wrapping secret as well.
    """

    secret: bytes
    wrapping: bytes
    previous: bytes | None = None

    def __repr__(self) -> str:
        """Return nothing that could be used."""
        return "Opened(...)"


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """The secrets stand in the clear."""


class Passphrase(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever knows ``text`` opens the file; ``memory`` is in KiB."""

    text: str
    memory: int = MEMORY
    iterations: int = ITERATIONS
    lanes: int = LANES

    def __repr__(self) -> str:
        """Return nothing that could be used."""
        return "Passphrase(...)"


class Recipients(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever has the identity of one of these opens the file."""

    recipients: tuple[Recipient, ...]


Protection = Plain | Passphrase | Recipients


class Unlock(msgspec.Struct, frozen=True, kw_only=True):
    """Where a passphrase and identities (private keys, 32 bytes each) come from; called only if a file needs them."""

    passphrase: Callable[[], str | None] = lambda: None
    identities: Callable[[], tuple[bytes, ...]] = tuple


LOCKED: Final = Unlock()
"""Opens what stands in the clear, and nothing else."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says of itself to those who cannot open it; nothing vouches for it before it was opened.

    ``protection`` is one of the three constants, ``recipients`` are in the order of their keys.
    """

    version: int
    protection: int
    recipients: tuple[Recipient, ...] = ()


def encode(repository: bytes, opened: Opened, protection: Protection, entropy: Entropy) -> bytes:
    """Return the file that keeps the secrets of ``repository`` (16 bytes), sealed under keys that are used once.

    Raises:
        UsageError: when a passphrase is empty or too long, when there are no recipients or too many, or when one of
            them has no usable key.
    """
    match protection:
        case Plain():
            kind, parameters, key = PLAIN, b"", b""
        case Passphrase():
            text = _passphrase_bytes(protection.text)
            kind, salt = PASSPHRASE, entropy.bytes(SALT_SIZE)
            cost = (protection.memory, protection.iterations, protection.lanes)
            parameters = _STRETCHING.pack(*cost, salt)
            _check_cost(*cost)
            key = crypto.stretch(text, salt, memory=cost[0], iterations=cost[1], lanes=cost[2])
        case Recipients():
            kind, key = RECIPIENTS, entropy.bytes(SECRET_SIZE)
            parameters = _sealed_for(protection.recipients, _head(RECIPIENTS, repository), key, entropy)
    before = _head(kind, repository) + _COUNT.pack(len(parameters)) + parameters
    payload = _payload(repository, opened)
    body = before + (crypto.Sealer(key).seal(0, payload, before) if key else payload)
    return body + digest.accident(body)


def describe(data: bytes, repository: bytes) -> Description:
    """Return how a file protects the secrets of ``repository``; raises as :func:`decode`, without opening anything."""
    version, kind, parameters, _before, _payload_bytes = _parts(data, repository)
    found = _stanzas(parameters) if kind == RECIPIENTS else []
    return Description(version=version, protection=kind, recipients=tuple(each.recipient for each in found))


def decode(data: bytes, repository: bytes, unlock: Unlock = LOCKED) -> Opened:
    """Return the secrets that a file keeps.

    Raises:
        KeyAccessError: when the file is damaged, or belongs to another repository; when it needs a passphrase and there
            is none, or a wrong one; when it is sealed for others; when it asks for too much memory or time.
        FormatError: when it protects the secrets in a way this version does not know.
    """
    version, kind, parameters, before, payload = _parts(data, repository)
    if version == FIRST_VERSION:
        secret, check = payload[:SECRET_SIZE], payload[SECRET_SIZE:]
        if check != _check(repository, secret):
            raise _of_another()
        return Opened(secret=secret, wrapping=secret)
    if kind == PASSPHRASE:
        payload = _open_by_passphrase(parameters, before, payload, unlock)
    elif kind == RECIPIENTS:
        payload = _open_by_identity(parameters, before, payload, unlock)
    if len(payload) not in {2 * SECRET_SIZE + CHECK_SIZE, 3 * SECRET_SIZE + CHECK_SIZE}:
        raise _damaged("what it keeps has another length")
    secrets, check = payload[:-CHECK_SIZE], payload[-CHECK_SIZE:]
    secret, wrapping, previous = (secrets[at : at + SECRET_SIZE] for at in range(0, 3 * SECRET_SIZE, SECRET_SIZE))
    if check != _check(repository, secret, secrets[SECRET_SIZE:]):
        raise _of_another()
    return Opened(secret=secret, wrapping=wrapping, previous=previous or None)


def _head(kind: int, repository: bytes) -> bytes:
    return _HEAD.pack(MAGIC, VERSION, kind, repository)


def _payload(repository: bytes, opened: Opened) -> bytes:
    wrapping = opened.wrapping + (opened.previous or b"")
    return opened.secret + wrapping + _check(repository, opened.secret, wrapping)


def _check(repository: bytes, secret: bytes, wrapping: bytes = b"") -> bytes:
    return digest.derive(secret, b"key check" + repository + wrapping)[:CHECK_SIZE]


def _parts(data: bytes, repository: bytes) -> tuple[int, int, bytes, bytes, bytes]:
    """Return (version, protection, parameters, all before the payload, payload); raises as :func:`decode`."""
    whole = HEAD_SIZE <= len(data) <= SIZE_LIMIT and data.startswith(MAGIC)
    if not whole or digest.accident(data[:-TRAILER_SIZE]) != data[-TRAILER_SIZE:]:
        raise _damaged("it is cut off, or its checksum does not match")
    # Before the length, which other ways of protecting the secrets may well change.
    version, kind = data[6], data[7]
    if (version, kind) not in {(FIRST_VERSION, PLAIN), *((VERSION, each) for each in (PLAIN, PASSPHRASE, RECIPIENTS))}:
        raise FormatError("the repository key is of a kind this dv does not know", where=PLACE, next="upgrade dv")
    if len(data) < HEAD_SIZE + TRAILER_SIZE or (version == FIRST_VERSION and len(data) != FIRST_SIZE):
        raise _damaged("it has another length")
    if data[8:HEAD_SIZE] != repository:
        raise _of_another()
    body = data[:-TRAILER_SIZE]
    if version == FIRST_VERSION:
        return version, kind, b"", body[:HEAD_SIZE], body[HEAD_SIZE:]
    start = HEAD_SIZE + _COUNT.size
    if len(body) < start:
        raise _damaged("it has another length")
    end = start + _COUNT.unpack_from(body, HEAD_SIZE)[0]
    if end > len(body):
        raise _damaged("it claims to be longer than it is")
    parameters = body[start:end]
    if (kind == PLAIN and parameters) or (kind == PASSPHRASE and len(parameters) != _STRETCHING.size):
        raise _damaged("its parameters have another length")
    return version, kind, parameters, body[:end], body[end:]


def _passphrase_bytes(text: str) -> bytes:
    """Return a passphrase as it is hashed: the same whichever way a keyboard composes its letters."""
    try:
        found = unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError:
        raise UsageError("a passphrase is not UTF-8", next="choose another one") from None
    if not 1 <= len(found) <= PASSPHRASE_LIMIT:
        raise UsageError(f"a passphrase has 1 to {PASSPHRASE_LIMIT:,} bytes", next="choose another one")
    return found


def _check_cost(memory: int, iterations: int, lanes: int) -> None:
    """Refuse numbers that would take too much, before anything is taken, or that would protect too little."""
    for name, value, least, most in (
        ("KiB of memory", memory, MEMORY_LEAST, MEMORY_LIMIT),
        ("iterations", iterations, ITERATIONS_LEAST, ITERATIONS_LIMIT),
        ("lanes", lanes, LANES_LEAST, LANES_LIMIT),
    ):
        if not least <= value <= most:
            raise KeyAccessError(
                "the repository key asks for what is not bearable, or would protect nothing",
                where=PLACE,
                why=f"{value:,} {name}; {least:,} to {most:,} are allowed",
                next=RESTORE,
            )


def _open_by_passphrase(parameters: bytes, before: bytes, payload: bytes, unlock: Unlock) -> bytes:
    memory, iterations, lanes, salt = _STRETCHING.unpack(parameters)
    _check_cost(memory, iterations, lanes)
    text = unlock.passphrase()
    if text is None:
        raise KeyAccessError(
            "the repository key is sealed by a passphrase, and none was given", where=PLACE, next=GIVING
        )
    key = crypto.stretch(_passphrase_bytes(text), salt, memory=memory, iterations=iterations, lanes=lanes)
    try:
        return crypto.Sealer(key).open(0, payload, before)
    except IntegrityError:
        raise KeyAccessError(
            "the passphrase is wrong",
            where=PLACE,
            why="the repository key does not open with it; or somebody changed the file on purpose",
            next=f"try again: {GIVING}; if it is forgotten, only a backup of the key helps: 'dv key import FILE'",
        ) from None


class _Stanza(msgspec.Struct, frozen=True, kw_only=True):
    """The key of the file as one recipient gets it."""

    recipient: Recipient
    ephemeral: bytes
    sealed: bytes


def _stanzas(parameters: bytes) -> list[_Stanza]:
    """Return what stands in the file for each recipient."""
    if len(parameters) < _COUNT.size:
        raise _damaged("its parameters have another length")
    (count,) = _COUNT.unpack_from(parameters)
    if not 1 <= count <= RECIPIENTS_LIMIT:
        raise _damaged(f"it claims to have {count:,} recipients")
    found: list[_Stanza] = []
    at = _COUNT.size
    fixed = 2 * identity.KEY_SIZE + _SEALED_SIZE
    for _number in range(count):
        part = parameters[at : at + fixed + 1]
        if (
            len(part) <= fixed
            or len(comment := parameters[at + fixed + 1 : at + fixed + 1 + part[fixed]]) < part[fixed]
        ):
            raise _damaged("its list of recipients is cut off")
        key, ephemeral = part[: identity.KEY_SIZE], part[identity.KEY_SIZE : 2 * identity.KEY_SIZE]
        if found and key <= found[-1].recipient.key:
            raise _damaged("its recipients are not in the order of their keys")
        try:
            who = Recipient(key=key, comment=identity.check_comment(comment.decode()))
        except (UnicodeDecodeError, FormatError):
            raise _damaged("it holds an impossible comment") from None
        found.append(_Stanza(recipient=who, ephemeral=ephemeral, sealed=part[2 * identity.KEY_SIZE : fixed]))
        at += fixed + 1 + part[fixed]
    if at != len(parameters):
        raise _damaged("its parameters have another length")
    return found


def _sealed_for(recipients: tuple[Recipient, ...], head: bytes, key: bytes, entropy: Entropy) -> bytes:
    """Return the list of recipients, with ``key`` sealed for each of them."""
    by_key = {recipient.key: recipient for recipient in recipients}
    if not 1 <= len(by_key) <= RECIPIENTS_LIMIT:
        raise UsageError(f"a key is sealed for 1 to {RECIPIENTS_LIMIT:,} recipients", why=f"{len(by_key):,} were named")
    parts = [_COUNT.pack(len(by_key))]
    for public, recipient in sorted(by_key.items()):
        private = entropy.bytes(identity.KEY_SIZE)
        ephemeral = crypto.public_key(private)
        comment = identity.check_comment(recipient.comment).encode()
        try:
            shared = crypto.agree(private, public, ephemeral + public, _PURPOSE)
        except IntegrityError as error:
            raise UsageError("a recipient has no usable key", where=recipient.comment, why=error.why) from None
        sealed = crypto.Sealer(shared).seal(0, key, head + public + comment)
        parts += [public, ephemeral, sealed, bytes([len(comment)]), comment]
    return b"".join(parts)


def _open_by_identity(parameters: bytes, before: bytes, payload: bytes, unlock: Unlock) -> bytes:
    stanzas = {stanza.recipient.key: stanza for stanza in _stanzas(parameters)}
    identities = unlock.identities()
    for private in identities:
        public = crypto.public_key(private)
        stanza = stanzas.get(public)
        if stanza is None:
            continue
        try:
            shared = crypto.agree(private, stanza.ephemeral, stanza.ephemeral + public, _PURPOSE)
            bound = before[:HEAD_SIZE] + public + stanza.recipient.comment.encode()
            key = crypto.Sealer(shared).open(0, stanza.sealed, bound)
            return crypto.Sealer(key).open(0, payload, before)
        except IntegrityError:
            raise KeyAccessError(
                "the repository key does not open",
                where=PLACE,
                why="it names you as a recipient, and was changed after it was sealed",
                next=RESTORE,
            ) from None
    make = "" if identities else "make an identity with 'dv key identity --new', then "
    raise KeyAccessError(
        "the repository key is not sealed for you",
        where=PLACE,
        why=f"none of its recipients ({len(stanzas):,}) is yours"
        if identities
        else "it is sealed for recipients, and there is no identity here",
        next=f"{make}send the line that 'dv key identity' prints to a member, who adds you with "
        "'dv key recipients add FILE'; DV_IDENTITY names a file with another identity",
    )


def _damaged(why: str) -> KeyAccessError:
    return KeyAccessError("the repository key is damaged", where=PLACE, why=why, next=RESTORE)


def _of_another() -> KeyAccessError:
    return KeyAccessError("the repository key belongs to another repository", where=PLACE, next=RESTORE)
