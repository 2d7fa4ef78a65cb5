"""Whatever processes wrote into the journal of a run, the run that is stored says the same."""

import itertools
import math
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvtool.capture import recorder
from dvtool.capture.redaction import Redactor
from dvtool.formats import journal
from dvtool.repo import Repo
from dvtool.runs import beginning, sealing
from dvtool.tables import series
from dvtool.testing.audit import content
from dvtool.worktree.session import Context

NUMBERS = itertools.count()
NAMES = st.sampled_from(["loss", "acc", "lr", "é", "", "a.b", "x" * 50])
TIMES = st.integers(1_700_000_000_000_000, 1_800_000_000_000_000)
STEPS = st.none() | st.integers(-5, 20) | st.integers(-(2**63), 2**63 - 1)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
)
VALUES = st.builds(
    journal.Values,
    TIMES,
    st.sampled_from(["", "train", "test"]),
    STEPS,
    st.dictionaries(NAMES, st.floats(), max_size=4),
)
PARAMS = st.builds(journal.Params, TIMES, STEPS, st.dictionaries(st.sampled_from(["p", "q", "r"]), SCALARS, max_size=3))
SEEDS = st.builds(journal.Seeds, st.dictionaries(st.sampled_from(["numpy", "torch"]), st.integers(0, 9), max_size=2))
NOTES = st.builds(journal.Note, st.sampled_from(["one", "two"]))
RECORDS = st.lists(VALUES | PARAMS | SEEDS | NOTES, max_size=12)
TORN = st.integers(0, 30)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    root = tmp_path_factory.mktemp("repository")
    Repo.init(str(root))
    return Repo.open(str(root), Context(cwd=str(root))).workspace


def written(directory, number, records, torn):
    """Write what one process said, of which the end may have been cut off; return what is whole."""
    data = journal.header() + journal.encode(journal.Hello(1_700_000_000_000_000, number, "", number + 1, "host"))
    whole = []
    for at, record in enumerate(records):
        encoded = journal.encode(record)
        if torn and at == len(records) - 1:
            data += encoded[: min(torn, len(encoded) - 1)]
        else:
            data += encoded
            whole.append(record)
    with open(f"{directory}/{recorder.LOG}{number:03}", "wb") as file:
        file.write(data)
    return whole


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


@settings(max_examples=25)
@given(processes=st.lists(st.tuples(RECORDS, TORN), max_size=4), ended=st.booleans())
def test_a_stored_run_says_what_its_processes_said(workspace, processes, ended):
    begun = beginning.begin(workspace, beginning.Request(command=("true",)), {}, Redactor())
    said = [written(begun.directory, number, *each) for number, each in enumerate(processes)]
    if ended:
        end = journal.End(time=1_700_000_000_000_001, code=0, signal=None, why="", cpu=None, memory=None)
        beginning.write(f"{begun.directory}/{recorder.END}", journal.encode_end(end))
    assert sealing.seal(workspace, begun.directory, Redactor()) is None
    recorder.let_go(begun.held)
    found = sealing.seal(workspace, begun.directory, Redactor())
    assert found is not None
    assert not os.path.exists(begun.directory)
    assert found.status == ("done" if ended else "killed")
    assert [worker.rank for worker in found.workers] == list(range(len(processes)))

    rows = [
        (name, record.split, record.step, record.time, value, number)
        for number, records in enumerate(said)
        for record in records
        if isinstance(record, journal.Values)
        for name, value in sorted(record.values.items())
    ]
    entry = workspace.session.trees.resolve(found.tree, "record/metrics.parquet")
    if rows:
        assert entry is not None
        table = series.decode_metrics(content(workspace.session.store, entry))
        stored = zip(table.names, table.splits, table.steps, table.times, table.values, table.workers, strict=True)
        for one, other in zip(stored, rows, strict=True):
            assert (*one[:4], one[5]) == (*other[:4], other[5])
            assert same(one[4], other[4])
    else:
        assert entry is None
    assert {(metric.name, metric.split) for metric in found.metrics} == {row[:2] for row in rows}
    for metric in found.metrics:
        own = [row for row in rows if row[:2] == (metric.name, metric.split)]
        real = [row[4] for row in own if not math.isnan(row[4])] or [math.nan]
        assert metric.count == len(own)
        assert same(metric.least, min(real))
        assert same(metric.greatest, max(real))
        steps = [row[2] for row in own if row[2] is not None]
        assert metric.step == (max(steps) if steps else None)

    params = sorted(
        (record for records in said for record in records if isinstance(record, journal.Params)),
        key=lambda record: record.time,
    )
    wanted: dict[str, object] = {}
    changes = 0
    for record in params:
        for name, value in record.values.items():
            changes += name in wanted and (type(wanted[name]), wanted[name]) != (type(value), value)
            wanted[name] = value
    assert found.params == wanted
    assert len(found.changes) == changes
    notes = [record.text for records in said for record in records if isinstance(record, journal.Note)]
    assert [note for note in found.notes if note in {"one", "two"}] == notes
    torn = sum(1 for records, at in processes if records and at)
    assert sum("in the middle of a record" in note for note in found.notes) == torn
