"""Which removals and additions are one file that moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool import paths
from dvtool.formats.tree import REGULAR

if TYPE_CHECKING:
    from dvtool.formats.tree import Entry


def find_renames(removed: dict[str, Entry], added: dict[str, Entry]) -> list[tuple[str, str]]:
    """Return (from, to) of removed files that came back under another path with equal, non-empty content.

    One to one; those that keep their base name are paired first, then in the order of paths.
    """
    by_id: dict[bytes, list[str]] = {}
    for path in sorted(removed):
        entry = removed[path]
        if entry.kind in REGULAR and entry.size:
            by_id.setdefault(entry.id, []).append(path)
    targets: dict[bytes, list[str]] = {}
    for path in sorted(added):
        entry = added[path]
        if entry.kind in REGULAR and entry.id in by_id:
            targets.setdefault(entry.id, []).append(path)
    pairs = []
    for identity, places in targets.items():
        sources = by_id[identity]
        by_name: dict[str, list[str]] = {}
        for source in sources:
            by_name.setdefault(paths.split(source)[1], []).append(source)
        left = []
        used: set[str] = set()
        for target in places:
            same = by_name.get(paths.split(target)[1])
            if same:
                source = same.pop(0)
                used.add(source)
                pairs.append((source, target))
            else:
                left.append(target)
        rest = [source for source in sources if source not in used]
        pairs += zip(rest, left, strict=False)
    return sorted(pairs)
