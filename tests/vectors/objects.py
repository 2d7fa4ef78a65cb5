"""Golden vectors of the objects that packs hold, before they are sealed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from dvtool.formats import clone, erasure, hold, manifest, run, snapshot, stage, table, tree
from tests.vectors.vector import ERASURE, KEY, SECTIONS, STORE, TIME, Vector, fill, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def trees() -> Iterator[Vector]:
    """Yield tree nodes."""
    erased: tree.Tally = ((ERASURE, 2),)
    every_kind = {
        "data": tree.Entry(tree.DIRECTORY, 3000, identity("tree"), 7, erased),
        "empty": tree.Entry(tree.FILE, 0, identity("nothing")),
        "gone": tree.Entry(tree.ERASED, 0, bytes(32), 0, ((ERASURE, 1),)),
        "huge.bin": tree.Entry(tree.LONG_FILE, 5 << 30, identity("manifest")),
        "link": tree.Entry(tree.SYMLINK, 6, identity("target")),
        "long-tool": tree.Entry(tree.LONG_EXECUTABLE, 1 << 20, identity("long tool")),
        "plain.txt": tree.Entry(tree.FILE, 12, identity("plain")),
        "tool": tree.Entry(tree.EXECUTABLE, 99, identity("tool")),
        "\u00fcber.txt": tree.Entry(tree.FILE, 1, identity("one byte")),
    }
    file = tree.Entry(tree.FILE, 1, identity("one byte"))
    leaves = [
        ("empty", "The empty directory.", {}, (), None),
        ("one-file", "One file.", {"a": file}, (), None),
        ("every-kind", "An entry of every kind, with tallies.", every_kind, ((ERASURE, 3),), None),
        (
            "sections",
            "A node with an optional section that this version does not know.",
            {"a": file},
            (),
            SECTIONS,
        ),
    ]
    for name, about, entries, here, sections in leaves:
        data, _totals = tree.encode_leaf(list(entries), list(entries.values()), here, sections)
        yield Vector(format="tree", name=name, about=about, inputs={}, value=plain(tree.decode(data)), data=data)
    totals = [
        tree.Totals(entries=300, files=299, size=70_000, erased=erased),
        tree.Totals(entries=5, files=12, size=9, erased=((bytes(16), 1), (ERASURE, 1))),
    ]
    data = tree.encode_inner(1, ["m", "z"], [identity("left"), identity("right")], totals)
    yield Vector(
        format="tree",
        name="inner",
        about="A node over two others.",
        inputs={},
        value=plain(tree.decode(data)),
        data=data,
    )


def manifests() -> Iterator[Vector]:
    """Yield manifest nodes."""
    for name, about, level, lengths in [
        ("two-chunks", "The shortest manifest there is.", 0, [65536, 1]),
        ("longest-chunk", "A chunk as long as the format allows.", 0, [manifest.CHUNK_LIMIT, 7]),
        ("inner", "A node over three others.", 1, [1 << 30, 1 << 40, 5]),
    ]:
        data = manifest.encode(level, [identity(f"chunk {i}") for i in range(len(lengths))], lengths)
        value = plain(manifest.decode(data))
        yield Vector(format="manifest", name=name, about=about, inputs={}, value=value, data=data)


def tables() -> Iterator[Vector]:
    """Yield table nodes."""
    for name, about, level, pairs in [
        ("empty", "A table without pairs.", 0, {}),
        ("refs", "Two refs.", 0, {b"heads/main": identity("snapshot"), b"worktrees/main": b"@heads/main"}),
        ("inner", "A node over two others.", 1, {b"heads/m": identity("left"), b"tags/z": identity("right")}),
    ]:
        data = table.encode(level, list(pairs), list(pairs.values()))
        value = plain(table.decode(data))
        yield Vector(format="table", name=name, about=about, inputs={}, value=value, data=data)


def snapshots() -> Iterator[Vector]:
    """Yield snapshots and stages."""
    first = snapshot.Snapshot(
        root=identity("root"),
        roots=("data",),
        parents=(),
        author="A. Author <author@example.org>",
        time=TIME,
        message="First \u2713\n",
        files=7,
        size=3000,
        nonce=fill("nonce", 32),
    )
    merged = msgspec.structs.replace(
        first,
        roots=("data", "models/best.bin"),
        parents=(identity("ours"), identity("theirs")),
        message="",
        settings=((".dvignore", identity("ignore"), 12), ("dv.toml", identity("settings"), 300)),
        sections=SECTIONS,
    )
    everything = msgspec.structs.replace(first, roots=("",), author="", time=0, files=0, size=0)
    for name, about, value in [
        ("first", "A snapshot without parents.", first),
        ("merged", "Two parents, kept settings and an optional section.", merged),
        ("whole-repository", "The repository itself is the tracked root.", everything),
    ]:
        data = snapshot.encode(value)
        yield Vector(format="snapshot", name=name, about=about, inputs={}, value=plain(value), data=data)
    for name, about, roots, merging in [
        ("nothing-tracked", "Before the first `add`.", (), ()),
        ("typical", "Two tracked roots.", ("data", "models"), ()),
        ("merging", "A merge under way.", ("data",), (identity("theirs"),)),
    ]:
        staged = stage.Stage(tree=identity("root"), roots=roots, merging=merging, nonce=fill("stage nonce", 32))
        data = stage.encode(staged)
        yield Vector(format="stage", name=name, about=about, inputs={}, value=plain(staged), data=data)


def holds() -> Iterator[Vector]:
    """Yield holds."""
    plainly = hold.Hold(
        id=fill("hold", 16),
        paths=("data/trial-7",),
        subject="",
        ground="case 12/2026",
        author="A. Author <author@example.org>",
        created=TIME,
        until=None,
        nonce=fill("hold nonce", 32),
    )
    patterns = ("", "**/[!a-c]*.dcm", "data/images/*/mask?.png")
    for name, about, value in [
        ("path", "One path, until it is released.", plainly),
        ("subject", "A subject.", msgspec.structs.replace(plainly, paths=(), subject="person \u00fc/4711 [x]")),
        (
            "everything",
            "Several patterns, the root among them; an end, and an optional section.",
            msgspec.structs.replace(plainly, paths=patterns, author="", until=TIME + 1, sections=SECTIONS),
        ),
    ]:
        data = hold.encode(value)
        yield Vector(format="hold", name=name, about=about, inputs={}, value=plain(value), data=data)


def clones() -> Iterator[Vector]:
    """Yield registrations of clones, and an acknowledgement."""
    plainly = clone.Registration(id=fill("clone", 16), nonce=fill("clone nonce", 32), registered=TIME, expires=0)
    for name, about, value in [
        ("plain", "A clone without a name that does not expire.", plainly),
        (
            "short-lived",
            "A clone with a name that expires.",
            msgspec.structs.replace(plainly, name="build \u00fc", expires=TIME + 1),
        ),
        (
            "forgotten",
            "A clone that somebody has said is gone, and an optional section.",
            msgspec.structs.replace(
                plainly, forgotten=TIME + 5, author="A. Author <author@example.org>", sections=SECTIONS
            ),
        ),
    ]:
        data = clone.encode(value)
        yield Vector(format="clone", name=name, about=about, inputs={}, value=plain(value), data=data)
    salt = fill("salt of an acknowledgement", 32)
    yield Vector(
        format="clone",
        name="acknowledgement",
        about="A clone has followed an erasure.",
        inputs={
            "key": KEY.hex(),
            "store": STORE.hex(),
            "clone": plainly.id.hex(),
            "erasure": ERASURE.hex(),
            "salt": salt.hex(),
        },
        value={"time": TIME, "sections": {}},
        data=clone.acknowledge(KEY, STORE, plainly.id, ERASURE, salt, TIME),
    )


ENVIRONMENT = {
    "python": {
        "implementation": "CPython",
        "version": "3.12.3",
        "build": "main, Apr 10 2024",
        "executable": "/venv/bin/python",
        "prefix": "/venv",
        "flags": ["-O"],
    },
    "packages": [{"name": "numpy", "version": "2.1.0", "origin": "pypi"}],
    "platform": {
        "system": "Linux",
        "kernel": "6.8.0",
        "libc": "glibc 2.39",
        "machine": "x86_64",
        "distribution": "ubuntu 24.04",
    },
    "cpu": {"model": "A Processor", "flags": ["avx2", "fma"], "cores": 8},
    "memory": 32 << 30,
    "threads": {"OMP_NUM_THREADS": "4"},
    "blas": ["libopenblas.so.0"],
    "gpus": [{"name": "A Card", "driver": "550.1", "memory": 24 << 30}],
    "cuda": {"runtime": "12.4"},
    "determinism": {"PYTHONHASHSEED": "0"},
    "container": {},
    "variables": {"LANG": "C.UTF-8"},
    "loaded": ["pyarrow"],
    "tools": {"git": "2.43.0", "dv": "0.1.0"},
}

RUN = "20250615-150640-0123456789"
PARENT = "20250615-150000-zyxwvtsrqp"


def short_run() -> run.Run:
    """Return a run that read nothing and of which nothing came."""
    return run.Run(
        id=RUN,
        revision=0,
        nonce=fill("run nonce", 32),
        tree=identity("tree of a run"),
        name="",
        group="",
        stage="",
        parent="",
        status="done",
        author="A. Author <author@example.org>",
        started=TIME,
        ended=TIME + 1_500_000,
        command=("true",),
        directory="",
        sources=(),
        inputs=(),
        outputs=(),
        params={},
        changes=(),
        seeds={},
        metrics=(),
        samples=(),
        workers=(),
        code=run.Code(),
        environment={},
        prints=run.Prints(),
        ending=run.Ending(code=0),
        notes=(),
    )


def full_run() -> run.Run:
    """Return a run of which there is something to say in every place."""
    return msgspec.structs.replace(
        short_run(),
        revision=2,
        name="baseline \u2713",
        group="first tries",
        stage="train",
        parent=PARENT,
        command=("python", "train.py", "--token", "\u2026"),
        directory="models",
        sources=(run.Source(snapshot=identity("snapshot"), dirty=True), run.Source(run=PARENT), run.Source()),
        inputs=(
            run.Input(source=0, path="data", role="train", known="declared", files=7, size=3000),
            run.Input(source=1, path="model.bin", role="", known="dv", files=1, size=1 << 33),
            run.Input(source=2, path="train.csv", role="", known="audit", files=1, size=12),
            run.Input(
                source=run.OUTSIDE,
                path="/usr/share/words",
                role="",
                known="preload",
                files=1,
                size=985_084,
                known_as=identity("words"),
            ),
        ),
        outputs=(
            run.Output(path="best.bin", origin="", kind="model", files=1, size=99, missing=False),
            run.Output(path="plots/loss.png", origin="/scratch/loss.png", kind="plot", files=0, size=0, missing=True),
        ),
        params={"lr": 1e-3, "layers": [64, 32], "data": {"shuffle": True, "limit": None}, "name": "a", "big": 2**63},
        changes=(run.Change(name="lr", time=TIME + 5, step=10, value=1e-4),),
        seeds={"python": 0, "numpy": -1},
        metrics=(
            run.Metric(
                name="loss",
                split="train",
                count=3,
                step=20,
                last=math.nan,
                least=0.25,
                least_step=10,
                greatest=math.inf,
                greatest_step=0,
            ),
            run.Metric(
                name="score",
                split="",
                count=1,
                step=None,
                last=-0.0,
                least=-0.0,
                least_step=None,
                greatest=-0.0,
                greatest_step=None,
            ),
        ),
        samples=(run.Samples(name="predictions", path="samples/predictions.parquet", key="image", rows=1000),),
        workers=(
            run.Worker(rank=0, shard="0/2", pid=4711, host="node-1", started=TIME, ended=TIME + 9, lost=0),
            run.Worker(rank=None, shard="", pid=1, host="", started=TIME, ended=0, lost=3),
        ),
        code=run.Code(
            commit="5c7fbd9a3b1f4de0a4e1f8a4f2d3c4b5a6978877",
            branch="main",
            remote="https://example.org/code.git",
            script="train.py",
            patch="kept",
            untracked=(("notes.txt", "kept"), ("weights.bin", "larger than 1 MB")),
        ),
        environment=ENVIRONMENT,
        prints=run.Prints(
            data=identity("data print"),
            code=identity("code print"),
            params=identity("params print"),
            seed=identity("seed print"),
            environment=identity("environment print"),
            results=identity("results print"),
        ),
        ending=run.Ending(code=0, signal=None, why="", cpu=1.25, memory=512 << 20),
        notes=("pyarrow reads files past the hook",),
        sections=SECTIONS,
    )


def runs() -> Iterator[Vector]:
    """Yield runs."""
    killed = msgspec.structs.replace(
        short_run(), status="killed", stage="eval", ended=TIME, ending=run.Ending(signal=9, why="killed")
    )
    marked = msgspec.structs.replace(short_run(), revision=2)
    for taken in (
        run.Erased(erasure=ERASURE, files=3, rows=0, before=(identity("snapshot"), identity("superseded"))),
        run.Erased(erasure=fill("other erasure", 16), files=0, rows=12, before=()),
    ):
        marked = run.with_erased(marked, taken)
    for name, about, value in [
        ("short", "A run that read nothing and of which nothing came.", short_run()),
        ("everything", "Something in every place, and an optional section.", full_run()),
        ("killed", "A run that a signal ended.", killed),
        ("erased", "A run from which two erasures took something.", marked),
    ]:
        yield Vector(format="run", name=name, about=about, inputs={}, value=plain(value), data=run.encode(value))


def erasures() -> Iterator[Vector]:
    """Yield records of erasures, a sealed locator, and its key as whoever has an old object finds it."""
    begun = erasure.Record(
        id=ERASURE,
        revision=0,
        nonce=fill("erasure nonce", 32),
        store=STORE,
        started=TIME,
        committed=TIME + 1,
        finished=0,
        copies="",
        keep_path=False,
        snapshots=0,
        files=0,
        contents=0,
        runs=(),
        successors=(),
        decisions=(),
        places=(),
    )
    whole = msgspec.structs.replace(
        begun,
        revision=3,
        finished=TIME + 2_000_000,
        copies="erase",
        keep_path=True,
        snapshots=2,
        files=12,
        contents=7,
        runs=(RUN,),
        successors=(identity("next"), identity("after next")),
        decisions=(
            erasure.Decision(run=RUN, direct=True),
            erasure.Decision(
                run=PARENT,
                direct=False,
                decision="retrain",
                note="by the end of June \u2713",
                author="A. Author <author@example.org>",
                time=TIME + 9,
            ),
        ),
        places=(
            erasure.Place(name="this repository", done=True, packs=4),
            erasure.Place(name="worktree /data/work", done=False, left=("data/p17.csv: it was changed",)),
        ),
        certificate=b'{"certificate": "dv erasure"}\n',
        sections=SECTIONS,
    )
    for name, about, value in [
        ("committed", "A record as it is when the erasure is committed.", begun),
        ("everything", "Something in every place, and an optional section.", whole),
    ]:
        data = erasure.encode(value)
        yield Vector(format="erasure", name=name, about=about, inputs={}, value=plain(value), data=data)
    locator = erasure.Locator(
        patterns=("data/p17", "scans/**/p17_*.dcm"),
        subjects=("p17", "\u00fc*.[1]"),
        authors=("author@example.org",),
        rules=("data/{subject}/**",),
        contents=(identity("content"),),
        roots=("data",),
        copies="erase",
        keep_path=False,
        redact=True,
        sections=SECTIONS,
    )
    salt = fill("salt of a locator", 32)
    yield Vector(
        format="erasure",
        name="locator",
        about="A sealed locator.",
        inputs={"key": KEY.hex(), "erasure": ERASURE.hex(), "salt": salt.hex()},
        value=plain(locator),
        data=erasure.seal_locator(locator, KEY, ERASURE, salt),
    )
    salt, nonce = fill("salt of a key of a locator", 32), fill("old nonce", 32)
    yield Vector(
        format="erasure",
        name="wrapped-key",
        about="The key of that locator, for whoever has an object that was superseded.",
        inputs={"nonce": nonce.hex(), "erasure": ERASURE.hex(), "salt": salt.hex()},
        value={"superseded": identity("superseded").hex(), "key": KEY.hex()},
        data=erasure.wrap(KEY, identity("superseded"), nonce, ERASURE, salt),
    )


SOURCES = (trees, manifests, tables, snapshots, runs, erasures, holds, clones)
