"""Series and samples as Parquet."""

import base64
import io
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet as parquet_file

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


SECRET = "somebody-17"
SHOWN = "everybody-else"


def parquet(table, **options):
    sink = io.BytesIO()
    parquet_file.write_table(table, sink, compression="none", **options)
    return sink.getvalue()


def taken(data, key="path"):
    """What is left without the rows of somebody, and in how many forms it says so."""
    kept, gone = series.without_rows(data, key, lambda value: SECRET in value)
    return kept, gone, parquet_file.ParquetFile(io.BytesIO(kept))


def everything_in(data):
    """All that a table holds: its values, its types, its dictionaries, statistics and metadata, and its bytes."""
    file = parquet_file.ParquetFile(io.BytesIO(data))
    found = [str(file.metadata), str(file.schema), str(file.schema_arrow), str(file.metadata.metadata)]
    groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
    found += [str(group.column(column)) for group in groups for column in range(file.metadata.num_columns)]
    table = file.read()
    found += [str(table.to_pylist())]
    for column in table.columns:
        found += [str(chunk.dictionary.to_pylist()) for chunk in column.chunks if pa.types.is_dictionary(column.type)]
    raw = parquet(table)
    schema = (file.metadata.metadata or {}).get(b"ARROW:schema", b"")
    return "".join(found).encode() + raw + base64.b64decode(schema) + data


def dictionary(*values):
    return pa.array(values).dictionary_encode()


PATHS = [f"data/{SECRET}/a", f"data/{SHOWN}/b", None]
COLUMNS = {
    "text": pa.array([SECRET, SHOWN, None]),
    "dictionary": dictionary(SECRET, SHOWN, None),
    "categories": pa.DictionaryArray.from_arrays(pa.array([1, 0, None], pa.int8()), pa.array([SHOWN, SECRET])),
    "list": pa.array([[SECRET], [SHOWN], None]),
    "list of dictionaries": pa.ListArray.from_arrays([0, 1, 2, 2], dictionary(SECRET, SHOWN)),
    "large list": pa.LargeListArray.from_arrays([0, 1, 2, 2], dictionary(SECRET, SHOWN)),
    "fixed list": pa.FixedSizeListArray.from_arrays(dictionary(SECRET, SHOWN, SHOWN), 1),
    "struct": pa.StructArray.from_arrays([dictionary(SECRET, SHOWN, None)], ["a"]),
    "map": pa.MapArray.from_arrays([0, 1, 2, 2], pa.array([SECRET, "k"]), dictionary(SECRET, SHOWN)),
    "bytes": pa.array([SECRET.encode(), SHOWN.encode(), None]),
    "view": pa.array([SECRET, SHOWN, None], pa.string_view()),
    "view of bytes": pa.array([SECRET.encode(), SHOWN.encode(), None], pa.binary_view()),
    "moment": pa.array([1, 2**60 + 1, None], pa.timestamp("ns")),
    "list of moments": pa.array([[1], [2**60 + 1], None], pa.list_(pa.timestamp("ns"))),
    "decimal": pa.array([Decimal("1.50"), Decimal("2.25"), None]),
    "nothing": pa.nulls(3),
}


@pytest.mark.parametrize("what", COLUMNS)
def test_of_a_row_that_goes_nothing_is_left_and_the_others_stay_as_they_were(what):
    data = parquet(pa.table({"path": PATHS, "x": COLUMNS[what]}))
    assert SECRET.encode() in everything_in(data)
    kept, gone, file = taken(data)
    assert gone == 1
    assert SECRET.encode() not in everything_in(kept)
    assert file.read()["path"].to_pylist() == PATHS[1:]
    assert file.read()["x"].to_pylist() == COLUMNS[what].to_pylist()[1:]
    assert series.without_rows(kept, "path", lambda value: SECRET in value) == (kept, 0)


@pytest.mark.parametrize("what", ["text", "dictionary", "categories", "bytes", "view", "view of bytes"])
def test_the_column_of_keys_may_be_of_any_kind_of_text(what):
    kept, gone, file = taken(parquet(pa.table({"key": COLUMNS[what], "at": [0, 1, 2]})), "key")
    assert gone == 1
    assert file.read()["at"].to_pylist() == [1, 2]
    assert SECRET.encode() not in everything_in(kept)


def test_keys_that_are_numbers_are_asked_for_as_text():
    data = parquet(pa.table({"key": [16, 17, 18]}))
    kept, gone = series.without_rows(data, "key", lambda value: value == "17")
    assert gone == 1
    assert [row["key"] for row in series.rows(kept)] == [16, 18]


def test_what_pandas_says_of_the_old_table_is_not_kept():
    frame = pd.DataFrame(
        {"path": PATHS[:2], "kind": pd.Categorical([SECRET, SHOWN])}, index=pd.Index([7, 8], name=SECRET)
    )
    data = parquet(pa.Table.from_pandas(frame))
    kept, gone, file = taken(data)
    assert gone == 1
    assert b"pandas" in everything_in(data)
    assert b"pandas" not in everything_in(kept)
    assert file.read().num_rows == 1


def test_metadata_of_columns_and_of_the_table_are_not_kept():
    schema = pa.schema([pa.field("path", pa.string(), metadata={"of": SECRET})], metadata={"about": SECRET})
    data = parquet(pa.table({"path": PATHS}, schema=schema))
    kept, gone, _file = taken(data)
    assert gone == 1
    assert SECRET.encode() not in everything_in(kept)


def test_the_dictionary_pages_of_parquet_hold_nothing_of_what_went():
    many = [f"{SECRET if number % 2 else SHOWN}-{number % 10}" for number in range(5000)]
    data = parquet(pa.table({"path": many, "x": many}), use_dictionary=True, row_group_size=500)
    kept, gone, file = taken(data)
    assert gone == 2500
    chunk = file.metadata.row_group(0).column(0)
    assert chunk.has_dictionary_page
    assert chunk.statistics.min.startswith(SHOWN)
    assert SECRET.encode() not in everything_in(kept)


def test_all_rows_may_go():
    kept, gone, file = taken(parquet(pa.table({"path": PATHS[:1], "x": [1]})))
    assert gone == 1
    assert file.read().num_rows == 0
    assert file.schema_arrow.names == ["path", "x"]
    assert SECRET.encode() not in everything_in(kept)


def test_a_table_of_which_nothing_goes_is_not_written_anew():
    data = parquet(pa.table({"path": PATHS[1:]}))
    assert series.without_rows(data, "path", lambda value: SECRET in value) == (data, 0)
    empty = parquet(pa.table({"path": pa.array([], pa.string())}))
    assert series.without_rows(empty, "path", lambda _value: True) == (empty, 0)


def test_rows_without_a_key_stay_whatever_is_meant():
    kept, gone = series.without_rows(parquet(pa.table({"path": [None, "a", None]})), "path", lambda _value: True)
    assert gone == 1
    assert [row["path"] for row in series.rows(kept)] == [None, None]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PAR1" + bytes(50) + b"PAR1",
        parquet(pa.table({"other": ["a"]})),
        parquet(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["path", "path"])),
    ],
    ids=["empty", "noise", "no such column", "two such columns"],
)
def test_without_a_table_and_its_column_of_keys_no_row_is_taken_out(data):
    with pytest.raises(FormatError):
        series.without_rows(data, "path", lambda _value: True)


@given(st.lists(st.none() | st.sampled_from(["a", "b", "c", "ü"]), max_size=20), st.sets(st.sampled_from("abcü")))
def test_the_rows_that_stay_are_those_that_are_not_meant_in_their_order(keys, meant):
    data = parquet(pa.table({"key": pa.array(keys, pa.string()), "at": pa.array(range(len(keys)), pa.int64())}))
    kept, gone = series.without_rows(data, "key", lambda value: value in meant)
    left = [(key, at) for at, key in enumerate(keys) if key not in meant]
    assert [(row["key"], row["at"]) for row in series.rows(kept)] == left
    assert gone == len(keys) - len(left)
