"""Which run made what another one read.

Where an input says whose output it is, that run made it.  Of everything else the content decides: all runs made it that
made the same and could have done so in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dvtool import paths
from dvtool.errors import DvError
from dvtool.runs import contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dvtool.formats import run
    from dvtool.runs.catalogue import Listed
    from dvtool.workspace import Workspace


class Link(NamedTuple):
    """A run read what another made: the path in the maker's outputs (None: not known), and where the reader read it."""

    maker: str
    output: str | None
    source: int
    path: str


class Makers:
    """Answers for a list of runs, each of whose trees is looked into once."""

    def __init__(self, workspace: Workspace, directories: contents.Directories, runs: Mapping[str, Listed]) -> None:
        """Look into nothing yet."""
        self._workspace = workspace
        self._directories = directories
        self._runs = runs
        self._outputs: dict[str, dict[bytes, str]] = {}
        self._made: dict[bytes, list[tuple[str, str]]] | None = None
        self._finder: contents.Finder | None = None
        self._links: dict[str, list[Link]] = {}

    def outputs(self, identity: str) -> dict[bytes, str]:
        """Return the contents of what a run made, and where in its outputs each lies."""
        found = self._outputs.get(identity)
        if found is None:
            row = self._runs.get(identity)
            found = {}
            if row is not None and row.outputs is not None:
                for path, entry in contents.files(self._directories.trees, row.outputs):
                    if entry.size:
                        found.setdefault(entry.id, path)
            self._outputs[identity] = found
        return found

    def parts(self, row: Listed) -> Iterator[tuple[int, bytes]]:
        """Yield the directories of what a run read, each with the position of its source."""
        return contents.parts(self._directories.trees, row.inputs, len(row.run.sources))

    def links(self, row: Listed) -> list[Link]:
        """Return which runs made what a run read; none made what it read itself."""
        found = self._links.get(row.id)
        if found is None:
            found = self._links[row.id] = [*self._by_content(row)]
            found += self._by_name(row, found)
        return found

    def _by_content(self, row: Listed) -> Iterator[Link]:
        made, finder = self._everything()
        for number, directory in self.parts(row):
            for content, path in finder.below(directory).items():
                for maker, place in made[content]:
                    if self.may_have_made(maker, content, row, number):
                        yield Link(maker, place, number, path)

    def _by_name(self, row: Listed, known: list[Link]) -> Iterator[Link]:
        """Yield the runs that inputs name and whose outputs do not tell what was read, such as those removed since."""
        for each in row.run.inputs:
            maker = row.run.sources[each.source].run if each.source >= 0 else ""
            if maker and maker != row.id and not any(
                (link.maker, link.source) == (maker, each.source) and paths.below(link.path, each.path)
                for link in known
            ):  # fmt: skip
                yield Link(maker, None, each.source, each.path)

    def may_have_made(self, maker: str, content: bytes, row: Listed, number: int) -> bool:
        """Return whether a run that made some content made what another read as the same, from one of its sources."""
        source = row.run.sources[number]
        if maker == row.id or (source.run and source.run != maker):
            return False
        made = self._runs.get(maker)
        if made is None or source.run:
            return True
        if (made.run.started, maker) <= (row.run.started, row.id):
            return True
        # The reader went on when the maker began.  That may have read the same and copied it.
        return made.run.started <= self._last(row, source) and not self._has_read(made, content)

    def _last(self, row: Listed, source: run.Source) -> int:
        """Return the time after which nobody can have made what a run read: what is in a snapshot was there before."""
        if not source.snapshot:
            return row.run.ended
        try:
            taken = self._workspace.snapshot(source.snapshot).time
        except DvError:
            return row.run.ended
        return min(row.run.ended, max(row.run.started, taken))

    def _has_read(self, row: Listed, content: bytes) -> bool:
        _made, finder = self._everything()
        return any(content in finder.below(directory) for _number, directory in self.parts(row))

    def _everything(self) -> tuple[dict[bytes, list[tuple[str, str]]], contents.Finder]:
        """Return the contents of all that was made, by whom and where, and what finds them."""
        if self._made is None or self._finder is None:
            self._made = {}
            for identity in sorted(self._runs):
                for content, place in self.outputs(identity).items():
                    self._made.setdefault(content, []).append((identity, place))
            self._finder = contents.Finder(self._directories, self._made.keys())
        return self._made, self._finder
