"""How runs are put into words and numbers for people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dvtool.formats import run
from dvtool.history.describe import rfc3339
from dvtool.runs.reading import flat

if TYPE_CHECKING:
    from dvtool.formats.run import Run
    from dvtool.runs.catalogue import Listed


class MetricItem(msgspec.Struct, frozen=True, kw_only=True):
    """What a series of numbers came to; numbers that are none are the texts ``nan``, ``inf`` and ``-inf``."""

    name: str
    split: str
    count: int
    step: int | None
    last: float | str
    least: float | str
    greatest: float | str


class InputItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was read: from which snapshot (hex) or run, where it lay there, in which role, how it is known.

    ``source`` is ``snapshot``, ``run``, ``worktree`` (in no snapshot, and kept with the run) or ``outside`` (not kept).
    """

    source: str
    snapshot: str | None
    run: str | None
    dirty: bool
    path: str
    role: str | None
    known: str
    files: int
    bytes: int


class OutputItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was made; ``origin`` is where it lay, if that was outside of the repository."""

    path: str
    origin: str | None
    kind: str | None
    files: int
    bytes: int
    missing: bool


class RunItem(msgspec.Struct, frozen=True, kw_only=True):
    """A run as lists show it; times in RFC 3339 UTC, ``seconds`` from its beginning to its end."""

    id: str
    name: str
    group: str | None
    stage: str | None
    parent: str | None
    status: str
    author: str
    started: str
    ended: str | None
    seconds: float | None
    params: dict[str, Any]
    metrics: tuple[MetricItem, ...]
    inputs: tuple[InputItem, ...]
    outputs: tuple[OutputItem, ...]


def number(value: float) -> float | str:
    """Return a number as JSON can say it."""
    found: Any = run.shown(value)
    return float(found) if isinstance(found, float | int) else str(found)


def metrics(value: Run) -> tuple[MetricItem, ...]:
    """Return what is said of a run's series."""
    return tuple(
        MetricItem(
            name=each.name,
            split=each.split,
            count=each.count,
            step=each.step,
            last=number(each.last),
            least=number(each.least),
            greatest=number(each.greatest),
        )
        for each in value.metrics
    )


def inputs(value: Run) -> tuple[InputItem, ...]:
    """Return what is said of what a run read."""
    return tuple(_input(value, each) for each in value.inputs)


def _input(value: Run, each: run.Input) -> InputItem:
    source = value.sources[each.source] if each.source >= 0 else None
    return InputItem(
        source=_kind(source),
        snapshot=source.snapshot.hex() if source is not None and source.snapshot else None,
        run=source.run if source is not None and source.run else None,
        dirty=source is not None and source.dirty,
        path=each.path,
        role=each.role or None,
        known=each.known,
        files=each.files,
        bytes=each.size,
    )


def _kind(source: run.Source | None) -> str:
    if source is None:
        return "outside"
    if source.snapshot:
        return "snapshot"
    return "run" if source.run else "worktree"


def outputs(value: Run) -> tuple[OutputItem, ...]:
    """Return what is said of what a run made."""
    return tuple(
        OutputItem(
            path=each.path,
            origin=each.origin or None,
            kind=each.kind or None,
            files=each.files,
            bytes=each.size,
            missing=each.missing,
        )
        for each in value.outputs
    )


def item(listed: Listed) -> RunItem:
    """Return what lists show of a run."""
    value = listed.run
    return RunItem(
        id=value.id,
        name=value.name,
        group=value.group or None,
        stage=value.stage or None,
        parent=value.parent or None,
        status=listed.status,
        author=value.author,
        started=rfc3339(value.started),
        ended=None if listed.going else rfc3339(value.ended),
        seconds=None if listed.going else max(0.0, (value.ended - value.started) / 1_000_000),
        params=shown(value.params),
        metrics=metrics(value),
        inputs=inputs(value),
        outputs=outputs(value),
    )


def shown(values: dict[str, Any]) -> dict[str, Any]:
    """Return parameters by name, with dots between the names of nested ones, as JSON can say them."""
    return {name: run.shown(value) for name, value in sorted(flat(values).items())}
