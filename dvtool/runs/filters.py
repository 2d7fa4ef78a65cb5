"""Chooses runs by what is said of them: ``lr>0.01``, ``val/loss<0.3``, ``stage=train``."""

from __future__ import annotations

import fnmatch
import operator
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids
from dvtool.errors import UsageError
from dvtool.runs.reading import flat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dvtool.formats.run import Metric
    from dvtool.runs.catalogue import Listed

_CONDITION: Final = re.compile(r"(?P<name>[^<>=!]+?)\s*(?P<sign><=|>=|!=|==|=|<|>)\s*(?P<value>.*)", re.DOTALL)
_SIGNS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are wanted; what is empty does not choose.

    ``params`` and ``metrics`` are conditions; ``inputs`` are paths, or the beginnings of ids of snapshots (hex), or ids
    of runs.
    """

    name: str = ""
    group: str = ""
    stage: str = ""
    status: str = ""
    params: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


def choose(rows: Iterable[Listed], wanted: Wanted) -> list[Listed]:
    """Return the runs that are wanted, in their order.

    Raises:
        UsageError: when a condition makes no sense.
    """
    params = [_condition(each) for each in wanted.params]
    metrics = [_condition(each) for each in wanted.metrics]
    return [
        row
        for row in rows
        if _is_called(row, wanted)
        and all(_holds(flat(row.run.params).get(name, _NOTHING), sign, value) for name, sign, value in params)
        and all(_metric_holds(row.run.metrics, *each) for each in metrics)
        and all(_reads(row, each) for each in wanted.inputs)
    ]


_NOTHING: Final = object()


def _is_called(row: Listed, wanted: Wanted) -> bool:
    return (
        (not wanted.name or fnmatch.fnmatchcase(row.run.name, wanted.name) or row.id.startswith(wanted.name))
        and (not wanted.group or fnmatch.fnmatchcase(row.run.group, wanted.group))
        and (not wanted.stage or row.run.stage == wanted.stage)
        and (not wanted.status or row.status == wanted.status)
    )


def _condition(text: str) -> tuple[str, str, Any]:
    found = _CONDITION.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no condition", next="write a name, one of < <= > >= = != and a value: 'loss<0.3'"
        )
    try:
        value = msgspec.json.decode(found["value"])
    except msgspec.DecodeError:
        value = found["value"]
    return found["name"].strip(), found["sign"], value


def _holds(value: object, sign: str, wanted: object) -> bool:
    if value is _NOTHING:
        return False
    is_number = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (value, wanted))
    if not is_number and sign in {"<", "<=", ">", ">="}:
        return isinstance(value, str) and isinstance(wanted, str) and _SIGNS[sign](value, wanted)
    if not is_number and type(value) is not type(wanted):
        return _SIGNS[sign](str(value), str(wanted))
    return _SIGNS[sign](value, wanted)


def named(metrics: Sequence[Metric], name: str) -> list[Metric]:
    """Return the series of a name: ``loss`` of every split, ``val/loss`` or ``loss@val`` of one."""
    split, slash, rest = name.partition("/")
    base, at, of = name.partition("@")
    return [
        each
        for each in metrics
        if each.name == name
        or (slash and (each.split, each.name) == (split, rest))
        or (at and (each.name, each.split) == (base, of))
    ]


def _metric_holds(metrics: Sequence[Metric], name: str, sign: str, wanted: object) -> bool:
    return any(_holds(each.last, sign, wanted) for each in named(metrics, name))


def _reads(row: Listed, wanted: str) -> bool:
    for each in row.run.inputs:
        source = row.run.sources[each.source] if each.source >= 0 else None
        if source is not None and source.run == wanted:
            return True
        if source is not None and len(wanted) >= ids.SHORTEST_PREFIX and source.snapshot.hex().startswith(wanted):
            return True
        if each.path == wanted or wanted.startswith(f"{each.path}/") or each.path.startswith(f"{wanted}/"):
            return True
    return False
