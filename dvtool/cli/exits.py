"""Exit codes, said once."""

from __future__ import annotations

from typing import Final

from dvtool import errors

DONE: Final = 0
DIFFERENT: Final = 1
BUG: Final = 70
INTERRUPTED: Final = 130
TERMINATED: Final = 143

CODES: Final[dict[type[errors.DvError], int]] = {
    errors.ChecksFailedError: 1,
    errors.UsageError: 2,
    errors.NotFoundError: 10,
    errors.ExistsError: 11,
    errors.ConflictError: 12,
    errors.IntegrityError: 20,
    errors.FormatError: 21,
    errors.StorageError: 30,
    errors.KeyAccessError: 40,
    errors.ErasedError: 41,
}


def code_of(error: errors.DvError) -> int:
    """Return the exit code of an error."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return BUG
