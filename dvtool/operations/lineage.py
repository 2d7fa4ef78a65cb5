"""``dv lineage``: what something was made from, and what was made from it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvtool.capture.redaction import Redactor
from dvtool.errors import DvError, NotFoundError, UsageError
from dvtool.formats import run
from dvtool.formats.tree import DIRECTORY
from dvtool.runs import catalogue, sealing
from dvtool.runs.lineage import Graph, Lineage

if TYPE_CHECKING:
    from dvtool.formats.tree import Entry
    from dvtool.workspace import Workspace

UP = "up"
DOWN = "down"


def lineage(workspace: Workspace, target: str, direction: str | None = None) -> Graph:
    """Return the graph of what a target was made from (``up``), or of what was made from it (``down``).

    Args:
        workspace: the worktree.
        target: a run; a run with the path of an output behind a colon; a revision, with a path or without; or a path,
            which means the file or directory of HEAD.
        direction: ``up`` or ``down``; by default up from runs, and down from data.

    Raises:
        NotFoundError: when there is no such thing.
        UsageError: when it can mean several.
    """
    sealing.seal_waiting(workspace, Redactor(os.environ))
    name, path = workspace.revisions.split_path(target)
    identity = _run_of(workspace, name)
    graph = Lineage(workspace)
    if identity is not None and path is None:
        up = direction != DOWN
        return graph.graph(graph.up_from_run(identity) if up else graph.down_from_run(identity), UP if up else DOWN)
    up = direction == UP
    word = UP if up else DOWN
    if identity is not None:
        entry = _output(workspace, identity, path or "")
        return graph.graph(_from_content(graph, f"{identity}:{path}", entry, up=up, maker=identity), word)
    if path is None and workspace.revisions.is_revision(target) and not os.path.lexists(target):
        snapshot = workspace.resolve(target).id
        node = graph.up_from_snapshot(snapshot) if up else graph.down_from_snapshot(snapshot)
        return graph.graph(node, word)
    place, entry = _content(workspace, target)
    return graph.graph(_from_content(graph, place, entry, up=up), word)


def _from_content(graph: Lineage, place: str, entry: Entry, *, up: bool, maker: str = "") -> str:
    is_directory = entry.kind == DIRECTORY
    if up:
        return graph.up_from_content(place, entry, is_directory)
    return graph.down_from_content(place, entry, is_directory, maker)


def _run_of(workspace: Workspace, word: str) -> str | None:
    """Return the run that a word means, or None when it means none; what is a path or revision is no run's name."""
    if not word or os.path.lexists(word) or (workspace.revisions.is_revision(word) and not run.is_id(word)):
        return None
    try:
        return catalogue.find(workspace, word)
    except NotFoundError:
        return None


def _output(workspace: Workspace, identity: str, path: str) -> Entry:
    value = catalogue.read(workspace, identity)
    entry = workspace.session.trees.resolve(value.tree, f"{run.OUTPUTS}/{path.strip('/')}")
    if entry is None:
        names = tuple(each.path for each in value.outputs)
        raise NotFoundError(f"run {identity} has no output {path!r}", items=names, next="name one of these")
    return entry


def _content(workspace: Workspace, target: str) -> tuple[str, Entry]:
    """Return the file or directory that a path or ``REV:PATH`` means."""
    name, path = workspace.revisions.split_path(target)
    if path is not None:
        try:
            _snapshot, where, entry = workspace.place(target)
        except (NotFoundError, UsageError):
            if not os.path.lexists(target):
                raise
        else:
            return where, entry
    relative = workspace.session.relative(target)
    head = workspace.session.head().snapshot
    found = workspace.session.trees.resolve(workspace.snapshot(head).root, relative) if head is not None else None
    if found is None:
        raise _nothing(workspace, name, target)
    return relative, found


def _nothing(workspace: Workspace, name: str, target: str) -> DvError:
    if catalogue.looks_like_run(name):
        return catalogue.unknown(name)
    return workspace.unknown(target, f"dv lineage REV:{target}")
