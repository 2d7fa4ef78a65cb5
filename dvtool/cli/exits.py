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

OTHERS: Final = {
    DONE: ("", "Done."),
    DIFFERENT: ("checks", "Differences were found where that was the question, or a check failed."),
    BUG: (
        "bug",
        "A bug in dv. A report lies in a file that the message names; nothing stored was lost.",
    ),
    INTERRUPTED: ("interrupted", "Interrupted, by Ctrl-C for example."),
    TERMINATED: (
        "interrupted",
        "Told to end, by `kill` for example; as after an interruption, nothing stored is lost.",
    ),
}
"""Exit codes that no class of errors explains: their kind in JSON (if any) and their meaning."""


def table() -> list[tuple[int, str, str]]:
    """Return every exit code with its kind in JSON (if any) and its meaning."""
    rows = dict(OTHERS)
    for error, code in CODES.items():
        if code not in rows:
            rows[code] = (error.kind, " ".join((error.__doc__ or "").split("\n\n")[0].split()))
    return [(code, kind, meaning) for code, (kind, meaning) in sorted(rows.items())]


def code_of(error: errors.DvError) -> int:
    """Return the exit code of an error."""
    for kind in type(error).__mro__:
        if kind in CODES:
            return CODES[kind]
    return BUG
