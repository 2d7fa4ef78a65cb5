"""Golden vectors of log entries and of the key files they name, before they are sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dvtool.formats import keyfile, log
from tests.vectors.vector import ERASURE, STORE, TIME, Vector, fill, identity, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


def key_files() -> Iterator[Vector]:
    """Yield the payloads of key files."""
    two = {identity(f"pack {i}"): fill(f"key {i}", 32) for i in range(2)}
    for name, about, value in [
        ("two-packs", "The keys of two packs.", keyfile.KeyFile(packs=two, index=fill("index key", 32))),
        ("shredded", "No pack has a key any more.", keyfile.KeyFile(packs={}, index=fill("index key", 32))),
    ]:
        data = keyfile.encode(value)
        yield Vector(format="keyfile", name=name, about=about, inputs={}, value=plain(value), data=data)


def entries() -> Iterator[Vector]:
    """Yield the payloads of log entries, one for each action, and the stub."""
    keys = f"keys/{fill('keys', 16).hex()}"
    index_file = f"index/{fill('index', 16).hex()}"
    name_of_pack = identity("pack")
    move = log.MoveRef(name="heads/main", old=None, new=identity("snapshot"))
    few = log.Table(count=1, pairs=((b"heads/main", identity("snapshot")),))
    none = log.Table(count=0)
    many = log.Table(count=1000, root=identity("table"))
    checkpoint = log.Checkpoint(
        refs=few,
        packs=many,
        superseded=none,
        condemned=none,
        dropped=none,
        erasures=none,
        locators=none,
        segments=(log.Segment(keys=keys, index=index_file, records=12, packs=1),),
        lock=b"",
        writes=((1, fill("write 1", 16)), (2, fill("write 2", 16))),
        condemn=(keys, index_file),
    )
    planned = fill("write 7", 16)
    cases: list[tuple[str, str, tuple[log.Action, ...]]] = [
        ("first", "The first entry of a store.", (move,)),
        (
            "add-packs",
            "A pack comes in and a branch moves.",
            (
                log.AddPacks(keys=keys, index=index_file, packs=(name_of_pack,), records=3),
                log.MoveRef(name="heads/main", old=identity("snapshot"), new=identity("next")),
            ),
        ),
        ("condemn", "A pack is condemned.", (log.Condemn(names=(f"packs/{name_of_pack.hex()}",)),)),
        ("drop", "The pack is dropped.", (log.Drop(names=(f"packs/{name_of_pack.hex()}",)),)),
        (
            "symbolic-ref",
            "HEAD of a worktree follows a branch; a tag goes.",
            (
                log.MoveRef(name="worktrees/main", old=None, new=log.to_symbolic("heads/main")),
                log.MoveRef(name="tags/v1", old=identity("snapshot"), new=None),
            ),
        ),
        (
            "supersede",
            "A snapshot is replaced.",
            (log.Supersede(pairs=((identity("old"), identity("new")),)),),
        ),
        ("erasing", "An erasure is announced.", (log.Erasure(erasure=ERASURE, phase=1, planned=planned),)),
        (
            "erased",
            "An erasure is committed.",
            (log.Erasure(erasure=ERASURE, phase=2, planned=planned, locator=b"sealed", wraps=(b"once", b"twice")),),
        ),
        ("checkpoint", "A checkpoint, with a table in nodes and one in place.", (checkpoint,)),
        (
            "undo",
            "What entry 2 did to refs is taken back.",
            (log.MoveRef(name="heads/main", old=identity("next"), new=identity("snapshot")),),
        ),
        (
            "expire",
            "Two snapshots are expired.",
            (log.Supersede(pairs=tuple((identity(name), log.to_expired(TIME)) for name in ("oldest", "older"))),),
        ),
        (
            "store",
            "A pack is put aside: no ref leads to it yet.",
            (
                log.AddPacks(
                    keys="keys/" + "ac" * 16, index="index/" + "ad" * 16, packs=(identity("aside"),), records=9
                ),
            ),
        ),
        (
            "add-takes",
            "A stage leads to two packs that were put aside.",
            (log.MoveRef(name="stage/main", old=None, new=identity("stage")),),
        ),
        (
            "hold",
            "A hold is made, and another released.",
            (
                log.MoveRef(name=f"holds/{fill('hold', 16).hex()}", old=None, new=identity("hold")),
                log.MoveRef(name=f"holds/{fill('another hold', 16).hex()}", old=identity("another hold"), new=None),
            ),
        ),
    ]
    sections = {
        "undo": {**log.made_from("main"), **log.taking_back(2)},
        "store": log.putting_aside(),
        "add-takes": log.taking([identity("aside"), identity("another")]),
    }
    for number, (name, about, actions) in enumerate(cases, 1):
        value = log.Entry(
            version=1,
            store=STORE,
            number=number,
            previous=identity(f"entry {number - 1}") if number > 1 else bytes(32),
            write=fill(f"write {number}", 16),
            time=TIME + number,
            operation=name.split("-")[0],
            checkpoint=number if name == "checkpoint" else 0,
            actions=actions,
            sections=sections.get(name, {}),
        )
        data = log.encode(value)
        yield Vector(format="log", name=name, about=about, inputs={}, value=plain(value), data=data)
    yield Vector(
        format="log",
        name="stub",
        about="What stands where an entry had to go.",
        inputs={},
        value={"chain": log.chain(log.STUB).hex(), "file": log.file_name(255)},
        data=log.STUB,
    )


SOURCES = (key_files, entries)
