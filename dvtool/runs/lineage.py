"""The graph of what was made from what.

Content is what connects: a file that a run made and another read is the same file, whether it was handed over by name,
committed in between, or copied.  Nothing but content that is not empty connects, and only forwards in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from dvtool import paths
from dvtool.errors import DvError
from dvtool.formats import log, run
from dvtool.history import graph
from dvtool.history.describe import rfc3339
from dvtool.runs import catalogue, contents

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from dvtool.formats.snapshot import Snapshot
    from dvtool.formats.tree import Entry
    from dvtool.runs.catalogue import Listed
    from dvtool.workspace import Workspace

HOLDS: Final = "holds"
MAKES: Final = "makes"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Something in the graph: ``run``, ``snapshot``, ``output``, ``file``, ``directory`` or ``outside``.

    The id of a run is its own, that of a snapshot its id in hex, that of an output ``RUN:PATH``, and that of a file or
    directory its path and the beginning of its content's id.
    """

    id: str
    type: str
    label: str
    time: str | None = None
    status: str | None = None


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """Something went from one node to another: in which role, at which path, and how that is known."""

    from_: str = msgspec.field(name="from")
    to: str
    role: str
    path: str | None = None
    known: str | None = None


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes and edges, sorted; ``target`` is the node that was asked about."""

    target: str
    direction: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class Lineage:
    """Builds one graph."""

    def __init__(self, workspace: Workspace) -> None:
        """Read the list of all runs."""
        self._workspace = workspace
        self._trees = workspace.session.trees
        self._directories = contents.Directories(self._trees)
        self.runs: dict[str, Listed] = {each.id: each for each in catalogue.everything(workspace)}
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str, str, str | None], Edge] = {}
        self._made: dict[str, dict[bytes, str]] = {}

    def graph(self, target: str, direction: str) -> Graph:
        """Return what was gathered."""
        return Graph(
            target=target,
            direction=direction,
            nodes=tuple(self._nodes[identity] for identity in sorted(self._nodes)),
            edges=tuple(self._edges[key] for key in sorted(self._edges, key=str)),
        )

    # -------------------------------------------------------------------------------------------- what came of it

    def down_from_run(self, identity: str) -> str:
        """Gather what was made from the outputs of a run."""
        self._down([identity], set())
        return identity

    def down_from_snapshot(self, identity: bytes) -> str:
        """Gather the runs that read from a snapshot, and what came of them."""
        node = self._snapshot(identity)
        readers = [each.id for each in self.runs.values() if identity in self._named(each)]
        for reader in readers:
            self._read_from(self.runs[reader], identity)
        self._down(readers, set())
        return node

    def down_from_content(self, path: str, entry: Entry, is_directory: bool) -> str:  # noqa: FBT001
        """Gather where the content of a file, or of the files below a directory, is and what was made from it."""
        wanted = contents.of(self._trees, entry)
        node = self._file(path, entry, is_directory=is_directory)
        if wanted:
            self._holders(node, wanted)
            self._down([], wanted, origin=node)
        return node

    def _down(self, start: Iterable[str], wanted: AbstractSet[bytes], origin: str = "") -> None:
        pending = list(start)
        done: set[str] = set()
        while pending or wanted:
            fresh: set[bytes] = set(wanted)
            makers = dict.fromkeys(wanted, origin)
            for identity in pending:
                self._run(identity)
                for content, path in self._outputs(identity).items():
                    makers.setdefault(content, self._output(identity, path))
                    fresh.add(content)
            done |= set(pending)
            pending = self._readers(fresh, makers, done)
            wanted = set()

    def _readers(self, wanted: AbstractSet[bytes], makers: dict[bytes, str], done: AbstractSet[str]) -> list[str]:
        """Connect the runs that read any of some contents, and return those that were not met before."""
        finder = contents.Finder(self._directories, wanted)
        found = []
        for row in self.runs.values():
            if row.inputs is None:
                continue
            met = False
            for content, place in finder.below(row.inputs).items():
                maker = makers[content]
                if maker.partition(":")[0] == row.id or not self._is_before(maker, row):
                    continue
                met = True
                self._read_at(row, place, maker)
            if met and row.id not in done:
                found.append(row.id)
        return found

    def _is_before(self, maker: str, row: Listed) -> bool:
        made = self.runs.get(maker.partition(":")[0])
        return made is None or made.run.started <= row.run.started

    def _read_at(self, row: Listed, place: str, maker: str) -> None:
        """Connect what a run read, by its place in the run's tree, with where it came from."""
        number, _, path = place.partition("/")
        said = self._input(row, int(number), path)
        role = said.role if said is not None and said.role else "input"
        known = said.known if said is not None else None
        self._run(row.id)
        source = row.run.sources[int(number)]
        if source.snapshot and not self._is_output(maker):
            node = self._snapshot(source.snapshot)
            self._edge(maker, node, HOLDS, path)
            self._edge(node, row.id, role, path, known)
        else:
            self._edge(maker, row.id, role, path, known)

    def _is_output(self, node: str) -> bool:
        return node in self._nodes and self._nodes[node].type == "output"

    def _input(self, row: Listed, number: int, path: str) -> run.Input | None:
        """Return what a run says of something that it read: the nearest that lies above it."""
        above = [each for each in row.run.inputs if each.source == number and paths.below(path, each.path)]
        return max(above, key=lambda each: (len(each.path), bool(each.role)), default=None)

    def _holders(self, node: str, wanted: AbstractSet[bytes]) -> None:
        """Connect the snapshots that hold any of some contents."""
        finder = contents.Finder(self._directories, wanted)
        for identity, value in self._history():
            try:
                found = finder.below(value.root)
            except DvError:
                continue  # damaged, which fsck tells
            if found:
                self._edge(node, self._snapshot(identity), HOLDS, min(found.values()))

    def _history(self) -> Iterable[tuple[bytes, Snapshot]]:
        session = self._workspace.session
        tops = [
            value
            for name, value in session.state.ref_names("")
            if name.startswith(("heads/", "tags/", "remotes/")) and log.symbolic(value) is None
        ]
        head = session.head().snapshot
        tips = sorted({*tops, *([head] if head is not None else [])})
        return graph.walk(tips, session.snapshot, session.resolve_superseded) if tips else ()

    # -------------------------------------------------------------------------------------------- what it came from

    def up_from_run(self, identity: str) -> str:
        """Gather what a run was made from, all the way up."""
        pending, done = [identity], set()
        while pending:
            current = pending.pop()
            if current in done or current not in self.runs:
                continue
            done.add(current)
            pending += self._sources(self.runs[current])
        return identity

    def up_from_content(self, path: str, entry: Entry, is_directory: bool) -> str:  # noqa: FBT001
        """Gather the runs that made the content of a file, or of files below a directory, and what they came from."""
        node = self._file(path, entry, is_directory=is_directory)
        self._makers(node, contents.of(self._trees, entry))
        return node

    def up_from_snapshot(self, identity: bytes) -> str:
        """Gather the runs that made something of what a snapshot holds."""
        node = self._snapshot(identity)
        value = self._workspace.snapshot(identity)
        made = {content: place for each in self.runs for content, place in self._outputs(each).items()}
        found = contents.Finder(self._directories, made.keys()).below(value.root)
        self._makers(node, set(found))
        return node

    def _makers(self, node: str, wanted: AbstractSet[bytes]) -> None:
        for identity in sorted(self.runs):
            met = {content: place for content, place in self._outputs(identity).items() if content in wanted}
            for place in sorted(set(met.values())):
                self._edge(self._output(identity, place), node, HOLDS, place)
            if met:
                self.up_from_run(identity)

    def _sources(self, row: Listed) -> list[str]:
        """Connect what a run read, and return the runs that made any of it."""
        self._run(row.id)
        for each in row.run.inputs:
            role = each.role or "input"
            if each.source == run.OUTSIDE:
                outside = self._node(f"outside:{each.path}", "outside", each.path)
                self._edge(outside, row.id, role, each.path, each.known)
                continue
            source = row.run.sources[each.source]
            if source.snapshot:
                self._edge(self._snapshot(source.snapshot), row.id, role, each.path, each.known)
            elif source.run and source.run not in self.runs:
                self._edge(self._run(source.run), row.id, role, each.path, each.known)
            elif not source.run:
                worktree = self._node(f"{row.id}:{run.INPUTS}/{each.path}", "file", each.path)
                self._edge(worktree, row.id, role, each.path, each.known)
        return self._content_makers(row)

    def _content_makers(self, row: Listed) -> list[str]:
        if row.inputs is None:
            return []
        before = [each for each in self.runs if each != row.id and self.runs[each].run.started <= row.run.started]
        made: dict[bytes, tuple[str, str]] = {}
        for identity in sorted(before):
            for content, place in self._outputs(identity).items():
                made.setdefault(content, (identity, place))
        found = contents.Finder(self._directories, made.keys()).below(row.inputs)
        makers = set()
        for content, place in found.items():
            maker, path = made[content]
            number, _, where = place.partition("/")
            said = self._input(row, int(number), where)
            role = said.role if said is not None and said.role else "input"
            self._edge(self._output(maker, path), row.id, role, where, said.known if said is not None else None)
            makers.add(maker)
        return sorted(makers)

    # -------------------------------------------------------------------------------------------- nodes and edges

    def _outputs(self, identity: str) -> dict[bytes, str]:
        """Return the contents of what a run made, and where in its outputs each lies."""
        found = self._made.get(identity)
        if found is None:
            row = self.runs.get(identity)
            found = {}
            if row is not None and row.outputs is not None:
                for path, entry in contents.files(self._trees, row.outputs):
                    if entry.size:
                        found.setdefault(entry.id, path)
            self._made[identity] = found
        return found

    def _named(self, row: Listed) -> set[bytes]:
        state = self._workspace.session.state
        return {found for each in run.names_of(row.run) for found in (each, state.standing(each)) if found is not None}

    def _read_from(self, row: Listed, identity: bytes) -> None:
        self._run(row.id)
        for each in row.run.inputs:
            if each.source >= 0 and row.run.sources[each.source].snapshot:
                self._edge(self._snapshot(identity), row.id, each.role or "input", each.path, each.known)
        if not row.run.inputs:
            self._edge(self._snapshot(identity), row.id, "input", None, None)

    def _node(self, identity: str, kind: str, label: str, time: int | None = None, status: str | None = None) -> str:
        if identity not in self._nodes:
            said = rfc3339(time) if time is not None else None
            self._nodes[identity] = Node(id=identity, type=kind, label=label, time=said, status=status)
        return identity

    def _edge(self, source: str, target: str, role: str, path: str | None, known: str | None = None) -> None:
        key = (source, target, role, path)
        self._edges.setdefault(key, Edge(from_=source, to=target, role=role, path=path, known=known))

    def _run(self, identity: str) -> str:
        row = self.runs.get(identity)
        if row is None:
            return self._node(identity, "run", identity, status="removed")
        label = row.run.name or " ".join(row.run.command)[:80] or identity
        return self._node(identity, "run", label, row.run.started, row.status)

    def _output(self, identity: str, path: str) -> str:
        node = self._node(f"{identity}:{path}", "output", path)
        self._edge(self._run(identity), node, MAKES, path)
        return node

    def _snapshot(self, identity: bytes) -> str:
        if identity.hex() in self._nodes:
            return identity.hex()
        try:
            value = self._workspace.snapshot(identity)
        except DvError:
            return self._node(identity.hex(), "snapshot", "not kept any more")
        subject = value.message.strip().splitlines()[0][:80] if value.message.strip() else ""
        return self._node(identity.hex(), "snapshot", subject, value.time)

    def _file(self, path: str, entry: Entry, *, is_directory: bool) -> str:
        return self._node(f"{path}@{entry.id.hex()[:12]}", "directory" if is_directory else "file", path)
