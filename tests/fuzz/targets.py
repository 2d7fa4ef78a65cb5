"""What the fuzzer calls, by name, and with which bytes it begins."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from dvtool import digest, paths
from dvtool.errors import DvError
from dvtool.formats import codec, erasure, journal, pack
from dvtool.formats.storeformat import Chunking
from dvtool.store.chunker import Chunker
from dvtool.store.compression import Compressor, decompress
from dvtool.testing.decoders import DECODERS, KEY, STORE
from dvtool.testing.forging import zstd_frame
from dvtool.testing.names import FORBIDDEN, ODD
from dvtool.worktree.ignore import Ignore

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
LOCATOR = erasure.Locator(
    patterns=("data/p17",),
    subjects=("p17",),
    authors=("a@example.org",),
    rules=("data/{subject}/**",),
    contents=(bytes(32),),
    roots=(),
    copies="keep",
    keep_path=True,
    redact=False,
)
SMALL = Chunking(minimum=64, average=256, maximum=1024)
"""Sizes at which a few thousand bytes have cuts."""

PLANTED = b"\xd5v!"
"""What the target ``planted`` falls over; nobody finds three bytes by chance, and coverage leads to them."""


def chunker(data: bytes) -> None:
    """Cut, and put together again."""
    pieces = Chunker(SMALL, 12345).cut(data)
    assert b"".join(data[start:end] for start, end in pieces) == data
    assert all(end - start <= SMALL.maximum for start, end in pieces)
    assert all(end - start >= SMALL.minimum for start, end in pieces[:-1])


def zstd(data: bytes) -> None:
    """Decompress what claims any length, and compress and decompress the rest."""
    raw = int.from_bytes(data[:4], "little") % (pack.FRAME_LIMIT + 2)
    with contextlib.suppress(DvError):
        assert len(decompress(data[4:], raw)) == raw
    packed = Compressor().try_compress(data)
    assert packed is None or decompress(packed, len(data)) == data


def names(data: bytes) -> None:
    """Check names as they stand in a directory; what passes leads nowhere else."""
    joined = data.decode("utf-8", "surrogateescape" if data[:1] == b"\1" else "replace")
    found = joined.split("\0")
    with contextlib.suppress(DvError):
        paths.check_names(found, joined)
        for name in found:
            assert name not in {"", ".", ".."}
            assert "/" not in name
            assert name.lower().rstrip(". ") not in paths.RESERVED
    with contextlib.suppress(DvError):
        path = paths.check_path(joined, what="it")
        assert not path.startswith("/")
        assert ".." not in path.split("/")
    with contextlib.suppress(DvError):
        place = paths.from_argument(joined, root="/r", cwd="/r/d")
        assert not place.startswith("/")
        assert ".." not in place.split("/")


def ignore(data: bytes) -> None:
    """Read patterns and match paths, all of them from outside."""
    text, _, found = data.partition(b"\0")
    with contextlib.suppress(DvError):
        rules = Ignore(text)
        for path in found.decode("utf-8", "replace").split("\0"):
            if path.strip("/"):
                rules.excludes(path.strip("/"), directory=False)
                rules.excludes_below(path.strip("/")[:200])


def planted(data: bytes) -> None:
    """Fall over, if the fuzzer is any good."""
    if data[:1] == PLANTED[:1]:  # noqa: SIM102 - one branch a byte, for the coverage to lead on
        if data[1:2] == PLANTED[1:2]:  # noqa: SIM102
            if data[2:3] == PLANTED[2:3]:
                raise ValueError("planted")


def _decoder(decode: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def call(data: bytes) -> None:
        with contextlib.suppress(DvError):
            decode(data)

    return call


TARGETS: dict[str, Callable[[bytes], None]] = {name: _decoder(decode) for name, decode in DECODERS.items()} | {
    "chunker": chunker,
    "ignore": ignore,
    "names": names,
    "zstd": zstd,
}

HIDDEN: dict[str, Callable[[bytes], None]] = {"planted": planted}
"""What is there to be found: it shows that the fuzzer works."""


SEEDS = {
    "chunker": [bytes(3000), bytes(range(256)) * 12],
    "zstd": [length.to_bytes(4, "little") + zstd_frame(length, claims=length) for length in (0, 8, 200_000)],
    "names": ["\0".join(each).encode() for each in ODD.values()] + [each.encode() for each in FORBIDDEN.values()],
    "ignore": [b"*.tmp\n!keep\n/a/**/b*c\0a/x/bc\0y.tmp", b"**/[a-z]*\\*a*b?\n\0dir/x*ab"],
    "planted": [b"harmless"],
    "repokey recipients": [b"\1\0\0\0" + bytes(112) + b"\3Ada"],
    "repokey secrets": [bytes(32) + bytes(32) + digest.derive(bytes(32), b"key check" + bytes(16 + 32))[:16]],
    "erasure key": [bytes(range(32)), erasure.wrap(bytes(32), bytes(32), KEY, STORE, bytes(32))],
    "erasure locator": [codec.encode(LOCATOR)],
    "erasure sealed": [erasure.seal_locator(LOCATOR, KEY, STORE, bytes(32))],
    "index page": [bytes(52), bytes(52 * 200)],
    "index directory": [b"\x93\x90\x00\xc4\x00"],
    "pack footer": [bytes(4), b"\1\0\0\0" + bytes(32) + b"\1" + bytes(8)],
    "journal record": [
        codec.encode(journal.Values(time=1, split="", step=None, values={"loss": 0.5})),
        codec.encode(journal.Params(time=1, step=2, values={"a": [{}, None, True, -1, 1.5, "x"]})),
        codec.encode(journal.Table(name="x", file="x.parquet", key="k", rows=1)),
    ],
    "run erased": [codec.encode(((bytes(16), 1, 2, (bytes(32),)),)), codec.encode(())],
    "log row": [bytes([at, 32]) + bytes(64) for at in range(7)] + [b"\0\x0aheads/main" + bytes(32)],
}
"""Where no golden vector is what a target takes."""


def seeds(name: str) -> list[bytes]:
    """Return the bytes with which the fuzzing of a target begins; at least one that it takes."""
    if name in SEEDS:
        return SEEDS[name]
    form = name.partition(" ")[0]
    found = [path.read_bytes() for path in sorted(VECTORS.glob(f"{form}/v*/*.bin"))]
    return found + [data[8:-16] for data in found if name != form]
