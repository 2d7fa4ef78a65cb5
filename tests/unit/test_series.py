"""Series and samples as Parquet."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvtool.errors import FormatError, UsageError
from dvtool.tables import series
from dvtool.tables.columns import Series

rows = st.lists(
    st.tuples(
        st.sampled_from(["loss", "acc", "ü"]),
        st.sampled_from(["", "train"]),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 2**52),
        st.floats(),
        st.integers(0, 9),
    ),
    max_size=20,
)


def filled(values):
    found = Series()
    for each in values:
        found.add(*each)
    return found


def plain(found):
    values = [repr(value) for value in found.values]
    return list(zip(found.names, found.splits, found.steps, found.times, values, found.workers, strict=True))


@given(rows)
def test_values_come_back_as_they_were_logged(values):
    found = filled(values)
    again = series.decode_metrics(series.encode_metrics(found))
    assert [repr(float(value)) for value in again.values] == [repr(value) for value in found.values]
    assert plain(again) == plain(found)


def test_new_series_have_nothing_in_common():
    one, two = Series(), Series()
    one.add("a", "", 1, 2, 3.0)
    assert len(one) == 1
    assert len(two) == 0


measured = st.dictionaries(st.text("abc", min_size=1), st.floats(allow_nan=False))


@given(st.lists(st.tuples(st.integers(0, 2**52), measured)))
def test_looks_at_the_machine_come_back(looks):
    found = series.decode_system(series.encode_system(looks))
    assert found == [(time, name, value) for time, values in looks for name, value in sorted(values.items())]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(FormatError):
        series.decode_metrics(data)


def test_every_piece_of_a_table_that_is_cut_off_is_refused():
    whole = series.encode_metrics(filled([("loss", "", 1, 2, 3.0, 0)]))
    for length in range(0, len(whole), 7):
        with pytest.raises(FormatError):
            series.decode_metrics(whole[:length])


def test_a_table_with_other_columns_is_refused():
    with pytest.raises(FormatError, match="other columns"):
        series.decode_metrics(series.encode_system([(1, {"a": 1.0})]))


TABLES = [
    {"path": ["a", "b"], "label": [0, 1]},
    {"path": np.array(["a", "b"]), "label": np.array([0, 1])},
    [{"path": "a", "label": 0}, {"path": "b", "label": 1}],
    pd.DataFrame({"path": ["a", "b"], "label": [0, 1]}, index=[7, 8]),
    pa.table({"path": ["a", "b"], "label": [0, 1]}),
    ({"path": name, "label": at} for at, name in enumerate("ab")),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_samples_may_be_any_kind_of_table(table, tmp_path):
    path = str(tmp_path / "samples.parquet")
    assert series.write_samples(table, "path", path) == 2
    with open(path, "rb") as file:
        found = list(series.rows(file.read()))
    assert found == [{"path": "a", "label": 0}, {"path": "b", "label": 1}]


@pytest.mark.parametrize("table", [{"path": [1, 2], "x": [1]}, 5, [1, 2], "abc", {"path": [object()]}, None])
def test_what_is_no_table_of_samples_is_refused(table, tmp_path):
    with pytest.raises(UsageError):
        series.write_samples(table, "path", str(tmp_path / "samples.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_no_column_is_named(tmp_path):
    with pytest.raises(UsageError, match="no column 'path'"):
        series.write_samples({"file": ["a"]}, "path", str(tmp_path / "samples.parquet"))


def test_a_number_that_is_none_is_kept():
    again = series.decode_metrics(series.encode_metrics(filled([("loss", "", None, 1, math.nan, 0)])))
    assert math.isnan(again.values[0])
    assert again.steps == [None]
