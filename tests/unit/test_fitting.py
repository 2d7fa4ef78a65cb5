"""What programs say is made fit for journals and runs, and a run that says too much is cut and stored."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from dvtool.capture import plain
from dvtool.formats import run
from dvtool.runs import fitting
from tests.cli.running import described

LONG = "x" * 70_000


def model(**changes):
    return structs.replace(described(1, bytes(32), bytes(32)), **changes)


def metric(name, split=""):
    one = {"last": 1.0, "least": 1.0, "greatest": 1.0}
    return run.Metric(name=name, split=split, count=1, step=None, least_step=None, greatest_step=None, **one)


def made(path, **changes):
    return run.Output(path=path, origin="", kind="", files=1, size=1, missing=False, **changes)


def read(path, role=""):
    return run.Input(source=run.OUTSIDE, path=path, role=role, known="declared", files=1, size=1)


def worker(**changes):
    whole = run.Worker(rank=0, shard="", pid=1, host="", started=0, ended=0, lost=0)
    return structs.replace(whole, **changes)


def nested(depth):
    return [nested(depth - 1)] if depth else 1


FULL = "y" * 30_000
TOO_MUCH = {
    "names": model(name=LONG, group=LONG, author=LONG, directory="\udcff"),
    "a stage that nobody knows": model(stage="no such stage"),
    "why it failed": model(ending=run.Ending(why=LONG + "\udcff")),
    "params": model(params={"a": "x" * 2_000_000, "b": 1}),
    "many params": model(params={f"{number}": "x" * 60 for number in range(40_000)}),
    "long names of params": model(params={f"{number}" + FULL: number for number in range(80)}),
    "seeds": model(seeds={"a": ["x" * 60_000] * 30}),
    "environment": model(environment={"packages": [{"name": FULL}] * 60, "cpu": {"cores": 2}}),
    "nesting": model(params={"a": nested(40)}),
    "large numbers": model(params={"a": 2**80, "b": b"bytes", "c": {1: 2}}),
    "changes": model(changes=[run.Change(name=LONG, time=1, step=2**64, value=LONG)] * 70_000),
    "metrics": model(metrics=[metric(f"{number}{LONG}", LONG) for number in range(300)]),
    "metrics that are alike when they are cut": model(metrics=[metric(LONG + "1"), metric(LONG + "2")]),
    "samples": model(samples=[run.Samples(name=LONG, path="samples/a.parquet", key=LONG, rows=1)]),
    "workers": model(workers=[worker(shard=LONG, host="\udcff", pid=-1, lost=-1)] * 70_000),
    "inputs": model(inputs=[read(f"/{number}", LONG) for number in range(70_000)]),
    "an input that is not Unicode": model(inputs=[read("/\udcff")]),
    "outputs": model(outputs=[made(f"{number}") for number in range(70_000)]),
    "a reserved output": model(outputs=[made(".git/x"), made("a/../b"), made("\0"), made("a\\..\\b")]),
    "notes": model(),
}


@pytest.mark.parametrize("value", TOO_MUCH.values(), ids=TOO_MUCH)
def test_whatever_is_said_the_run_can_be_stored(value):
    notes = [LONG, "\udcff", *(f"note {number}" for number in range(3000))]
    found = fitting.whole(value, notes)
    assert run.decode(run.encode(found)) == found
    assert len(found.notes) <= fitting.NOTES + 1
    assert found.notes[0].endswith("…")
    assert found.notes[-1].endswith("more notes were not kept")


def test_all_at_once_is_no_more_than_a_run_may_be():
    parts = {name: getattr(each, name) for each in TOO_MUCH.values() for name in ("name", "environment", "seeds")}
    full = model(
        **parts,
        params=TOO_MUCH["many params"].params,
        changes=[run.Change(name="é" * 900, time=1, step=1, value=["é" * 900])] * 5_000,
        inputs=[read("/" + "é" * 900 + str(number)) for number in range(5_000)],
        outputs=[made("é" * 900 + str(number)) for number in range(5_000)],
        metrics=[metric("é" * 900 + str(number)) for number in range(5_000)],
        workers=[worker(host="é" * 900)] * 5_000,
        command=("é" * 60_000,) * 4,
    )
    found = fitting.whole(full, ["é" * 4000] * 2000)
    assert len(run.encode(found)) < run.SIZE_LIMIT
    assert min(len(found.inputs), len(found.outputs), len(found.metrics), len(found.workers), len(found.changes)) > 100


def test_what_fits_stays_as_it_is():
    whole = model(
        name="n", params={"a": {"b": [1, 2.5, None, True, "x"]}}, metrics=(metric("a"), metric("a", "b")),
        outputs=(made("a"), made("b/c")), inputs=(read("/a"),), notes=("one",), environment={"memory": 5},
    )  # fmt: skip
    assert fitting.whole(whole, ["one"]) == whole


def test_the_largest_values_give_way_first():
    notes: list[str] = []
    found = fitting.document({"large": "x" * 60_000, "larger": ["x" * 60_000] * 20, "small": 1}, "parameters", notes)
    assert found == {"large": "x" * 60_000, "larger": fitting.LEFT_OUT, "small": 1}
    assert len(notes) == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(max_size=3)
    | st.just(object()) | st.dates() | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(), inner, max_size=3)
    | st.tuples(inner) | st.frozensets(st.text(max_size=2), max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters()) | st.integers(), ANYTHING, max_size=4))
def test_any_parameters_become_a_document(values):
    found = plain.document(values)
    run.check_value(found)
    run.encode(fitting.whole(model(params=found), []))
    for name, value in values.items():
        if type(value) in {bool, float, type(None)} and isinstance(name, str) and name.isascii():
            assert repr(found[name]) == repr(value)


class Endless:
    def __getattr__(self, name):
        return lambda *_: self

    def __repr__(self):
        raise RuntimeError


class Large:
    size = 10**12

    def tolist(self):
        raise AssertionError

    def __repr__(self):
        return "large"


def test_objects_that_never_end_do_end():
    began = time.process_time()
    loop: list[object] = []
    loop += [loop, loop, loop]
    found = plain.document({"endless": Endless(), "loop": loop, "large": Large(), "wide": [[0] * 1000] * 1000})
    run.check_value(found)
    assert found["endless"] == "<Endless>"
    assert found["large"] == "large"
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(3, 3), ("3", 3), (3.9, 3), (True, 1), (2**63, None), (-(2**63), -(2**63)), ("x", None), (None, None)],
)
def test_whole_numbers(value, wanted):
    assert plain.whole(value) == wanted


def test_what_is_no_number_is_none():
    assert plain.whole(float("nan")) is None
    assert plain.whole(float("inf")) is None
    assert plain.whole(object()) is None


def test_texts():
    assert plain.text("é\udcffx") == "é\\udcffx"
    assert plain.text("x" * 100, 10) == "x" * 10
    assert len(plain.text("\udcff" * 100_000)) == run.TEXT_LIMIT
