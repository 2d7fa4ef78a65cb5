import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool import ids
from dvtool.errors import DvError, FormatError
from dvtool.formats import codec, log

ONE = bytes(31) + b"\1"
OTHER = b"@" * 32
HASH = bytes(range(32))
SHORT = bytes(15) + b"\1"
PACK = f"packs/{ONE.hex()}"
KEYS = f"keys/{SHORT.hex()}"
INDEX = f"index/{SHORT.hex()}"

NONE = log.Table(count=0)
CHECKPOINT = log.Checkpoint(
    refs=NONE,
    packs=NONE,
    superseded=NONE,
    condemned=NONE,
    dropped=NONE,
    erasures=NONE,
    locators=NONE,
    segments=(),
    lock=b"",
    writes=(),
)
MOVE = log.MoveRef(name="heads/main", old=None, new=ONE)

ref_names = st.builds(
    lambda top, rest: f"{top}/{rest}",
    st.sampled_from(["heads", "tags", "runs", "remotes", "stage", "worktrees"]),
    st.lists(st.text("abcx-\u00fc", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join),
)


def entry(*actions, **changes):
    good = log.Entry(
        version=1,
        store=SHORT,
        number=7,
        previous=ONE,
        write=SHORT,
        time=1,
        operation="test",
        checkpoint=0,
        actions=actions,
    )
    return msgspec.structs.replace(good, **changes)


def read(value):
    """What a reader makes of an entry that a careless or hostile writer wrote."""
    return log.decode(codec.encode(value))


def checkpoint(**changes):
    return entry(msgspec.structs.replace(CHECKPOINT, **changes))


def test_golden_bytes_say_what_they_said(vector, plain):
    if log.is_stub(vector.data):
        assert log.chain(vector.data).hex() == vector.value["chain"]
        assert log.file_name(255) == vector.value["file"]
    else:
        assert plain(log.decode(vector.data)) == vector.value


def test_golden_bytes_are_written_again_as_they_were(vector):
    if not log.is_stub(vector.data):
        assert log.encode(log.decode(vector.data)) == vector.data


def test_every_action_has_golden_bytes(generator):
    shown = {
        action["type"]
        for vector in generator.vectors()
        if vector.format == "log" and not log.is_stub(vector.data)
        for action in vector.value["actions"]
    }
    assert shown == {kind.__name__ for kind in log.Action.__args__}


@given(
    name=ref_names,
    old=st.none() | st.binary(min_size=32, max_size=32),
    new=st.none() | ref_names.map(log.to_symbolic),
    number=st.integers(1, 2**63),
    moment=st.integers(0, codec.TIME_LIMIT - 1),
)
def test_an_entry_comes_back_as_it_went_in(name, old, new, number, moment):
    value = entry(log.MoveRef(name=name, old=old, new=new), number=number, time=moment)
    assert log.decode(log.encode(value)) == value


def test_unknown_sections_are_kept():
    value = entry(MOVE, sections={"later": msgspec.Raw(b"\x01")})
    assert log.encode(log.decode(log.encode(value))) == log.encode(value)


def test_an_entry_says_which_one_it_takes_back():
    assert log.undoes(entry(MOVE)) is None
    assert log.undoes(read(entry(MOVE, sections=log.taking_back(6)))) == 6


def test_an_entry_says_from_which_worktree_it_was_made():
    assert log.origin(entry(MOVE)) == ""
    assert log.made_from("") == {}
    assert log.origin(read(entry(MOVE, sections=log.made_from("ab12")))) == "ab12"
    with pytest.raises(FormatError):
        log.origin(entry(MOVE, sections={log.ORIGIN: msgspec.Raw(codec.encode(7))}))


def test_an_entry_says_whether_its_packs_are_put_aside():
    assert not log.is_aside(read(entry(MOVE)))
    assert log.is_aside(read(entry(MOVE, sections=log.putting_aside())))
    assert not log.is_aside(read(entry(MOVE, sections={log.ASIDE: msgspec.Raw(codec.encode(False))})))


@pytest.mark.parametrize("time", [b"\0" * 7, b"\0" * 9, codec.TIME_LIMIT.to_bytes(8, "big"), b"\xff" * 8])
def test_a_pack_was_put_aside_at_a_time(time):
    log.check_row("packs", ONE, b"")
    log.check_row("packs", ONE, (codec.TIME_LIMIT - 1).to_bytes(8, "big"))
    with pytest.raises(FormatError):
        log.check_row("packs", ONE, time)


def test_an_entry_says_which_packs_that_were_put_aside_it_takes():
    assert log.takes(read(entry(MOVE))) == []
    assert log.taking([]) == {}
    assert log.takes(read(entry(MOVE, sections=log.taking([OTHER, ONE])))) == [ONE, OTHER]


@pytest.mark.parametrize(
    ("section", "said"),
    [("aside", 1), ("aside", None), ("aside", b""), ("takes", b"short"), ("takes", ONE + b"x"), ("takes", [ONE])],
)
def test_what_says_nothing_about_packs_that_were_put_aside_is_refused(section, said):
    with pytest.raises(FormatError):
        read(entry(MOVE, sections={section: msgspec.Raw(codec.encode(said))}))


@pytest.mark.parametrize("said", [0, -1, 7, 8, 2**63, "6", None, [6], b"6"])
def test_what_takes_back_no_earlier_entry_is_refused(said):
    with pytest.raises(FormatError):
        log.undoes(read(entry(MOVE, sections={log.UNDOES: msgspec.Raw(codec.encode(said))})))


# ------------------------------------------------------------------------------------------------ refs


@given(name=ref_names)
def test_a_symbolic_value_is_never_taken_for_an_id(name):
    value = log.to_symbolic(name)
    assert len(value) != 32
    log.check_value(value)
    assert log.symbolic(value) == name


@pytest.mark.parametrize("length", range(6 + 1, 6 + 40))
def test_symbolic_values_of_every_length_come_back(length):
    name = "heads/" + "x" * (length - 6)
    assert log.symbolic(log.to_symbolic(name)) == name


def test_an_id_that_begins_like_a_symbolic_value_is_an_id():
    value = b"@" + bytes(31)
    log.check_value(value)
    assert log.symbolic(value) is None
    assert log.symbolic(None) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "heads",
        "heads/",
        "/heads/a",
        "HEADS/a",
        "other/a",
        "heads//a",
        "heads/a/",
        "heads/.",
        "heads/..",
        "heads/../../etc",
        "heads/a/../b",
        "heads/.git",
        "heads/.GIT/hooks",
        "heads/.dv",
        "heads/git~1",
        "heads/a\0b",
        "heads/a\nb",
        "heads/\x1b[31m",
        "heads/\u202eabc",
        "heads/\u200b",
        "heads/" + "x" * 1024,
        "erasures/x",
        "erasures/" + "A" * 32,
        "erasures/" + "a" * 33,
        "erasures/" + "a" * 32 + "/b",
        "clones/" + "g" * 32,
        "holds/x",
        "holds/" + "A" * 32,
        "holds/" + "a" * 31,
        "holds/" + "a" * 32 + "/b",
    ],
)
def test_an_impossible_ref_is_refused(name):
    with pytest.raises(FormatError):
        log.check_ref(name)
    with pytest.raises(FormatError):
        read(entry(log.MoveRef(name=name, old=None, new=ONE)))
    with pytest.raises(FormatError):
        read(checkpoint(refs=log.Table(count=1, pairs=((name.encode(), ONE),))))


@pytest.mark.parametrize(
    "value",
    [b"", b"@", b"@heads", b"@heads/../x", b"@heads/\xff", b"@nowhere/x", bytes(31), bytes(33), b"heads/a"],
)
def test_an_impossible_value_of_a_ref_is_refused(value):
    for old, new in ((value, ONE), (ONE, value)):
        with pytest.raises(FormatError):
            read(entry(log.MoveRef(name="heads/main", old=old, new=new)))
    with pytest.raises(FormatError):
        read(checkpoint(refs=log.Table(count=1, pairs=((b"heads/main", value),))))


def test_a_ref_whose_name_is_not_text_is_refused():
    with pytest.raises(FormatError):
        read(checkpoint(refs=log.Table(count=1, pairs=((b"heads/\xff\xfe", ONE),))))


# ------------------------------------------------------------------------- what an entry says of itself


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 2},
        {"version": -1},
        {"store": bytes(15)},
        {"store": bytes(32)},
        {"previous": b""},
        {"previous": bytes(33)},
        {"write": bytes(15)},
        {"number": 0},
        {"number": -1},
        {"checkpoint": -1},
        {"checkpoint": 8},
        {"time": -1},
        {"time": codec.TIME_LIMIT},
        {"time": 2**64 - 1},
    ],
)
def test_an_impossible_entry_is_refused(changes):
    assert read(entry(MOVE)) == entry(MOVE)
    with pytest.raises(FormatError):
        read(entry(MOVE, **changes))


def test_an_unknown_action_is_refused():
    plain = msgspec.msgpack.decode(codec.encode(entry(MOVE)))
    at = next(i for i, each in enumerate(plain) if isinstance(each, list))
    plain[at][0][0] = 99
    with pytest.raises(FormatError):
        log.decode(msgspec.msgpack.encode(plain))


OUTSIDE = [
    "",
    "format",
    "keys/repo",
    "log/0000000000000001",
    "packs",
    "packs/",
    "packs/..",
    "packs/../format",
    "../../.bashrc",
    "/etc/passwd",
    "packs//etc/passwd",
    f"packs/{ONE.hex()}/..",
    f"packs/{ONE.hex()}\n",
    f"packs/{ONE.hex().upper()}G",
    f"packs/{'zz' * 32}",
    f"packs/{SHORT.hex()}",
    f"./{PACK}",
    f"index/{ONE.hex()}",
    "keys/log-",
    f"keys/LOG-{SHORT.hex()}",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_only_files_that_an_entry_may_add_can_be_condemned_or_dropped(name):
    for action in (log.Condemn(names=(PACK, name)), log.Drop(names=(name,))):
        with pytest.raises(FormatError):
            read(entry(action))
    with pytest.raises(FormatError):
        read(checkpoint(condemn=(name,)))


@pytest.mark.parametrize("name", [PACK, INDEX, KEYS, f"keys/log-{SHORT.hex()}"])
def test_files_that_an_entry_may_add_can_be_condemned_and_dropped(name):
    for value in (
        entry(log.Condemn(names=(name,))),
        entry(log.Drop(names=(name,))),
        checkpoint(condemn=(name,)),
    ):
        assert read(value) == value


@pytest.mark.parametrize("name", [*OUTSIDE, PACK])
def test_only_key_files_and_index_files_stand_for_them(name):
    for keys, index in ((name, INDEX), (KEYS, name)):
        with pytest.raises(FormatError):
            read(entry(log.AddPacks(keys=keys, index=index, packs=(ONE,), records=1)))
        with pytest.raises(FormatError):
            read(checkpoint(segments=(log.Segment(keys=keys, index=index, records=1, packs=1),)))


@pytest.mark.parametrize(
    "action",
    [
        log.AddPacks(keys=KEYS, index=INDEX, packs=(b"short",), records=1),
        log.AddPacks(keys=KEYS, index=INDEX, packs=(ONE,), records=-1),
        log.Supersede(pairs=((b"short", ONE),)),
        log.Supersede(pairs=((ONE, b"short"),)),
        log.Erasure(erasure=b"short", phase=1, planned=SHORT),
        log.Erasure(erasure=SHORT, phase=1, planned=b"short"),
        log.Erasure(erasure=SHORT, phase=0, planned=SHORT),
        log.Erasure(erasure=SHORT, phase=5, planned=SHORT),
        log.Erasure(erasure=SHORT, phase=-1, planned=SHORT),
        log.Erasure(erasure=SHORT, phase=300, planned=SHORT),
    ],
)
def test_an_impossible_action_is_refused(action):
    with pytest.raises(FormatError):
        read(entry(action))


PAIR = (b"key", b"value")


@pytest.mark.parametrize(
    "table",
    [
        log.Table(count=1),
        log.Table(count=-1),
        log.Table(count=2, pairs=(PAIR,)),
        log.Table(count=0, pairs=(PAIR,)),
        log.Table(count=2, pairs=(PAIR, PAIR)),
        log.Table(count=2, pairs=(PAIR, (b"before", b""))),
        log.Table(count=1, pairs=(PAIR,), root=ONE),
        log.Table(count=1000, root=b"short"),
        log.Table(count=1000, root=bytes(33)),
        log.Table(count=-1, root=ONE),
        log.Table(
            count=log.INLINE_LIMIT + 1,
            pairs=tuple((f"{i:05}".encode(), b"") for i in range(log.INLINE_LIMIT + 1)),
        ),
    ],
)
def test_a_checkpoint_with_a_table_that_does_not_add_up_is_refused(table):
    for which in ("packs", "superseded", "condemned", "dropped", "erasures", "locators"):
        with pytest.raises(FormatError):
            read(checkpoint(**{which: table}))


@pytest.mark.parametrize(
    "changes",
    [
        {"lock": b"short"},
        {"writes": ((1, b"short"),)},
        {"segments": (log.Segment(keys=KEYS, index=INDEX, records=-1, packs=1),)},
        {"segments": (log.Segment(keys=KEYS, index=INDEX, records=1, packs=-1),)},
    ],
)
def test_an_impossible_checkpoint_is_refused(changes):
    assert read(checkpoint(lock=SHORT)) == checkpoint(lock=SHORT)
    with pytest.raises(FormatError):
        read(checkpoint(**changes))


@pytest.mark.parametrize(
    "value",
    [
        entry(log.MoveRef(name="heads/..", old=None, new=ONE)),
        entry(log.MoveRef(name="heads/a", old=None, new=b"short")),
        entry(log.Drop(names=("keys/repo",))),
        entry(MOVE, number=0),
    ],
)
def test_what_no_reader_would_take_is_not_written(value):
    with pytest.raises(DvError):
        log.encode(value)


# ------------------------------------------------------------------------------------------- file names


def test_stubs_are_told_from_entries(golden):
    assert log.is_stub(log.STUB)
    assert len(log.STUB) == log.STUB_SIZE
    assert not log.is_stub(log.STUB + b"\0")
    assert not log.is_stub(log.STUB[:-1])
    assert not log.is_stub(golden("log", "first").data)


@given(numbers=st.lists(st.integers(1, 2**64 - 1), min_size=2, max_size=5))
def test_file_names_sort_as_their_numbers(numbers):
    assert [log.file_name(number) for number in sorted(numbers)] == sorted(map(log.file_name, numbers))


def test_an_entry_of_a_newer_version_is_told_as_such_whatever_else_it_says():
    later = msgspec.msgpack.encode([log.VERSION + 1, {"store": "told in another way"}, *range(20)])
    with pytest.raises(FormatError, match="format version 2") as caught:
        log.decode(later)
    assert caught.value.next == "upgrade dv"


@given(time=st.integers(0, codec.TIME_LIMIT - 1))
def test_an_expiry_says_when(time):
    value = log.to_expired(time)
    assert len(value) == ids.ID_SIZE
    assert log.expired(value) == time


@given(identity=st.binary(min_size=32, max_size=32).filter(lambda each: any(each[:24])))
def test_an_id_is_no_expiry(identity):
    assert log.expired(identity) is None


@pytest.mark.parametrize(
    "pair",
    [(HASH, log.to_expired(codec.TIME_LIMIT)), (HASH, log.EXPIRED + b"\xff" * 8), (log.to_expired(1), HASH)],
    ids=["too late", "far too late", "of an expiry"],
)
def test_an_impossible_expiry_is_refused_in_an_entry_and_in_a_table(pair):
    with pytest.raises(FormatError, match="expired"):
        log.encode(entry(log.Supersede(pairs=(pair,))))
    with pytest.raises(FormatError, match="expired"):
        log.check_row("superseded", *pair)
    log.check_row("superseded", HASH, log.to_expired(codec.TIME_LIMIT - 1))
