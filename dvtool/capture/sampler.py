"""How much of the machine a run uses, looked at now and then: processor, memory, disk, network, graphics processors.

The numbers are the kernel's (``proc(5)``): those of the machine, and those of the command's process with all below it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import Final

from dvtool.capture import proc

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SECTOR: Final = 512
_DISK: Final = ("sd", "hd", "vd", "xvd", "nvme", "mmcblk")
FIRST: Final = 1.0
LATER: Final = 10.0
"""Seconds between two looks, in the first minute and after it."""
GPU_FIELDS: Final = ("utilization.gpu", "memory.used", "temperature.gpu", "power.draw")


class Sampler:
    """Looks at the machine; each look says what happened since the one before."""

    def __init__(self) -> None:
        """Look for the first time."""
        self.peak = 0
        """The most memory that the run's processes had together, in bytes."""
        self._before = self._totals()
        self._at = time.monotonic()
        self._began = self._at
        self._gpu = shutil.which("nvidia-smi")

    @property
    def pause(self) -> float:
        """Seconds until the next look is due."""
        return FIRST if time.monotonic() - self._began < 60 else LATER  # noqa: PLR2004 - a minute

    def look(self, pid: int) -> dict[str, float]:
        """Return what was used since the last look, by the run (below ``pid``) and by the whole machine.

        Shares of processors count one as 1.0, memory is in bytes, disk and network are in bytes per second.
        """
        now = time.monotonic()
        span = max(now - self._at, 1e-6)
        totals = self._totals()
        found = {
            name: (totals[name] - self._before.get(name, totals[name])) / span
            for name in totals
            if name != "memory.used"
        }
        found["memory.used"] = totals["memory.used"]
        resident, processes = _resident(pid)
        self.peak = max(self.peak, resident)
        found["run.memory"] = float(resident)
        found["run.processes"] = float(processes)
        self._before, self._at = totals, now
        return found | self._graphics()

    def _totals(self) -> dict[str, float]:
        found = {"memory.used": _memory_used()}
        words = proc.text("/proc/stat").partition("\n")[0].split()
        if len(words) > 7:  # noqa: PLR2004 - the columns of proc(5)
            times = [int(word) for word in words[1:9]]
            found["cpu"] = (sum(times) - times[3] - times[4]) / _TICK
        read = written = 0
        for line in proc.lines("/proc/diskstats"):
            columns = line.split()
            if len(columns) > 9 and columns[2].startswith(_DISK) and not _is_part(columns[2]):  # noqa: PLR2004
                read += int(columns[5]) * _SECTOR
                written += int(columns[9]) * _SECTOR
        found["disk.read"], found["disk.write"] = float(read), float(written)
        received = sent = 0
        for line in proc.lines("/proc/net/dev")[2:]:
            name, _, rest = line.partition(":")
            columns = rest.split()
            if name.strip() != "lo" and len(columns) > 8:  # noqa: PLR2004
                received += int(columns[0])
                sent += int(columns[8])
        found["network.receive"], found["network.send"] = float(received), float(sent)
        return found

    def _graphics(self) -> dict[str, float]:
        if self._gpu is None:
            return {}
        try:
            done = subprocess.run(  # noqa: S603 - the driver's program, with fixed arguments
                [self._gpu, f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits"],
                check=True,
                capture_output=True,
                timeout=5,
            )
        except (OSError, subprocess.SubprocessError):
            self._gpu = None
            return {}
        found: dict[str, float] = {}
        for number, line in enumerate(done.stdout.decode("utf-8", "replace").splitlines()):
            for name, word in zip(GPU_FIELDS, line.split(","), strict=False):
                try:
                    found[f"gpu{number}.{name.split('.')[0]}"] = float(word)
                except ValueError:
                    continue
        return found


def _memory_used() -> float:
    found = {}
    for line in proc.lines("/proc/meminfo")[:10]:
        key, _, value = line.partition(":")
        found[key] = int(value.split()[0]) * 1024
    return float(found.get("MemTotal", 0) - found.get("MemAvailable", 0))


def _resident(pid: int) -> tuple[int, int]:
    """Return the memory of a process and all below it, and how many they are."""
    children: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        line = proc.text(f"/proc/{name}/stat")
        # The name of the program stands in brackets, and may hold any character.
        columns = line[line.rfind(")") + 2 :].split()
        if len(columns) > 21:  # noqa: PLR2004 - the columns of proc(5)
            children.setdefault(int(columns[1]), []).append(int(name))
            sizes[int(name)] = int(columns[21]) * _PAGE
    pending, total, count = [pid], 0, 0
    while pending:
        current = pending.pop()
        if current in sizes:
            total += sizes.pop(current)
            count += 1
            pending += children.get(current, ())
    return total, count


def _is_part(name: str) -> bool:
    """Return whether a block device is a part of another one, whose numbers hold its own."""
    return os.path.exists(f"/sys/class/block/{name}/partition")
