"""What every golden vector is made of: its shape, stand-ins for random bytes, and values as JSON says them."""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from dvtool import ids

HERE = Path(__file__).resolve().parent

STORE = bytes.fromhex("00112233445566778899aabbccddeeff")
REPOSITORY = bytes.fromhex("ffeeddccbbaa99887766554433221100")
KEY = bytes(range(32))
TIME = 1_750_000_000_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """One golden vector; ``data`` is None where the value alone is the point."""

    format: str
    name: str
    about: str
    inputs: dict[str, Any]
    value: Any
    data: bytes | None = None
    version: int = 1

    def files(self) -> dict[Path, bytes]:
        """Return what stands on the disk, by path."""
        directory = HERE / self.format / f"v{self.version}"
        text = json.dumps({"about": self.about, "inputs": self.inputs, "value": self.value}, indent=1)
        found = {directory / f"{self.name}.json": text.encode() + b"\n"}
        if self.data is not None:
            found[directory / f"{self.name}.bin"] = self.data
        return found


def fill(label: str, length: int) -> bytes:
    """Return ``length`` bytes that look random and are the same for ever: SHAKE-256 of a label."""
    return hashlib.shake_256(label.encode()).digest(length)


def identity(label: str) -> bytes:
    """Return a stand-in for an id."""
    return fill(f"id {label}", ids.ID_SIZE)


def plain(value: object) -> Any:
    """Return a value of a format as JSON can say it."""
    found: Any = value
    match value:
        case bytes() | msgspec.Raw():
            found = bytes(value).hex()
        case float() if not math.isfinite(value):
            # JSON has no such numbers.
            found = str(value)
        case msgspec.Struct():
            # What a file of an earlier form could not say is not there, and so not in its golden value.
            names = [name for name in value.__struct_fields__ if getattr(value, name) is not msgspec.UNSET]
            tagged = {"type": type(value).__name__} if value.__struct_config__.tag is not None else {}
            found = tagged | {name: plain(getattr(value, name)) for name in names}
        case dict():
            found = {plain(key): plain(each) for key, each in value.items()}
        case tuple() if hasattr(value, "_asdict"):
            found = plain(value._asdict())
        case tuple() | list() | array():
            found = [plain(each) for each in value]
    return found


ERASURE = fill("erasure", 16)
SECTIONS = {"x-note": msgspec.Raw(msgspec.msgpack.encode("kept as it is"))}
