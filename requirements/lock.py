"""Write the pinned lists: all that their inputs and pyproject.toml pull in, at the newest release.

`test.txt` is resolved first and holds `demo.txt` to the same versions, because both go into one environment; and
`fuzz.txt`, which is what the fuzzer needs beside dv itself.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
NOT_OURS = ("pip", "setuptools", "wheel")  # what venv itself may bring along


def named(path: Path) -> list[str]:
    """The requirements that an input file names, without its comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def closure(wanted: list[str], constraints: list[str]) -> list[str]:
    """Every distribution that `wanted` pulls into an empty environment, as sorted `name==version` lines."""
    with tempfile.TemporaryDirectory(prefix="dv-lock-") as scratch:
        subprocess.run([sys.executable, "-m", "venv", f"{scratch}/venv"], check=True)
        limits = Path(scratch, "constraints.txt")
        limits.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        pip = [f"{scratch}/venv/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "install", "--quiet", "-c", str(limits), *wanted], check=True)
        freeze = [*pip, "freeze", "--all", *(f"--exclude={name}" for name in NOT_OURS)]
        frozen = subprocess.run(freeze, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    odd = [line for line in frozen if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)]
    if odd:
        message = f"these are not plain pins: {', '.join(odd)}"
        raise SystemExit(message)
    return sorted(frozen, key=str.lower)


def write(path: Path, pins: list[str]) -> None:
    """Write one list, and say how long it is."""
    header = "# Written by `make lock`; change the .in file beside it instead.\n"
    path.write_text(header + "".join(f"{line}\n" for line in pins), encoding="utf-8")
    print(f"{path.name}: {len(pins)} distributions")


def main() -> None:
    """Resolve the lists and write them."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    demo = [*project["dependencies"], *named(HERE / "demo.in")]
    pins = closure([*demo, *named(HERE / "test.in")], [])
    write(HERE / "test.txt", pins)
    write(HERE / "demo.txt", closure(demo, pins))
    write(HERE / "fuzz.txt", closure(named(HERE / "fuzz.in"), pins))


if __name__ == "__main__":
    main()
