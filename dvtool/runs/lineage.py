"""The graph of what was made from what.

Content is what connects: a file that a run made and another read is the same file, whether it was handed over by name,
committed in between, or copied.  Nothing but content that is not empty connects, and only forwards in time; where an
input says which run made it, that one is believed.
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
from dvtool.runs.makers import Makers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from dvtool.formats.snapshot import Snapshot
    from dvtool.formats.tree import Entry
    from dvtool.runs.catalogue import Listed
    from dvtool.runs.makers import Link
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
        self._makers = Makers(workspace, self._directories, self.runs)

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
        self._down([identity])
        return identity

    def down_from_snapshot(self, identity: bytes) -> str:
        """Gather the runs that read from a snapshot, and what came of them."""
        node = self._snapshot(identity)
        self._down([each.id for each in self.runs.values() if self._read_from(each, identity)])
        return node

    def down_from_content(self, path: str, entry: Entry, is_directory: bool, maker: str = "") -> str:  # noqa: FBT001
        """Gather where the content of a file, or of the files below a directory, is and what was made from it.

        ``maker`` is the run whose output it is, where that is asked about.
        """
        wanted = contents.of(self._trees, entry)
        node = self._file(path, entry, is_directory=is_directory)
        if wanted:
            self._holders(node, wanted)
            self._down(self._readers(node, wanted, maker))
        return node

    def made_from(self, wanted: AbstractSet[bytes]) -> tuple[set[str], set[str]]:
        """Return the runs that read any of some contents, and those together with all that used what they made."""
        finder = contents.Finder(self._directories, wanted)
        direct = {
            row.id
            for row in self.runs.values()
            if any(finder.below(directory) for _number, directory in self._makers.parts(row))
        }
        found, pending = set(direct), set(direct)
        while pending:
            links = ((row.id, link) for row in self.runs.values() for link in self._makers.links(row))
            pending = {identity for identity, link in links if link.maker in pending} - found
            found |= pending
        return direct, found

    def _down(self, start: Iterable[str]) -> None:
        """Gather what was made from the outputs of some runs, all the way down."""
        pending = set(start)
        done: set[str] = set()
        while pending:
            for identity in sorted(pending):
                self._run(identity)
                for path in self._makers.outputs(identity).values():
                    self._output(identity, path)
            done |= pending
            found = set()
            for row in self.runs.values():
                for link in self._makers.links(row):
                    if link.maker in pending:
                        self._link(row, link)
                        found.add(row.id)
            pending = found - done

    def _readers(self, node: str, wanted: AbstractSet[bytes], maker: str) -> list[str]:
        """Connect the runs that read any of some contents, and return them."""
        finder = contents.Finder(self._directories, wanted)
        found = []
        for row in self.runs.values():
            for number, directory in self._makers.parts(row):
                for content, path in finder.below(directory).items():
                    if maker and not self._makers.may_have_made(maker, content, row, number):
                        continue
                    self._read_at(row, number, path, node)
                    found.append(row.id)
        return found

    def _read_at(self, row: Listed, number: int, path: str, origin: str) -> None:
        """Connect the content that was asked about with a run that read it, through the snapshot that it was in."""
        source = row.run.sources[number]
        role, known = self._said(row, number, path)
        self._run(row.id)
        if source.snapshot:
            node = self._snapshot(source.snapshot)
            self._edge(origin, node, HOLDS, path)
            self._edge(node, row.id, role, path, known)
        else:
            self._edge(origin, row.id, role, path, known)

    def _link(self, row: Listed, link: Link) -> None:
        """Connect what a run made with the run that read it."""
        maker = self._run(link.maker) if link.output is None else self._output(link.maker, link.output)
        role, known = self._said(row, link.source, link.path)
        self._edge(maker, self._run(row.id), role, link.path, known)

    def _said(self, row: Listed, number: int, path: str) -> tuple[str, str | None]:
        """Return the role of something that was read, and how it is known."""
        said = self._input(row, number, path)
        return ((said.role or "input"), said.known) if said is not None else ("input", None)

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
        self._made_by(node, contents.of(self._trees, entry))
        return node

    def up_from_snapshot(self, identity: bytes) -> str:
        """Gather the runs that made something of what a snapshot holds."""
        node = self._snapshot(identity)
        value = self._workspace.snapshot(identity)
        made = {content: place for each in self.runs for content, place in self._makers.outputs(each).items()}
        found = contents.Finder(self._directories, made.keys()).below(value.root)
        self._made_by(node, set(found))
        return node

    def _made_by(self, node: str, wanted: AbstractSet[bytes]) -> None:
        for identity in sorted(self.runs):
            met = {content: place for content, place in self._makers.outputs(identity).items() if content in wanted}
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
            elif not source.run:
                worktree = self._node(f"{row.id}:{run.INPUTS}/{each.path}", "file", each.path)
                self._edge(worktree, row.id, role, each.path, each.known)
        links = self._makers.links(row)
        for link in links:
            self._link(row, link)
        return sorted({link.maker for link in links})

    # -------------------------------------------------------------------------------------------- nodes and edges

    def _read_from(self, row: Listed, identity: bytes) -> bool:
        """Connect a snapshot with a run that read from it, or from one that it stands for; return whether it did."""
        state = self._workspace.session.state
        numbers = {
            number
            for number, source in enumerate(row.run.sources)
            if source.snapshot and identity in {source.snapshot, state.standing(source.snapshot)}
        }
        read = [each for each in row.run.inputs if each.source in numbers]
        if not numbers or (row.run.inputs and not read):
            return False
        self._run(row.id)
        for each in read:
            self._edge(self._snapshot(identity), row.id, each.role or "input", each.path, each.known)
        if not read:
            self._edge(self._snapshot(identity), row.id, "input", None, None)
        return True

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
