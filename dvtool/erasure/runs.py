"""Runs without what is erased: what they were and came to stays, and they say what is missing.

Counts stay exact.  Totals of bytes in which something erased was counted become the next power of two, because two
exact totals would tell the size of what lies between them.  Fingerprints that cover it are replaced by random ones,
equal where they were equal, so that "the same data" can still be answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from dvtool import ids, paths
from dvtool.formats import run, tree
from dvtool.formats.run import INPUTS, OUTPUTS, RECORD
from dvtool.formats.tree import DIRECTORY, Entry
from dvtool.store import manifests
from dvtool.store.editing import Editor
from dvtool.tables import series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dvtool.erasure.drawing import Draw
    from dvtool.erasure.rewriting import Trees
    from dvtool.formats.run import Run
    from dvtool.globs import Matcher
    from dvtool.store.editing import Changes, Scratch
    from dvtool.store.store import Store

PRINTED: Final = ("stdout.txt", "stderr.txt")
GONE: Final = "[erased]"
"""Stands where something was taken out of a text."""
_UNTRACKED: Final = "untracked"
PATCH: Final = "patch.diff"
"""Below ``record/``: what of the code was not committed when a run began."""
TAKEN: Final = "what was erased was taken out of the patch"


class Runs:
    """Writes runs anew."""

    def __init__(
        self,
        store: Store,
        objects: Scratch,
        trees: Trees,
        matcher: Matcher,
        erasure: bytes,
        draw: Draw,
        *,
        words: Sequence[str],
        redacted: Callable[[str], str],
        author: Callable[[str], str],
        keep_path: bool,
    ) -> None:
        """Read from the store, and write to ``objects``.

        Args:
            store: the store.
            objects: takes new objects.
            trees: rewrites trees.
            matcher: says which paths go.
            erasure: its id.
            draw: draws nonces and tokens.
            words: texts in which a line of captured output is known to speak of what goes.
            redacted: returns a text as it may stay.
            author: returns the name of an author as it may stay.
            keep_path: leave names.
        """
        self._store = store
        self._objects = objects
        self._trees = trees
        self._editor = Editor(objects, store.secrets.split)
        self._matcher = matcher
        self._erasure = erasure
        self._draw = draw
        self._words = [word.encode() for word in words]
        self._redacted = redacted
        self._author = author
        self._keep_path = keep_path

    def rewritten(self, old: Run, snapshots: Mapping[bytes, bytes]) -> tuple[Run, int] | None:
        """Return a run without what is erased, and how many files went; None when it holds nothing of it.

        Args:
            old: the run.
            snapshots: by id, the new one of each snapshot that is superseded.
        """
        changed: dict[str, int] = {}
        top = self._tree(old.tree, changed)
        record, rows, is_recorded = self._record(old, top)
        files = sum(changed.values())
        words = self._texts(old)
        if top == old.tree and record == top and words == old and not is_recorded:
            return None
        sources = tuple(
            msgspec.structs.replace(each, snapshot=snapshots.get(each.snapshot, each.snapshot)) for each in old.sources
        )
        before = tuple(sorted({each.snapshot for each in old.sources if each.snapshot in snapshots}))
        has_read = any(place.startswith(f"{INPUTS}/") for place in changed)
        has_made = OUTPUTS in changed
        new = msgspec.structs.replace(
            words,
            revision=old.revision + 1,
            nonce=self._draw.nonce(old.nonce, old.id),
            tree=record,
            sources=sources,
            inputs=tuple(self._input(each, changed) for each in words.inputs),
            outputs=self._outputs(words.outputs, is_touched=has_made),
            samples=tuple(
                msgspec.structs.replace(each, rows=each.rows - rows.get(each.path, 0)) for each in old.samples
            ),
            prints=self._prints(old.prints, data=has_read, results=has_made, code=_UNTRACKED in changed),
        )
        taken = run.Erased(erasure=self._erasure, files=files, rows=sum(rows.values()), before=before)
        return run.with_erased(new, taken), files

    # ----------------------------------------------------------------------------------------------------- its tree

    def _tree(self, root: bytes, changed: dict[str, int]) -> bytes:
        """Return the tree of a run without what is erased, and note where it was, and how many files went there."""
        changes: Changes = {}
        for name, entry in self._editor.trees.entries(root):
            if name == INPUTS and entry.kind == DIRECTORY:
                for number, source in self._editor.trees.entries(entry.id):
                    self._part(changes, f"{INPUTS}/{number}", source, changed)
            elif name == OUTPUTS:
                self._part(changes, OUTPUTS, entry, changed)
            elif name == RECORD and entry.kind == DIRECTORY:
                found = self._editor.trees.get(entry.id, _UNTRACKED)
                if found is not None:
                    self._part(changes, f"{RECORD}/{_UNTRACKED}", found, changed, _UNTRACKED)
        return self._editor.apply(root, changes) if changes else root

    def _part(self, changes: Changes, place: str, entry: Entry, changed: dict[str, int], called: str = "") -> None:
        """Write a directory anew that mirrors the repository from its root."""
        if entry.kind != DIRECTORY:
            return
        new, files = self._trees.root(entry.id)
        if new != entry.id:
            above, name = paths.split(place)
            changes.setdefault(above, {})[name] = self._editor.trees.directory_entry(new)
            changed[called or place] = files

    def _record(self, old: Run, root: bytes) -> tuple[bytes, dict[str, int], bool]:
        """Take rows out of samples, and lines out of what was printed; return the tree, and rows by path of the table.

        The third says whether anything was.
        """
        changes: Changes = {}
        rows: dict[str, int] = {}
        for each in old.samples:
            self._sample(changes, root, each, rows)
        for name in PRINTED:
            self._printed(changes, root, name)
        patch = self.patch(old)
        if (clean := self._redacted(patch)) != patch:
            data = clean.encode("utf-8", "surrogateescape")
            changes.setdefault(RECORD, {})[PATCH] = _stored(self._objects, self._store, data)
        is_touched = bool(changes)
        return (self._editor.apply(root, changes) if is_touched else root), rows, is_touched

    def patch(self, old: Run) -> str:
        """Return what a run keeps of code that was not committed, as far as it is read: where texts are looked for."""
        entry = self._editor.trees.resolve(old.tree, f"{RECORD}/{PATCH}") if self._words else None
        if entry is None or entry.kind in {DIRECTORY, tree.ERASED} or not entry.size:
            return ""
        return _content(self._objects, entry).decode("utf-8", "surrogateescape")

    def _sample(self, changes: Changes, root: bytes, samples: run.Samples, rows: dict[str, int]) -> None:
        place = f"{RECORD}/{samples.path}"
        entry = self._editor.trees.resolve(root, place)
        if entry is None or entry.kind in {DIRECTORY, tree.ERASED} or not entry.size:
            return
        data = _content(self._objects, entry)
        kept, gone = series.without_rows(data, samples.key, self._is_meant)
        if gone:
            above, name = paths.split(place)
            changes.setdefault(above, {})[name] = _stored(self._objects, self._store, kept)
            rows[samples.path] = gone

    def _is_meant(self, key: str) -> bool:
        """Return whether the key of a sample is a path that goes, or names somebody who does."""
        path = key.strip().removeprefix("./")
        return self._matcher.covering(path) is not None or path.encode() in self._words

    def _printed(self, changes: Changes, root: bytes, name: str) -> None:
        place = f"{RECORD}/{name}"
        entry = self._editor.trees.resolve(root, place)
        if entry is None or entry.kind in {DIRECTORY, tree.ERASED} or not entry.size or not self._words:
            return
        data = _content(self._objects, entry)
        lines = data.splitlines(keepends=True)
        kept = [GONE.encode() + b"\n" if any(word in line for word in self._words) else line for line in lines]
        if kept != lines:
            changes.setdefault(RECORD, {})[name] = _stored(self._objects, self._store, b"".join(kept))

    # ----------------------------------------------------------------------------------------------- what it says

    def _input(self, value: run.Input, changed: Mapping[str, int]) -> run.Input:
        """Return what is said of an input; the name goes of one that is erased as a whole."""
        if value.source == run.OUTSIDE:
            return value
        is_touched = f"{INPUTS}/{value.source}" in changed
        covering = self._matcher.covering(value.path) if value.path else None
        path = self._nameless() if covering is not None and not self._keep_path else value.path
        size = _rounded(value.size) if is_touched else value.size
        return msgspec.structs.replace(value, path=path, size=size)

    def _outputs(self, values: tuple[run.Output, ...], *, is_touched: bool) -> tuple[run.Output, ...]:
        found = []
        for number, value in enumerate(values):
            is_meant = self._matcher.covering(value.path) is not None and not self._keep_path
            path = self._nameless(f"-{number}") if is_meant else value.path
            size = _rounded(value.size) if is_touched else value.size
            origin = GONE if is_meant and value.origin else value.origin
            found.append(msgspec.structs.replace(value, path=path, origin=origin, size=size))
        return tuple(found)

    def _nameless(self, number: str = "") -> str:
        """Return what stands for a path that goes; ``""``, which is all of a source, would say too much."""
        return f"erased-{self._erasure.hex()[:8]}{number}"

    def _texts(self, old: Run) -> Run:
        """Return a run whose texts say only what may stay."""
        clean = self._redacted
        untracked = tuple(
            each for each in old.code.untracked if self._keep_path or self._matcher.covering(each[0]) is None
        )
        patch = self.patch(old)
        is_cut = clean(patch) != patch
        return msgspec.structs.replace(
            old,
            name=clean(old.name),
            group=clean(old.group),
            author=self._author(old.author),
            command=tuple(map(clean, old.command)),
            notes=tuple(map(clean, old.notes)),
            params=_cleaned(old.params, clean),
            changes=tuple(msgspec.structs.replace(each, value=_cleaned(each.value, clean)) for each in old.changes),
            code=msgspec.structs.replace(old.code, untracked=untracked, patch=TAKEN if is_cut else old.code.patch),
        )

    def _prints(self, old: run.Prints, *, data: bool, results: bool, code: bool) -> run.Prints:
        return msgspec.structs.replace(
            old,
            data=self._token(old.data) if data else old.data,
            results=self._token(old.results) if results else old.results,
            code=self._token(old.code) if code else old.code,
        )

    def _token(self, fingerprint: bytes) -> bytes:
        return self._draw.token(fingerprint) if fingerprint else fingerprint


def texts(found: Run) -> Iterator[tuple[str, str]]:
    """Yield what a run says in words: what it is, and the text."""
    yield "the name", found.name
    yield "the group", found.group
    yield "the command", " ".join(found.command)
    yield "a note", "\n".join(found.notes)
    yield "a parameter", str(found.params)
    yield "a parameter", str([each.value for each in found.changes])


def _rounded(size: int) -> int:
    """Return the power of two that is not less."""
    return 1 << (size - 1).bit_length() if size > 0 else 0


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401 - a document
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key) if isinstance(key, str) else key: _cleaned(each, clean) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each, clean) for each in value]
    return value


def _content(objects: Scratch, entry: Entry) -> bytes:
    """Return the content of a file of a run's record."""
    if entry.kind not in tree.LONG:
        return objects.read_object(ids.CHUNK, entry.id)
    chunks = manifests.chunks_of(objects, entry.id, entry.size)
    return b"".join(objects.read_object(ids.CHUNK, chunk) for chunk, _length in chunks)


def _stored(objects: Scratch, store: Store, data: bytes) -> Entry:
    """Put a file and return what stands for it in its directory."""
    if not data:
        return Entry(tree.FILE, 0, objects.hasher.id(ids.CHUNK, b""))
    content = manifests.Builder(objects)
    for start, end in store.chunker().cut(data):
        content.add(objects.put_object(ids.CHUNK, data[start:end]), end - start)
    identity, is_long = content.finish()
    return Entry(tree.LONG_FILE if is_long else tree.FILE, len(data), identity)
