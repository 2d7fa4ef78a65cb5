"""Ways in which files go bad."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable


def flip(path: str, at: int, mask: int = 0x01) -> None:
    """Change bits of one byte; ``at`` may count from the end."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[at] ^= mask
    replace(path, bytes(data))


def truncate(path: str, length: int) -> None:
    """Cut a file off; a negative ``length`` says how many bytes go."""
    with open(path, "rb") as file:
        data = file.read()
    replace(path, data[:length])


def extend(path: str, more: bytes = bytes(64)) -> None:
    """Put bytes at the end of a file."""
    with open(path, "rb") as file:
        data = file.read()
    replace(path, data + more)


def empty(path: str) -> None:
    """Leave nothing but the name."""
    replace(path, b"")


def zero(path: str) -> None:
    """Keep the length and nothing else, as some file systems do after a loss of power."""
    replace(path, bytes(os.path.getsize(path)))


def delete(path: str) -> None:
    """Remove the file."""
    os.unlink(path)


def swap(path: str, other: str) -> None:
    """Let two files change places."""
    aside = f"{path}.aside"
    os.rename(path, aside)
    os.rename(other, path)
    os.rename(aside, other)


def copy_over(path: str, other: str) -> None:
    """Put a copy of another file in the place of this one."""
    with open(other, "rb") as file:
        replace(path, file.read())


def replace(path: str, data: bytes) -> None:
    """Give a file other bytes, its mode kept, whatever its permissions say of writing."""
    mode = os.stat(path).st_mode & 0o777
    aside = f"{path}.aside"
    with open(aside, "xb") as file:
        file.write(data)
    os.chmod(aside, mode)
    os.replace(aside, path)


def copy_of(source: str, target: str) -> str:
    """Copy a directory as it is, links and times included, and return the copy's path."""
    shutil.copytree(source, target, symlinks=True)
    return target


WHOLE: Final[dict[str, Callable[[str], None]]] = {
    "truncated by a byte": lambda path: truncate(path, -1),
    "truncated to half": lambda path: truncate(path, os.path.getsize(path) // 2),
    "extended": extend,
    "emptied": empty,
    "zeroed": zero,
    "deleted": delete,
}
"""Damage that needs no position."""
