"""What is known of the machine and the environment that a command runs in.

Everything is read from where the kernel and the installed packages keep it.  Of the environment's variables only those
that are listed here are recorded, and none of them holds a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

from dvtool.capture import proc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dvtool.capture.redaction import Redactor

VARIABLES: Final = frozenset(
    {
        "CONDA_DEFAULT_ENV", "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING",
        "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "JAX_ENABLE_X64", "JAX_PLATFORMS", "LANG", "LC_ALL",
        "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MKL_CBWR", "MKL_DYNAMIC", "MKL_NUM_THREADS", "NCCL_ALGO", "NCCL_PROTO",
        "NUMEXPR_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC", "OMP_NUM_THREADS", "OMP_PROC_BIND",
        "OMP_SCHEDULE", "OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "PYTHONOPTIMIZE",
        "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NVFUSER_DISABLE", "RANK", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID",
        "SLURM_JOB_PARTITION", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_PROCID", "TF_CUDNN_DETERMINISTIC",
        "TF_DETERMINISTIC_OPS", "TF_ENABLE_ONEDNN_OPTS", "TOKENIZERS_PARALLELISM", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "TORCH_NUM_THREADS", "TZ", "VECLIB_MAXIMUM_THREADS", "WORLD_SIZE", "XLA_FLAGS",
    }
)  # fmt: skip
"""The variables that are recorded: those that decide what is computed, and how."""
THREADS: Final = re.compile(r".*_(NUM_THREADS|MAXIMUM_THREADS)")
DETERMINISM: Final = re.compile(r"PYTHONHASHSEED|.*(DETERMINISTIC|CBWR|WORKSPACE_CONFIG|TF32|CUDNN).*")
IMAGES: Final = ("DV_CONTAINER", "CONTAINER_IMAGE_DIGEST", "CONTAINER_IMAGE", "IMAGE_DIGEST")
"""Variables by which those who start containers tell which image it is; a container cannot see that by itself."""
_BLAS: Final = re.compile(r"lib(?:\w*openblas|mkl_rt|mkl_core|blis|atlas|[a-z]*blas)[^/]*\.so[^/]*", re.IGNORECASE)
_GPU_FIELDS: Final = ("name", "driver_version", "memory.total", "uuid")
_FOUND: Final = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)\.(?:dist|egg)-info")


def environment(variables: Mapping[str, str], redactor: Redactor) -> dict[str, Any]:
    """Return what is known before the command begins."""
    listed = {name: redactor.text(value) for name, value in sorted(variables.items()) if name in VARIABLES}
    return {
        "platform": _platform(),
        "cpu": _cpu(),
        "memory": _memory(),
        "variables": listed,
        "threads": {name: value for name, value in listed.items() if THREADS.fullmatch(name)},
        "determinism": {name: value for name, value in listed.items() if DETERMINISM.fullmatch(name)},
        "container": _container(variables, redactor),
    }


def _platform() -> dict[str, Any]:
    libc, version = platform.libc_ver()
    try:
        release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        release = ""
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "libc": f"{libc} {version}".strip(),
        "distribution": release,
        "host": platform.node(),
    }


def _cpu() -> dict[str, Any]:
    model, flags = "", ""
    for line in proc.lines("/proc/cpuinfo"):
        key, _, value = line.partition(":")
        match key.strip():
            case "model name" if not model:
                model = value.strip()
            case "flags" | "Features" if not flags:
                flags = value.strip()
        if model and flags:
            break
    return {"model": model, "flags": flags, "cores": os.cpu_count() or 0, "usable": len(os.sched_getaffinity(0))}


def _memory() -> int:
    """Return the machine's memory in bytes."""
    for line in proc.lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _container(variables: Mapping[str, str], redactor: Redactor) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in IMAGES:
        if variables.get(name):
            found["image"] = redactor.text(variables[name])
            break
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        found["inside"] = True
    for line in proc.lines("/proc/self/cgroup"):
        hexadecimal = re.search(r"[0-9a-f]{64}", line)
        if hexadecimal:
            found["id"] = hexadecimal[0]
            break
    if variables.get("SINGULARITY_NAME") or variables.get("APPTAINER_NAME"):
        found["inside"] = True
    return found


def gpus() -> list[dict[str, Any]]:
    """Return the graphics processors that the driver's own program lists; it takes a second where there are some."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - the driver's program, with fixed arguments
            [program, f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits"],
            check=True,
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(_GPU_FIELDS):
            size = int(words[2]) * 1024 * 1024 if words[2].isdigit() else 0
            found.append({"name": words[0], "driver": words[1], "memory": size})
    return found


def libraries(pid: int) -> list[str]:
    """Return the files of libraries for linear algebra that a process has loaded."""
    found = set()
    for line in proc.lines(f"/proc/{pid}/maps"):
        name = line.rpartition("/")[2].strip()
        if _BLAS.fullmatch(name):
            found.add(name)
    return sorted(found)


def packages(places: Iterable[str], redactor: Redactor) -> list[dict[str, str]]:
    """Return the distributions installed at these places of a Python's path: name, version, where from.

    The names of the directories that installers leave say both, so no Python has to be started and nothing parsed.
    """
    found: dict[str, dict[str, str]] = {}
    for place in places:
        try:
            entries = sorted(os.listdir(place))
        except OSError:
            continue
        for entry in entries:
            match = _FOUND.fullmatch(entry)
            if match is None:
                continue
            name = re.sub(r"[-_.]+", "-", match["name"]).lower()
            found.setdefault(
                name, {"name": name, "version": match["version"], "origin": _origin(f"{place}/{entry}", redactor)}
            )
    return [found[name] for name in sorted(found)]


def _origin(directory: str, redactor: Redactor) -> str:
    """Return where a distribution came from, if it was no index: PEP 610 says how that is kept."""
    try:
        with open(f"{directory}/direct_url.json", "rb") as file:
            data = file.read(65536)
    except OSError:
        return ""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        said = json.loads(data)
        revision = (said.get("vcs_info") or {}).get("commit_id", "")
        editable = " (editable)" if (said.get("dir_info") or {}).get("editable") else ""
        return redactor.text(str(said.get("url", ""))) + (f"@{revision}" if revision else "") + editable
    return ""
