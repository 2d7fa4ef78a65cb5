"""Git with git-filter-repo."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from benchmarks.contenders.contract import DATA, on_path, steps
from benchmarks.erasers.contract import Eraser, Sizes
from benchmarks.measure import quietly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.contenders.contract import Found, Slot
    from benchmarks.measure import Script

FILTER, COLLECT = "filter alone", "gc"
WHO = "Bench Mark <bench@example.org>"
START = 1_700_000_000


class FilterRepo(Eraser):
    """Exports and imports the whole history without the files; what they were goes with ``git gc``."""

    name: ClassVar[str] = "git-filter-repo"
    note: ClassVar[str] = (
        "`git-filter-repo --invert-paths --force --no-gc`, then `git reflog expire` and `git gc --prune=now`"
    )

    def _locate(self, found: Found) -> str | None:
        return str(found.filter_repo) if found.filter_repo is not None else on_path("git-filter-repo")

    def version(self) -> str:
        """Ask the package: the program tells a checksum of itself."""
        place = Path(self._command()).parent
        listed = quietly(steps(place, (str(place / "python"), "-m", "pip", "freeze")), env={})
        ours = next((line for line in listed.splitlines() if line.startswith("git-filter-repo")), "unknown")
        git = quietly(steps(place, (self._git(), "--version")), env={}).strip()
        return f"{ours.replace('==', ' ')}, {git}"

    def _git(self) -> str:
        return on_path("git") or "git"

    def environment(self, slot: Slot) -> dict[str, str]:
        """Shut out the machine's settings and say who the author is."""
        who = {f"GIT_{role}_NAME": "Bench Mark" for role in ("AUTHOR", "COMMITTER")}
        where = {f"GIT_{role}_EMAIL": "bench@example.org" for role in ("AUTHOR", "COMMITTER")}
        return {**super().environment(slot), **who, **where, "GIT_CONFIG_NOSYSTEM": "1"}

    def setup(self, slot: Slot) -> Script:
        """Make an empty repository."""
        git = self._git()
        return steps(
            slot.tree,
            (git, "init", "--quiet", "--initial-branch=main"),
            (git, "config", "gc.auto", "0"),
        )

    def history(self, slot: Slot, edits: Path) -> Script:
        """Add and commit; fast-import makes the other snapshots, and all is packed, as it would be in time."""
        git = self._git()
        script = slot.base / "stream"
        with edits.open() as lines, script.open("wb") as out:
            out.writelines(stream(lines))
        return steps(
            slot.tree,
            (git, "add", DATA),
            (git, "commit", "--quiet", "-m", "first"),
            ("sh", "-c", f'"{git}" fast-import --quiet < "{script}"'),
            (git, "reset", "--quiet", "--hard"),
            (git, "gc", "--quiet", "--prune=now"),
        )

    def settle(self, slot: Slot) -> Script:
        """Compare the worktree with the index and HEAD."""
        return steps(slot.tree, (self._git(), "status", "--short"))

    def erase(self, slot: Slot, paths: Sequence[str]) -> dict[str, Script]:
        """Filter; then let go of what was filtered."""
        git, listed = self._git(), slot.base / "targets"
        listed.write_text("".join(f"{path}\n" for path in paths))
        what = ("--path", paths[0]) if len(paths) == 1 else ("--paths-from-file", str(listed))
        return {
            FILTER: steps(slot.tree, (self._command(), "--invert-paths", *what, "--force", "--no-gc")),
            COLLECT: steps(
                slot.tree,
                (git, "reflog", "expire", "--expire=now", "--all"),
                (git, "gc", "--quiet", "--prune=now"),
            ),
        }

    def left(self, slot: Slot, path: str) -> str:
        """Ask for the commits that had it."""
        asked = (self._git(), "log", "--all", "--format=%H", "--", path)
        return quietly(steps(slot.tree, asked), env=self.environment(slot)).strip()

    def contents(self, slot: Slot) -> Sizes:
        """Name packs and loose objects."""
        place = slot.tree / ".git" / "objects"
        found = [path for path in place.rglob("*") if path.is_file() and path.suffix not in {".idx", ".rev"}]
        return {str(path.relative_to(place)): path.stat().st_size for path in found}


def stream(lines: Iterable[str]) -> Iterator[bytes]:
    """Yield what fast-import reads: a commit for each line."""
    above = "from refs/heads/main^0\n"
    for number, line in enumerate(lines, 1):
        yield f"commit refs/heads/main\ncommitter {WHO} {START + number} +0000\n".encode()
        message = f"snapshot {number}".encode()
        yield b"data %d\n%s\n%s" % (len(message), message, above.encode())
        above = ""
        for path, content in json.loads(line).items():
            if content is None:
                yield f"D {path}\n".encode()
                continue
            data = base64.b64decode(content)
            yield b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
