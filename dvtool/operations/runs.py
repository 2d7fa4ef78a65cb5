"""``dv runs``: lists, shows and compares what was recorded, brings back what runs made, and removes runs."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids, paths
from dvtool.capture.redaction import Redactor
from dvtool.errors import ConflictError, NotFoundError, UsageError
from dvtool.formats import log, run
from dvtool.formats.tree import DIRECTORY
from dvtool.history.describe import Erased, rfc3339
from dvtool.runs import catalogue, contents, describing, filters, sealing, standing
from dvtool.runs.describing import InputItem, MetricItem, OutputItem
from dvtool.runs.reading import flat
from dvtool.runs.standing import Standing
from dvtool.store.treediff import diff_trees
from dvtool.worktree import apply, ingest, stats
from dvtool.worktree.materialise import Contents, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dvtool.formats.tree import Entry
    from dvtool.runs.catalogue import Listed
    from dvtool.runs.describing import RunItem
    from dvtool.runs.filters import Wanted
    from dvtool.store.state import State
    from dvtool.workspace import Workspace

OPERATION: Final = "runs rm"


class RunShown(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of a run; see :class:`~dvtool.runs.describing.RunItem` for what lists show.

    ``revision`` counts how often the run was written anew, ``record`` are the files that were kept of it beside what
    it read and made, and ``children`` the runs that began inside of it.
    """

    id: str
    revision: int
    name: str
    group: str | None
    stage: str | None
    parent: str | None
    children: tuple[str, ...]
    status: str
    author: str
    started: str
    ended: str | None
    seconds: float | None
    command: tuple[str, ...]
    directory: str
    params: dict[str, Any]
    changes: tuple[dict[str, Any], ...]
    seeds: dict[str, Any]
    metrics: tuple[MetricItem, ...]
    samples: tuple[dict[str, Any], ...]
    inputs: tuple[InputItem, ...]
    outputs: tuple[OutputItem, ...]
    code: dict[str, Any]
    environment: dict[str, Any]
    process: dict[str, Any]
    workers: tuple[dict[str, Any], ...]
    reproducible: Standing
    record: tuple[str, ...]
    notes: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that two runs do not have in common; None where one of them has nothing of the kind."""

    name: str
    a: Any
    b: Any


class DataChange(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the files that two runs read, or made: paths, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    modified: tuple[str, ...]


class RunsDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two runs; ``same`` says of each part whether it is the same, None where it is not known."""

    a: str
    b: str
    same: dict[str, bool | None]
    data: DataChange
    outputs: DataChange
    code: tuple[Difference, ...]
    params: tuple[Difference, ...]
    seeds: tuple[Difference, ...]
    environment: tuple[Difference, ...]
    metrics: tuple[Difference, ...]


class RunRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was removed, and the runs that had used what it made."""

    id: str
    dependents: tuple[str, ...]


class RunFetched(msgspec.Struct, frozen=True, kw_only=True):
    """What was brought back of a run: paths from the root or, elsewhere, as they are; files and bytes."""

    id: str
    directory: str | None
    paths: tuple[str, ...]
    files: int
    bytes: int


def list_runs(
    workspace: Workspace,
    wanted: Wanted,
    *,
    limit: int | None = None,
    by: str = "",
    unstable: bool = False,
) -> list[RunItem]:
    """Return runs, the newest first.

    Args:
        workspace: the worktree.
        wanted: which ones.
        limit: at most so many.
        by: the metric or parameter by which they are sorted, the least first; the greatest first with ``-`` before it.
        unstable: only runs of which another had the same data, code, parameters, seeds and environment, and another
            result; beside each other.

    Raises:
        UsageError: when a condition makes no sense.
    """
    sealing.seal_waiting(workspace, Redactor(os.environ))
    inputs = tuple(_meant(workspace, each) for each in wanted.inputs)
    rows = filters.choose(catalogue.everything(workspace), msgspec.structs.replace(wanted, inputs=inputs))
    if unstable:
        rows = _unstable(rows)
    if by:
        rows = _sorted(rows, by)
    with catalogue.many():
        return [describing.item(row) for row in rows[:limit]]


def _meant(workspace: Workspace, word: str) -> str:
    """Return what runs are to have read: a path from the root, unless it can only be a run or a snapshot."""
    is_hex = len(word) >= ids.SHORTEST_PREFIX and not set(word) - set("0123456789abcdef")
    if run.is_id(word) or (is_hex and not os.path.lexists(word)):
        return word
    try:
        return workspace.session.relative(word)
    except UsageError:
        return word  # it lies outside, and such inputs have absolute paths


def _unstable(rows: list[Listed]) -> list[Listed]:
    groups: dict[tuple[bytes, ...], list[Listed]] = {}
    for row in rows:
        prints = row.run.prints
        if prints.data and prints.results:
            key = (prints.data, prints.code, prints.params, prints.seed, prints.environment)
            groups.setdefault(key, []).append(row)
    return [row for group in groups.values() if len({each.run.prints.results for each in group}) > 1 for row in group]


def _sorted(rows: list[Listed], by: str) -> list[Listed]:
    down = by.startswith("-")
    name = by.removeprefix("-")

    def key(row: Listed) -> tuple[bool, Any]:
        found = filters.named(row.run.metrics, name)
        value = found[0].last if found else flat(row.run.params).get(name)
        is_number = isinstance(value, int | float) and value == value  # noqa: PLR0124 - a NaN comes last
        number = float(value) if is_number and value is not None else 0.0
        return not is_number, -number if down else number

    return sorted(rows, key=key)


def show(workspace: Workspace, word: str) -> RunShown:
    """Return all that is known of a run.

    Raises:
        NotFoundError: when there is none.
        UsageError: when the word means several.
    """
    sealing.seal_waiting(workspace, Redactor(os.environ))
    identity = catalogue.find(workspace, word)
    rows = catalogue.everything(workspace)
    row = next((each for each in rows if each.id == identity), None)
    if row is None:
        row = catalogue.listed(workspace, identity)  # which says what is wrong with it
    value = row.run if row.going else catalogue.read(workspace, identity)
    item = describing.item(row)
    record = [] if row.going else _listed(workspace, value.tree, run.RECORD)
    return RunShown(
        id=value.id,
        revision=value.revision,
        name=value.name,
        group=item.group,
        stage=item.stage,
        parent=item.parent,
        children=tuple(each.id for each in rows if each.run.parent == identity),
        status=item.status,
        author=value.author,
        started=item.started,
        ended=item.ended,
        seconds=item.seconds,
        command=value.command,
        directory=value.directory,
        params=item.params,
        changes=tuple(
            {"name": each.name, "time": rfc3339(each.time), "step": each.step, "value": run.shown(each.value)}
            for each in value.changes
        ),
        seeds=describing.shown(value.seeds),
        metrics=item.metrics,
        samples=tuple(msgspec.structs.asdict(each) for each in value.samples),
        inputs=item.inputs,
        outputs=item.outputs,
        code=_code(value),
        environment={key: run.shown(each) for key, each in sorted(value.environment.items())},
        process=_process(value),
        workers=tuple(
            {
                **msgspec.structs.asdict(each),
                "started": rfc3339(each.started),
                "ended": rfc3339(each.ended) if each.ended else None,
            }
            for each in value.workers
        ),
        reproducible=standing.judge(workspace, value) if not row.going else _unknown(),
        record=tuple(record),
        notes=value.notes,
    )


def _unknown() -> Standing:
    return Standing(state=standing.DEGRADED, reasons=("it has not ended",), erased=Erased(files=0, rows=0))


def _code(value: run.Run) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(value.code),
        "untracked": [{"path": path, "kept": word == "kept"} for path, word in value.code.untracked],
    }


def _process(value: run.Run) -> dict[str, Any]:
    ending = value.ending
    return {
        "exit": ending.code,
        "signal": ending.signal,
        "why": ending.why or None,
        "cpu_seconds": ending.cpu,
        "peak_memory": ending.memory,
    }


def _listed(workspace: Workspace, top: bytes, path: str) -> list[str]:
    trees = workspace.session.trees
    entry = trees.resolve(top, path)
    if entry is None or entry.kind != DIRECTORY:
        return []
    return sorted(place for place, _entry in contents.files(trees, entry.id))


def kept(workspace: Workspace, word: str, path: str) -> Iterator[bytes]:
    """Yield a file that was kept of a run, by its path in ``record``, piece by piece.

    Raises:
        NotFoundError: when there is no such run, or nothing was kept there.
    """
    value = catalogue.read(workspace, catalogue.find(workspace, word))
    session = workspace.session
    entry = session.trees.resolve(value.tree, f"{run.RECORD}/{path}")
    if entry is None or entry.kind == DIRECTORY:
        raise NotFoundError(
            f"nothing was kept of run {value.id} as {path!r}", next=f"run 'dv runs show {value.id}' to see what was"
        )
    session.bring((entry,))
    yield from Contents(session.store, session.frames()).pieces(entry)


def diff(workspace: Workspace, first: str, second: str) -> RunsDiff:
    """Return what differs between two runs.

    Raises:
        NotFoundError, UsageError: as :func:`show`.
    """
    a, b = (catalogue.read(workspace, catalogue.find(workspace, word)) for word in (first, second))
    one, two = msgspec.structs.asdict(a.prints), msgspec.structs.asdict(b.prints)
    same = {name: one[name] == two[name] if one[name] and two[name] else None for name in one}
    if not a.prints.seed and not b.prints.seed:
        same["seed"] = None
    code = [{"command": " ".join(each.command), **_code(each)} for each in (a, b)]
    return RunsDiff(
        a=a.id,
        b=b.id,
        same=same,
        data=_data_change(workspace, a, b, run.INPUTS),
        outputs=_data_change(workspace, a, b, run.OUTPUTS),
        code=_differences(*code),
        params=_differences(describing.shown(a.params), describing.shown(b.params)),
        seeds=_differences(describing.shown(a.seeds), describing.shown(b.seeds)),
        environment=_differences(_environment(a), _environment(b)),
        metrics=_differences(_metrics(a), _metrics(b)),
    )


def _metrics(value: run.Run) -> dict[str, Any]:
    """Return the last values of a run's series, with the split before the name."""
    return {
        f"{each.split}/{each.name}" if each.split else each.name: describing.number(each.last) for each in value.metrics
    }


def _environment(value: run.Run) -> dict[str, Any]:
    """Return the environment with its packages by name, and dots between the names of nested values."""
    document = dict(value.environment)
    found = document.pop("packages", None)
    listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    document["package"] = {str(each.get("name")): each.get("version") for each in listed}
    return describing.shown(document)


def _differences(one: dict[str, Any], two: dict[str, Any]) -> tuple[Difference, ...]:
    return tuple(
        Difference(name=name, a=one.get(name), b=two.get(name))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    )


def _data_change(workspace: Workspace, a: run.Run, b: run.Run, part: str) -> DataChange:
    trees = workspace.session.trees
    one, two = (_part(workspace, each, part) for each in (a, b))
    found = diff_trees(trees, trees, one, two) if one != two else None
    changes: dict[str, list[str]] = {"added": [], "removed": [], "modified": []}
    for path, (old, new) in found.files.items() if found is not None else ():
        place = path.partition("/")[2] if part == run.INPUTS else path
        changes["added" if old is None else "removed" if new is None else "modified"].append(place)
    return DataChange(**{word: tuple(sorted(paths)) for word, paths in changes.items()})


def _part(workspace: Workspace, value: run.Run, part: str) -> bytes | None:
    entry = workspace.session.trees.resolve(value.tree, part)
    return entry.id if entry is not None else None


def remove(workspace: Workspace, words: Sequence[str], *, force: bool = False) -> list[RunRemoved]:
    """Remove runs: all that only they kept is collected with the next garbage.

    Raises:
        ConflictError: when others have used what one made, or it goes on, unless ``force``.
        NotFoundError, UsageError: as :func:`show`.
    """
    if not words:
        raise UsageError("no run is named", next="dv runs rm RUN")
    identities = list(dict.fromkeys(catalogue.find(workspace, word) for word in words))
    rows = catalogue.everything(workspace)
    if going := [row.id for row in rows if row.id in identities and row.going]:
        raise ConflictError("a run goes on", items=tuple(going), next="wait for its end, or stop it")
    removed = [RunRemoved(id=each, dependents=_dependents(workspace, rows, each, identities)) for each in identities]
    if not force and (using := [each for each in removed if each.dependents]):
        listed = [f"{each.id} is used by {name}" for each in using for name in each.dependents]
        raise ConflictError(
            "other runs have used what these made; nothing was removed",
            items=tuple(listed),
            next="remove those as well, or remove these all the same with --force: the others then say that "
            "where their input came from is not known any more",
        )
    store = workspace.session.store

    def build(state: State) -> list[log.Action]:
        names = [run.ref_name(each) for each in identities]
        return [log.MoveRef(name=name, old=old, new=None) for name in names if (old := state.ref(name)) is not None]

    store.log.append(OPERATION, build)
    workspace.after_change()
    return removed


def _dependents(workspace: Workspace, rows: Sequence[Listed], identity: str, going: Sequence[str]) -> tuple[str, ...]:
    """Return the runs that read what a run made, by name or by content."""
    trees = workspace.session.trees
    row = next((each for each in rows if each.id == identity), None)
    if row is None:
        return ()  # it is damaged, and what it made cannot be told
    made = {entry.id for _path, entry in contents.files(trees, row.outputs) if entry.size} if row.outputs else set()
    finder = contents.Finder(contents.Directories(trees), made)
    found = set()
    for each in rows:
        if each.id in going or each.id == identity:
            continue
        named = any(source.run == identity for source in each.run.sources)
        is_later = each.run.started >= row.run.started
        if named or each.run.parent == identity or (made and is_later and each.inputs and finder.below(each.inputs)):
            found.add(each.id)
    return tuple(sorted(found))


def fetch(workspace: Workspace, word: str, *, directory: str | None = None, force: bool = False) -> RunFetched:
    """Bring back what a run made: to where it was, or into a directory.

    Args:
        workspace: the worktree.
        word: which run.
        directory: where to; by default each output goes where it was made.
        force: whether files in the way that differ are overwritten, even if their content is stored nowhere.

    Raises:
        ConflictError: when files are in the way; nothing was written.
        NotFoundError: when there is no such run, or it made nothing.
    """
    value = catalogue.read(workspace, catalogue.find(workspace, word))
    session = workspace.session
    top = session.trees.resolve(value.tree, run.OUTPUTS)
    if top is None or not value.outputs:
        raise NotFoundError(f"run {value.id} made nothing", next=f"run 'dv runs show {value.id}' to see it")
    said = [each.path for each in value.outputs]
    wanted = {path: entry for path, entry in contents.files(session.trees, top.id) if paths.covered(path, said)}
    for path in wanted:
        paths.check_path(path, what="a run")  # who pushed it may have put dv's or Git's own files among its outputs
    base = session.root if directory is None else os.path.join(session.context.cwd or os.getcwd(), directory)
    if directory is not None:
        workspace.session.context.disk.make_directory(base)
    judged, same = _look(workspace, base, wanted)
    if not force and (in_the_way := sorted(judged.keys() - same)):
        raise ConflictError(
            "files are in the way; nothing was written",
            items=tuple(in_the_way),
            next="move them away, write elsewhere with -o DIR, or overwrite them with --force",
        )
    session.bring(wanted.values())
    files = [path for path in wanted if path not in same]
    written = write_all(session.store, base, files, wanted, session.context.progress, judged=judged)
    apply.raise_damage(written.damaged, done="every other file has been written")
    return RunFetched(
        id=value.id,
        directory=None if directory is None else paths.shown(base),
        paths=tuple(sorted(wanted)),
        files=len(wanted),
        bytes=sum(entry.size for entry in wanted.values()),
    )


def _look(workspace: Workspace, base: str, wanted: dict[str, Entry]) -> tuple[dict[str, bytes], set[str]]:
    """Return the stat data of what lies where files are to be written, and which of it is what would be written."""
    judged: dict[str, bytes] = {}
    for path in wanted:
        with contextlib.suppress(OSError):
            judged[path] = stats.pack(stats.of(os.lstat(f"{base}/{path}")))
    there = ingest.by_directory(judged)
    found = ingest.ingest(workspace.session.store, base, there, None, workspace.session.context.progress)
    same = {path for path, entry, _stat in found.entries() if entry[:3] == wanted[path][:3]}
    return judged, same
