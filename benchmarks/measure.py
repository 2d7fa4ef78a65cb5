"""Time whole processes and read how much memory they took."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SAMPLE_EVERY = 0.05
"""Seconds between two looks at the memory of a process tree."""


@dataclass(frozen=True, slots=True)
class Step:
    """One process: its arguments, and the directory it is started in."""

    argv: tuple[str, ...]
    cwd: Path


Script = tuple[Step, ...]
"""Processes that run one after another and are timed as one operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one run of a script took.

    ``largest_kib`` is ``ru_maxrss`` of ``wait4``: the largest single process below the script.
    ``tree_kib`` is the largest sum of PSS seen over the whole process tree, or None if not sampled.
    """

    seconds: float
    largest_kib: int
    tree_kib: int | None


class StepFailedError(Exception):
    """A measured process did not exit with 0, or ran out of time."""

    def __init__(self, step: Step, code: int, said: str) -> None:
        """Name the process, its exit code, and the end of what it printed."""
        super().__init__(f"`{' '.join(step.argv)}` exited {code}: {said}")


class _TreeSampler:
    """Add up the proportional set size of a process and its descendants, again and again."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_kib = 0
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.peak_kib = max(self.peak_kib, sum(_pss_kib(pid) for pid in _descendants(self._pid)))
            self._stop.wait(SAMPLE_EVERY)


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (task / "children").read_text().split())
    return found


def _pss_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _tail(output: Path) -> str:
    text = output.read_bytes()[-2000:].decode(errors="replace").strip()
    return text.splitlines()[-1] if text else "(no output)"


def run(script: Script, *, env: Mapping[str, str], output: Path, limit: float, tree: bool = False) -> Sample:
    """Run a script and say what it took; its stdout and stderr go to the file ``output``.

    All dirty pages of the machine are written out first, so that no run pays for its predecessor.
    ``limit`` is in seconds, for each process. With ``tree``, memory of the process tree is sampled,
    which costs a little time: don't compare the seconds of such runs with others.

    Raises:
        StepFailedError: a process failed or exceeded the limit; later ones were not started.

    """
    os.sync()
    largest = 0
    peak: int | None = None
    with output.open("wb") as sink:
        started = time.perf_counter()
        for step in script:
            process = subprocess.Popen(
                step.argv,
                cwd=step.cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code, kib, tree_kib = _wait(process, limit=limit, tree=tree)
            largest = max(largest, kib)
            if tree_kib is not None:
                peak = max(peak or 0, tree_kib)
            if code != 0:
                raise StepFailedError(step, code, _tail(output))
        seconds = time.perf_counter() - started
    return Sample(seconds=seconds, largest_kib=largest, tree_kib=peak)


def _wait(process: subprocess.Popen[bytes], *, limit: float, tree: bool) -> tuple[int, int, int | None]:
    """Reap the process: exit code, its ``ru_maxrss`` and, if asked for, the peak of its tree."""
    timer = threading.Timer(limit, _kill_group, (process.pid,))
    timer.start()
    sampler = _TreeSampler(process.pid) if tree else None
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _kill_group(process.pid)
        raise
    finally:
        timer.cancel()
        if sampler is not None:
            sampler.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss, sampler.peak_kib if sampler else None


def quietly(script: Script, *, env: Mapping[str, str]) -> str:
    """Run a script outside of any timing and return what it printed.

    Raises:
        StepFailedError: a process did not exit with 0.

    """
    printed: list[str] = []
    for step in script:
        done = subprocess.run(step.argv, cwd=step.cwd, env=dict(env), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StepFailedError(step, done.returncode, (done.stderr or done.stdout).strip()[-300:])
        printed.append(done.stdout)
    return "".join(printed)


def bytes_below(places: Iterable[Path]) -> int:
    """Sum of the sizes (``st_size``) of all regular files in the places, which may be files or absent."""
    total = 0
    pending = [str(place) for place in places]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            total += Path(here).stat().st_size
    return total


def remove(place: Path) -> None:
    """Delete a directory tree of this benchmark, read-only parts included."""
    if not place.exists():
        return
    if os.geteuid() != 0:
        subprocess.run(["/bin/chmod", "-R", "u+w", str(place)], check=False)
    subprocess.run(["/bin/rm", "-rf", "--", str(place)], check=True)
