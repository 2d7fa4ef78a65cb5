"""Coverage-guided fuzzing of everything that takes bytes from elsewhere, by atheris in an environment of its own.

    .build/fuzz/bin/python tests/fuzz/fuzz.py [--seconds N] [--jobs N] [TARGET…]     as `make deep` does
    .venv/bin/python tests/fuzz/fuzz.py --replay TARGET HEX                          one input again, without atheris

An input over which a target falls is printed in hexadecimal, with the command that replays it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).resolve()
FOUND = ("crash-*", "leak-*", "oom-*", "timeout-*")
LONGEST = 1 << 16
"""Bytes of the longest input that is tried."""
TIMEOUT = 10
"""Seconds that one input may take."""
MEMORY = 1024
"""MiB that a fuzzing process may take."""
PLANTED_SECONDS = 60
"""How long the fuzzer has to find what was planted; it takes a few seconds."""


def load() -> ModuleType:
    """The targets, as a module; the tests are no package."""
    spec = importlib.util.spec_from_file_location("fuzz_targets", HERE.with_name("targets.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fuzz(name: str, seconds: int, place: str) -> None:
    """Fuzz one target in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["dvtool", "fuzz_targets"]):
        targets = load()
    call = targets.HIDDEN.get(name) or atheris.instrument_func(targets.TARGETS[name])
    if name in targets.HIDDEN:
        call = atheris.instrument_func(call)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={place}/",
        "-verbosity=0",
        f"{place}/corpus",
    ]
    atheris.Setup([sys.argv[0], *options], call)
    atheris.Fuzz()


def findings(name: str, seconds: int) -> list[str]:
    """Fuzz one target in a process of its own and return what it found, in words; nothing is the aim."""
    with tempfile.TemporaryDirectory(prefix="dv-fuzz-") as place:
        corpus = Path(place, "corpus")
        corpus.mkdir()
        for number, data in enumerate(load().seeds(name)):
            corpus.joinpath(f"seed-{number}").write_bytes(data)
        command = [sys.executable, str(HERE), "--one", name, "--seconds", str(seconds), "--place", place]
        done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", check=False)
        inputs = [path for form in FOUND for path in sorted(Path(place).glob(form))]
        told = [
            f"{name}: {path.name.partition('-')[0]}\n{done.stderr[-3000:]}\nreplay it with\n"
            f"  .venv/bin/python tests/fuzz/fuzz.py --replay {name!r} '{path.read_bytes().hex()}'"
            for path in inputs
        ]
        if done.returncode and not told:
            told = [f"{name}: the fuzzer ended with {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"]
        return told


def replay(name: str, data: bytes) -> None:
    """Call a target with one input; what it falls over comes out as it is."""
    targets = load()
    (targets.TARGETS | targets.HIDDEN)[name](data)


def main(words: list[str]) -> int:
    """Fuzz the targets named, or all; 1 when anything was found."""
    parser = argparse.ArgumentParser(description="Fuzz what takes bytes from elsewhere.")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=15, help="for each target")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time")
    parser.add_argument("--replay", nargs=2, metavar=("TARGET", "HEX"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    if chosen.replay:
        replay(chosen.replay[0], bytes.fromhex(chosen.replay[1]))
        print("nothing happened")
        return 0
    if chosen.one:
        fuzz(chosen.one, chosen.seconds, chosen.place)
        return 0
    wanted = chosen.targets or sorted(load().TARGETS)
    if not any("planted" in told for told in findings("planted", PLANTED_SECONDS)):
        print("the fuzzer does not find what was planted for it: nothing it says of the targets counts")
        return 1
    found = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        results = pool.map(lambda name: findings(name, chosen.seconds), wanted)
        for name, told in zip(wanted, results, strict=True):
            print(f"{name:40} {'FOUND' if told else 'nothing found'}", flush=True)
            found += told
    print("\n\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
