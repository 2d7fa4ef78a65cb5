"""Describe the machine, so that figures can be judged."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path


def describe(work: Path) -> dict[str, str]:
    """CPU, memory, file system of the work directory, kernel, Python, commit of this checkout, and load."""
    return {
        "CPU": _cpu(),
        "cores": str(cores()),
        "memory": f"{memory_bytes() / 2**30:.0f} GiB",
        "file system": _file_system(work),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "commit of the benchmark": _commit(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def cores() -> int:
    """Cores that processes of this benchmark may use."""
    return len(os.sched_getaffinity(0))


def _commit() -> str:
    """Which version of this checkout measures; its dv too, unless another was named."""
    asked = ("git", "describe", "--always", "--dirty", "--abbrev=12")
    try:
        said = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return said.stdout.strip() or "unknown"


def memory_bytes() -> int:
    """Physical memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def free_bytes(work: Path) -> int:
    """Space left for the work directory."""
    found = os.statvfs(work)
    return found.f_bavail * found.f_frsize


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def _file_system(work: Path) -> str:
    """Type of the file system with the longest mount point that holds the directory."""
    place = work.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found, *_ = line.split(" ")
        if place.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, found
    return kind
