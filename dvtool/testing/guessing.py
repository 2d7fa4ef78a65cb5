"""Confirms guesses of what was erased, as whoever knows the repository secret and every retained id and number can.

Ids are keyed, and the key is there.  So whoever guesses a content computes its ids and looks whether one was retained;
whoever sees a directory that lost a file puts the guess back and looks whether the id that this gives was retained; and
where a total is retained from before, subtraction gives the size of what is gone.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from dvtool import digest, ids, paths
from dvtool.errors import DvError
from dvtool.formats import codec, manifest, nodes, run, snapshot, stage, tree
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.runs.reading import flat
from dvtool.store.chunker import Chunker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dvtool.formats.storeformat import Chunking
    from dvtool.store.keys import Secrets
    from dvtool.testing.canary import Wanted

TOGETHER: Final = 10
"""Contents of which all combinations are tried where a total may hold them; of more, each alone and all together."""
SUBSETS: Final = 5
"""Files of one directory of which all combinations are put back; of more, each alone and all together."""
NAMES: Final = 64
"""Names under which each content is put back into each directory."""


class Where(NamedTuple):
    """The place of something retained: its file, and where in it."""

    place: str
    inside: str


class Guess(NamedTuple):
    """A guess that something retained confirms: where that stands, what is confirmed, and by what."""

    where: Where
    found: str
    by: str


class Directory(NamedTuple):
    """A directory as it is retained: entries by name, and what it says was erased from it."""

    entries: dict[str, Entry]
    here: tree.Tally


class Model:
    """What is retained, as far as guesses need it: objects by their true ids, and every id there is."""

    def __init__(self, secrets: Secrets, sizes: Chunking) -> None:
        """Hold nothing yet."""
        self.hasher = digest.IdHasher(secrets.id_key)
        self.secrets = secrets
        self.retained: dict[bytes, Where] = {}
        """Each retained id, with the first place where it stands."""
        self.nodes: dict[bytes, tree.Leaf | tree.Inner] = {}
        self.manifests: dict[bytes, manifest.Node] = {}
        self.snapshots: dict[bytes, tuple[Where, snapshot.Snapshot]] = {}
        self.runs: dict[bytes, tuple[Where, run.Run]] = {}
        self.stages: dict[bytes, stage.Stage] = {}
        self.places: dict[bytes, Where] = {}
        self._directories: dict[bytes, Directory | None] = {}
        self._chunker = Chunker(sizes, secrets.seed)

    def retain(self, identity: bytes, where: Where) -> None:
        """Note that an id stands somewhere."""
        self.retained.setdefault(identity, where)

    def take(self, kind: int, data: bytes, where: Where) -> bytes:
        """Note an object, by the id that its content has; return that."""
        if kind not in ids.KIND_NAMES:
            return b""
        identity = self.hasher.id(kind, data)
        self.places.setdefault(identity, where)
        try:
            match kind:
                case ids.TREE:
                    self.nodes[identity] = tree.decode(data)
                case ids.MANIFEST:
                    self.manifests[identity] = manifest.decode(data)
                case ids.SNAPSHOT:
                    self.snapshots[identity] = where, snapshot.decode(data)
                case ids.RUN:
                    self.runs[identity] = where, run.decode(data)
                case ids.STAGE:
                    self.stages[identity] = stage.decode(data)
        except DvError:
            pass
        return identity

    # ------------------------------------------------------------------------------------ contents

    def cut(self, content: bytes) -> list[int]:
        """Return at which bytes the chunks of a content begin."""
        return [start for start, _end in self._chunker.cut(content)]

    def entry(self, content: bytes) -> Entry:
        """Return the entry that a directory would have for a content, not executable."""
        if not content:
            return Entry(tree.FILE, 0, self.hasher.id(ids.CHUNK, b""))
        *_lower, top = self._levels(content)
        return Entry(tree.LONG_FILE if _lower else tree.FILE, len(content), top[0][0])

    def names_of(self, content: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield (what, id) of every id that dv would give to a content or to a part of it."""
        levels = self._levels(content)
        for identity, _length in levels[0]:
            yield "id of a chunk of", identity
        for level in levels[1:]:
            for identity, _length in level:
                yield "id of a manifest of", identity
        yield "hash of", digest.keyed(self.secrets.id_key, content)

    def _levels(self, content: bytes) -> list[list[tuple[bytes, int]]]:
        """Return the chunks of a content, and the nodes of its manifest level by level, each its id and its length."""
        cuts = self._chunker.cut(content)
        levels = [[(self.hasher.id(ids.CHUNK, content[start:end]), end - start) for start, end in cuts]]
        while len(levels[-1]) > 1:
            below = levels[-1]
            made = []
            start = 0
            for end in nodes.cut(len(below), nodes.MANIFEST_SHAPE, lambda at, below=below: below[at][0]):  # type: ignore[misc]
                part = below[start:end]
                data = manifest.encode(len(levels) - 1, [each for each, _size in part], [size for _each, size in part])
                made.append((self.hasher.id(ids.MANIFEST, data), sum(size for _each, size in part)))
                start = end
            levels.append(made)
        return levels

    # ---------------------------------------------------------------------------------- directories

    def roots(self) -> Iterator[bytes]:
        """Yield the directories: every node of a tree that is not part of another one's directory."""
        inner = {
            node.ids[at : at + ids.ID_SIZE]
            for node in self.nodes.values()
            if isinstance(node, tree.Inner)
            for at in range(0, len(node.ids), ids.ID_SIZE)
        }
        yield from (identity for identity in self.nodes if identity not in inner)

    def directory(self, identity: bytes) -> Directory | None:
        """Return a retained directory; None if a part of it is not there."""
        if identity not in self._directories:
            self._directories[identity] = self._read(identity, 0)
        return self._directories[identity]

    def _read(self, identity: bytes, depth: int) -> Directory | None:
        node = self.nodes.get(identity)
        if node is None or depth > nodes.MAX_LEVEL:
            return None
        if isinstance(node, tree.Leaf):
            return Directory(dict(zip(tree.names_of(node), tree.entries_of(node), strict=True)), node.here)
        entries: dict[str, Entry] = {}
        here: tree.Tally = ()
        for at in range(0, len(node.ids), ids.ID_SIZE):
            below = self._read(node.ids[at : at + ids.ID_SIZE], depth + 1)
            if below is None:
                return None
            entries |= below.entries
            here = here or below.here
        return Directory(entries, here)

    def build(self, value: Directory) -> list[bytes]:
        """Return the ids of all nodes that a directory would have, its own the last."""
        names = sorted(value.entries)
        made: list[bytes] = []
        level: list[tuple[str, bytes, tree.Totals]] = []
        start = 0
        for end in nodes.cut(len(names), nodes.TREE_SHAPE, nodes.name_marks(self.secrets.split, names, 0)) or [0]:
            part = names[start:end]
            here = value.here if start == 0 else ()
            data, totals = tree.encode_leaf(part, [value.entries[name] for name in part], here)
            level.append((part[-1] if part else "", self.hasher.id(ids.TREE, data), totals))
            start = end
        made += [identity for _name, identity, _totals in level]
        for height in itertools.count(1):
            if len(level) == 1:
                return made
            lasts = [name for name, _identity, _totals in level]
            above = []
            start = 0
            for end in nodes.cut(len(level), nodes.TREE_SHAPE, nodes.name_marks(self.secrets.split, lasts, height)):
                part_of = level[start:end]
                below = [each for _name, _identity, each in part_of]
                data = tree.encode_inner(height, lasts[start:end], [each for _name, each, _totals in part_of], below)
                above.append((lasts[end - 1], self.hasher.id(ids.TREE, data), tree.sum_totals(below)))
                start = end
            level = above
            made += [identity for _name, identity, _totals in level]
        return made

    def entry_of(self, value: Directory, identity: bytes = b"") -> Entry:
        """Return the entry that a directory above would have for this one, whose id may be known."""
        found = list(value.entries.values())
        tally = tree.merge_tallies([value.here, *(each.erased for each in found if each.erased)])
        files = sum(each.files for each in found)
        return Entry(DIRECTORY, sum(each.size for each in found), identity or self.build(value)[-1], files, tally)

    def resolve(self, root: bytes, path: str) -> Entry | None:
        """Return what lies at a path below a retained directory."""
        found = Entry(DIRECTORY, 0, root)
        for name in filter(None, path.split("/")):
            directory = self.directory(found.id) if found.kind == DIRECTORY else None
            if directory is None or name not in directory.entries:
                return None
            found = directory.entries[name]
        if found.kind == DIRECTORY and not path:
            directory = self.directory(root)
            size = sum(each.size for each in directory.entries.values()) if directory is not None else 0
            return found._replace(size=size)
        return found


class Guesser:
    """Tries what is wanted on what is retained."""

    def __init__(self, model: Model, wanted: Wanted) -> None:
        """Work out what is put back where."""
        self.model = model
        self.contents = [content for content in wanted.all_contents if content not in wanted.kept]
        self.words = wanted.words
        self.files = {path.strip("/"): self.model.entry(content) for path, content in wanted.files}
        named = [*self.files, *wanted.words]
        self.names = list(dict.fromkeys(filter(_is_name, (each.rpartition("/")[2] for each in named))))[:NAMES]
        self._above: dict[bytes, list[tuple[bytes, str]]] | None = None
        self._made: dict[bytes, dict[str, set[bytes]]] = {}
        self._tried: list[tuple[bytes, str]] = []

    def ids(self, kept: Iterable[bytes]) -> list[tuple[str, bytes]]:
        """Return (what, id) of every id of each content, without those that contents which remain have as well."""
        remain = {identity for content in kept for _what, identity in self.model.names_of(content)}
        return [
            (f"{what} content {number}", identity)
            for number, content in enumerate(self.contents, 1)
            for what, identity in self.model.names_of(content)
            if identity not in remain
        ]

    # ---------------------------------------------------------------------------------- directories

    def directories(self) -> Iterator[Guess]:
        """Yield the guesses of what a directory held that a retained id confirms."""
        seen: set[bytes] = set()
        for found, what in self._all():
            where = self.model.retained.get(found)
            if where is not None and found not in seen:
                seen.add(found)
                yield Guess(where, what, f"the id of a directory with it, {found.hex()[:12]}")

    def _all(self) -> list[tuple[bytes, str]]:
        """Return what :meth:`_put_back` yields, which also notes what the directories of runs may have been."""
        if not self._tried:
            self._tried = list(dict.fromkeys(self._put_back()))
        return self._tried

    def _put_back(self) -> Iterator[tuple[bytes, str]]:
        """Yield (id, what was put back) of each directory that a guess makes, and of those above it."""
        additions = [*self._alone(), *self._some()]
        for top in (*self.model.roots(), b""):
            value = self.model.directory(top) if top else Directory({}, ())
            if value is None:
                continue
            for added, what in additions:
                yield from ((found, what) for found in self._with(top, value, added))
            for prefix in self._prefixes():
                for restored in self._restored(value, prefix, self.files):
                    found = self.model.build(restored)
                    above = self._upwards(top, restored, found[-1])
                    yield from ((each, "all files together") for each in (*found, *above))
        for found_there in self._in_runs():
            yield found_there, "all files together"

    def _with(self, top: bytes, value: Directory, added: dict[str, Entry]) -> Iterator[bytes]:
        """Yield the ids that a directory and those above would have with further entries."""
        for base in _before(value):
            if all(base.entries.get(name) == entry for name, entry in added.items()):
                continue
            made = base._replace(entries={**base.entries, **added})
            found = self.model.build(made)
            self._made.setdefault(top, {}).setdefault("", set()).add(found[-1])
            yield from found
            yield from self._upwards(top, made, found[-1])

    def _upwards(self, top: bytes, made: Directory, named: bytes) -> Iterator[bytes]:
        """Yield the ids of the directories above one that is as it was, and has the id ``named``."""
        pending = [(top, made, named)]
        seen = set()
        while pending:
            identity, value, named = pending.pop()
            entry = self.model.entry_of(value, named)
            for above, name in self._parents().get(identity, ()):
                holder = self.model.directory(above)
                if holder is None or (above, name, entry.id) in seen:
                    continue
                seen.add((above, name, entry.id))
                for base in _before(holder):
                    changed = base._replace(entries={**base.entries, name: entry})
                    found = self.model.build(changed)
                    self._made.setdefault(above, {}).setdefault("", set()).add(found[-1])
                    yield from found
                    pending.append((above, changed, found[-1]))

    def _parents(self) -> dict[bytes, list[tuple[bytes, str]]]:
        """Return, by directory, which directories hold it under which names."""
        if self._above is None:
            self._above = {}
            for top in self.model.roots():
                value = self.model.directory(top)
                for name, entry in value.entries.items() if value is not None else ():
                    if entry.kind == DIRECTORY:
                        self._above.setdefault(entry.id, []).append((top, name))
        return self._above

    def _alone(self) -> Iterator[tuple[dict[str, Entry], str]]:
        """Yield (what is added to a directory, how it is called): each content under each name."""
        for number, content in enumerate(self.contents, 1):
            entry = self.model.entry(content)
            for name in self.names:
                for kind in (entry.kind, _executable(entry.kind)):
                    yield {name: entry._replace(kind=kind)}, f"content {number} as {name!r}"

    def _some(self) -> Iterator[tuple[dict[str, Entry], str]]:
        """Yield the same of some of the files of each directory: they may have come one after the other."""
        by_directory: dict[str, dict[str, Entry]] = {}
        for path, entry in self.files.items():
            directory, _slash, name = path.rpartition("/")
            by_directory.setdefault(directory, {})[name] = entry
        for files in by_directory.values():
            for count in range(2, len(files) if len(files) <= SUBSETS else 2):
                for chosen in itertools.combinations(files.items(), count):
                    yield dict(chosen), f"{count} files together"

    def _prefixes(self) -> list[str]:
        """Return the directories in which erased files lay, and those above."""
        found = {above for path in self.files for above in paths.parents(path)}
        return sorted(found | {""}) if self.files else []

    def _restored(self, value: Directory, prefix: str, files: dict[str, Entry]) -> Iterator[Directory]:
        """Yield a directory as it was at ``prefix`` with all files that lay there, with and without tallies."""
        at = prefix + "/" if prefix else ""
        inside = {path[len(at) :]: entry for path, entry in files.items() if path.startswith(at)}
        if not inside:
            return
        for base in _before(value):
            entries = dict(base.entries)
            below: dict[str, dict[str, Entry]] = {}
            for path, entry in inside.items():
                name, _slash, rest = path.partition("/")
                if rest:
                    below.setdefault(name, {})[rest] = entry
                else:
                    entries[name] = entry
            for name, parts in below.items():
                known = entries.get(name)
                directory = self.model.directory(known.id) if known is not None and known.kind == DIRECTORY else None
                # The last is the one without tallies: as it was before.
                *_others, last = self._restored(directory or Directory({}, ()), "", parts)
                entries[name] = self.model.entry_of(last)
            yield Directory(entries, base.here)

    def _in_runs(self) -> Iterator[bytes]:
        """Yield the ids that the directories of runs had with all files in what was read, made or kept."""
        for identity, (_where, value) in self.model.runs.items():
            places = [*(f"{run.INPUTS}/{at}" for at in range(len(value.sources))), run.OUTPUTS]
            files = {f"{place}/{path}": entry for place in places for path, entry in self.files.items()}
            for name in (run.INPUTS, run.OUTPUTS):
                own = {path[len(name) + 1 :]: entry for path, entry in files.items() if path.startswith(name + "/")}
                known = self.model.resolve(value.tree, name)
                directory = self.model.directory(known.id) if known is not None else None
                for restored in self._restored(directory or Directory({}, ()), "", own):
                    made = self.model.build(restored)
                    self._made.setdefault(identity, {}).setdefault(name, set()).add(made[-1])
                    yield from made

    # --------------------------------------------------------------------------------- fingerprints

    def fingerprints(self) -> Iterator[Guess]:
        """Yield the guesses that the fingerprints of a run confirm: of what it read, made, was called with and set."""
        self._all()
        for identity, (where, value) in self.model.runs.items():
            for what, mark, made in self._marks(identity, value):
                if mark and made == mark:
                    yield Guess(where, what, f"a fingerprint of run {value.id}")
                    break

    def _marks(self, identity: bytes, value: run.Run) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield (what is guessed, fingerprint, what it would be)."""

        def over(*what: object) -> bytes:
            return self.model.hasher.id(ids.RUN, codec.encode(what))

        outside = [(each.path, each.known_as) for each in value.inputs if each.source == run.OUTSIDE]
        read = [(each.path, each.role) for each in value.inputs]
        for made in self._guessed(identity, value, run.INPUTS):
            yield "what it read", value.prints.data, over("data", made, read, outside)
        results = [(each.name, each.split, each.last) for each in value.metrics]
        for made in self._guessed(identity, value, run.OUTPUTS):
            yield "what it made", value.prints.results, over("results", [results, made])
        parts = [self._part(value, f"{run.RECORD}/patch.diff"), self._part(value, f"{run.RECORD}/untracked")]
        for number, guess in itertools.product((0, 1), self._kept_code(value)):
            code = [value.code.commit, value.code.script, [*parts[:number], guess, *parts[number + 1 :]]]
            yield "its code", value.prints.code, over("code", value.command, code)
        code = [value.code.commit, value.code.script, parts]
        for at, word in itertools.product(range(len(value.command)), self.words):
            said = (*value.command[:at], word, *value.command[at + 1 :])
            yield f"word {word!r} in its command", value.prints.code, over("code", said, code)
        params = {name: each for name, each in flat(value.params).items() if not _is_seed(name)}
        for name, word in itertools.product(params, self.words):
            yield f"word {word!r} as parameter", value.prints.params, over("params", {**params, name: word})

    def _guessed(self, identity: bytes, value: run.Run, name: str) -> set[bytes]:
        known = self._part(value, name)
        return self._made.get(identity, {}).get(name, set()) | self._made.get(known, {}).get("", set())

    def _kept_code(self, value: run.Run) -> set[bytes]:
        untracked = self._part(value, f"{run.RECORD}/untracked")
        found = self._made.get(untracked, {}).get("", set()) | self._made.get(b"", {}).get("", set())
        return found | {self.model.entry(content).id for content in self.contents}

    def _part(self, value: run.Run, path: str) -> bytes:
        found = self.model.resolve(value.tree, path)
        return found.id if found is not None else b""

    # --------------------------------------------------------------------------------------- totals

    def totals(self) -> Iterator[Guess]:
        """Yield the numbers from which the size of an erased content follows.

        A number that is a power of two is taken for a class, which is what an erasure leaves of a total.
        """
        sums = self._sums()
        for where, what, claimed, left in self._claims():
            lost = claimed - left
            if lost in sums and claimed & (claimed - 1):
                yield Guess(where, sums[lost], f"{what}: {claimed:,} bytes, of which {left:,} are left")

    def _sums(self) -> dict[int, str]:
        """Return what has how many bytes: contents alone and together."""
        sizes = [len(content) for content in self.contents]
        found: dict[int, str] = {}
        counts = range(1, len(sizes) + 1) if len(sizes) <= TOGETHER else (1, len(sizes))
        for count in counts:
            for chosen in itertools.combinations(range(len(sizes)), count):
                names = ", ".join(str(at + 1) for at in chosen)
                found.setdefault(sum(sizes[at] for at in chosen), f"size of content {names}")
        found.pop(0, None)
        return found

    def _claims(self) -> Iterator[tuple[Where, str, int, int]]:
        """Yield (where, which number, what it says, what is left) of every total of which something is left."""
        for where, made in self.model.snapshots.values():
            found = self.model.resolve(made.root, "")
            yield where, "total of a snapshot", made.size, found.size if found is not None else 0
        for where, value in self.model.runs.values():
            yield from self._claims_of_run(where, value)
        for top in self.model.roots():
            directory = self.model.directory(top)
            for name, entry in directory.entries.items() if directory is not None else ():
                below = self.model.directory(entry.id) if entry.kind == DIRECTORY else None
                if below is not None:
                    size = sum(each.size for each in below.entries.values())
                    yield self.model.places[top], f"total of directory {name!r}", entry.size, size

    def _claims_of_run(self, where: Where, value: run.Run) -> Iterator[tuple[Where, str, int, int]]:
        for each in value.inputs:
            if each.source == run.OUTSIDE:
                if each.path.rpartition("/")[2] in self.names:
                    yield where, f"size of an input of run {value.id}", each.size, 0
                continue
            place = paths.join(f"{run.INPUTS}/{each.source}", each.path)
            yield where, f"size of an input of run {value.id}", each.size, self._size(value, place)
        for made in value.outputs:
            place = f"{run.OUTPUTS}/{made.path}"
            yield where, f"size of an output of run {value.id}", made.size, self._size(value, place)

    def _size(self, value: run.Run, place: str) -> int:
        found = self.model.resolve(value.tree, place)
        return found.size if found is not None else 0


def _before(value: Directory) -> list[Directory]:
    """Return a directory as it is, and as it was before something was erased from it, the latter last."""
    if not value.here and not any(each.erased for each in value.entries.values()):
        return [value]
    entries = {
        name: each._replace(erased=()) if each.kind == DIRECTORY else each
        for name, each in value.entries.items()
        if each.kind != tree.ERASED
    }
    return [value, Directory(value.entries, ()), Directory(entries, ())]


def _is_seed(name: str) -> bool:
    """Return whether a parameter counts as a seed, which has a fingerprint of its own."""
    last = name.rpartition(".")[2].lower()
    return last in {"seed", "random_state", "random_seed"} or last.endswith("_seed")


def _executable(kind: int) -> int:
    return tree.LONG_EXECUTABLE if kind == tree.LONG_FILE else tree.EXECUTABLE


def _is_name(name: str) -> bool:
    try:
        tree.encode_leaf([name], [Entry(tree.FILE, 0, bytes(ids.ID_SIZE))])
        paths.check_names([name], name)
    except (DvError, UnicodeEncodeError):
        return False
    return True
