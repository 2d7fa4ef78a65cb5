"""Makes a run fit the limits of its format, whatever a program said: what is too long is cut, and a note says so.

A run that could not be stored would be lost with all that is right about it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import paths
from dvtool.capture import plain
from dvtool.errors import FormatError
from dvtool.formats import codec, run
from dvtool.formats.run import CHANGES_LIMIT, ITEM_LIMIT, PARAM_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dvtool.formats import journal
    from dvtool.formats.run import Run

NAME: Final = 1000
"""Characters of what something is called."""
NOTE: Final = 4000
"""Characters of a note."""
NOTES: Final = 1000
"""Notes of a run that are kept."""
ROOM: Final = 2**20
"""Bytes that each list of a run takes at most, so that all together stay far below its limit."""
LEFT_OUT: Final = "[too large to be kept]"


def begin(value: journal.Begin) -> journal.Begin:
    """Return what is known of a run when it begins with documents that fit."""
    notes = list(value.notes)
    return msgspec.structs.replace(
        value,
        params=document(value.params, "parameters", notes),
        environment=document(value.environment, "the environment", notes),
        code={**value.code, "untracked": rows(value.code["untracked"], "untracked files", notes)},
        notes=tuple(_text(note, NOTE) for note in notes[:NOTES]),
    )


def whole(value: Run, notes: list[str]) -> Run:
    """Return a run that can be stored."""
    value = msgspec.structs.replace(
        value,
        **{name: _text(getattr(value, name), NAME) for name in ("name", "group", "author", "directory")},
        stage=value.stage if value.stage in run.STAGES else "",
        inputs=rows(value.inputs, "inputs", notes, _input),
        outputs=rows(value.outputs, "outputs", notes, _output),
        params=document(value.params, "parameters", notes),
        changes=rows(value.changes, "changes of parameters", notes, _change, room=CHANGES_LIMIT - 16),
        seeds=document(value.seeds, "seeds", notes),
        metrics=rows(_distinct(value.metrics), "metrics", notes),
        samples=rows(value.samples, "tables of samples", notes, _named),
        workers=rows(value.workers, "workers", notes, _worker),
        environment=document(value.environment, "the environment", notes),
        ending=msgspec.structs.replace(value.ending, why=_text(value.ending.why, NOTE)),
    )
    more: list[str] = []
    kept = rows([_text(note, NOTE) for note in notes[: NOTES - 1]], "notes", more)
    if len(notes) >= NOTES:
        more.append(f"{len(notes) - NOTES + 1:,} more notes were not kept")
    return msgspec.structs.replace(value, notes=(*kept, *more))


def document(values: dict[str, Any], what: str, notes: list[str]) -> dict[str, Any]:
    """Return a document that is no larger than one may be: the largest values give way to a word."""
    found = plain.document(values)
    sizes = {name: len(codec.encode([name, value])) for name, value in found.items()}
    total = sum(sizes.values())
    if total <= PARAM_LIMIT - 16:
        return found
    for name in sorted(sizes, key=lambda each: -sizes[each]):
        if total <= PARAM_LIMIT - 16:
            break
        left = len(codec.encode([name, LEFT_OUT]))
        if sizes[name] > NAME and left <= NAME:
            found[name] = LEFT_OUT
        else:  # many small ones, where words in their place would not help
            del found[name]
            left = 0
        total -= sizes[name] - left
    notes.append(f"{what} were too large, so not all of them are kept")
    return found


def rows(
    found: Iterable[Any],
    what: str,
    notes: list[str],
    clean: Callable[[Any], Any] = lambda each: each,
    *,
    room: int = ROOM,
) -> tuple[Any, ...]:
    """Return a list that is not too long, of what can be written; what is left out is counted in a note."""
    kept: list[Any] = []
    total = lost = 0
    for each in found:
        value = None
        if len(kept) < ITEM_LIMIT:
            with contextlib.suppress(FormatError):
                value = clean(each)
        size = len(codec.encode(value)) if value is not None else 0
        if value is None or total + size > room:
            lost += 1
            continue
        total += size
        kept.append(value)
    if lost:
        notes.append(f"{lost:,} {what} are left out: there are too many, or they cannot be written")
    return tuple(kept)


def _text(value: str, limit: int) -> str:
    found = plain.text(value)
    return found if len(found) <= limit else found[: limit - 1] + "…"


def _input(value: run.Input) -> run.Input:
    found = msgspec.structs.replace(value, role=_text(value.role, NAME), path=plain.text(value.path))
    if value.source != run.OUTSIDE:
        paths.check_path(found.path, what="a run")
    return found


def _output(value: run.Output) -> run.Output:
    paths.check_path(value.path, what="a run")
    return msgspec.structs.replace(value, kind=_text(value.kind, NAME), origin=plain.text(value.origin))


def _change(value: run.Change) -> run.Change:
    return msgspec.structs.replace(value, name=_text(value.name, NAME), step=_step(value.step))


def _named(value: run.Samples) -> run.Samples:
    return msgspec.structs.replace(value, name=_text(value.name, NAME), key=_text(value.key, NAME))


def _worker(value: run.Worker) -> run.Worker:
    return msgspec.structs.replace(
        value,
        shard=_text(value.shard, NAME),
        host=_text(value.host, NAME),
        pid=max(0, value.pid),
        lost=max(0, value.lost),
    )


def _distinct(values: Sequence[run.Metric]) -> list[run.Metric]:
    """Return metrics under names that are not too long; of those that are alike then, the first."""
    found: dict[tuple[str, str], run.Metric] = {}
    for each in values:
        key = _text(each.name, NAME), _text(each.split, NAME)
        found.setdefault(key, msgspec.structs.replace(each, name=key[0], split=key[1]))
    return list(found.values())


def _step(step: int | None) -> int | None:
    return step if step is None or abs(step) < 2**63 else None
