"""Personal settings: ``.dv/config`` for one worktree, one file in the home directory for all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import FormatError, UsageError
from dvtool.storage.disk import sweep_directory
from dvtool.worktree.layout import write_file

if TYPE_CHECKING:
    from dvtool.storage.disk import Disk

KEYS: Final = {
    "user.name": "your name, as snapshots record it",
    "user.email": "your address, as snapshots record it",
    "clone.name": "what this clone is called at the remotes where it registers; nothing by default",
}


def user_path() -> str:
    """Return where the settings of all worktrees of this user lie."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "dv", "config")


def load(path: str) -> dict[str, str]:
    """Return the settings in a file; none when it is not there.

    Raises:
        FormatError: when it is malformed.
    """
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            "the settings cannot be read", where=path, why=str(error), next="mend or remove the file"
        ) from None


def check_key(key: str) -> str:
    """Return ``key`` if there is such a setting.

    Raises:
        UsageError: when there is none; the nearest is named.
    """
    if key not in KEYS:
        import difflib

        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=0)
        raise UsageError(f"there is no setting {key!r}", next=f"did you mean {near[0]!r}?")
    return key


def store(path: str, key: str, value: str | None, disk: Disk) -> None:
    """Set one setting, or remove it when ``value`` is None."""
    values = load(path)
    if value is None:
        values.pop(check_key(key), None)
    else:
        values[check_key(key)] = value
    os.makedirs(os.path.dirname(path), exist_ok=True)
    sweep_directory(os.path.dirname(path), paths.PARTIAL)
    write_file(path, msgspec.json.format(msgspec.json.encode(dict(sorted(values.items()))), indent=2) + b"\n", disk)
