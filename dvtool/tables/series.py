"""Series of numbers, and tables of samples, as Parquet."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from dvtool.errors import FormatError, UsageError
from dvtool.tables.columns import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

ROW_LIMIT: Final = 200_000_000
"""Rows of a table that is read; the number in its footer is looked at first."""


def _metrics() -> pa.Schema:
    """Return the columns of values that were logged.

    What a value is called, of which split, at which step, when, how much, and which of the run's processes said so.
    """
    import pyarrow as pa

    category = pa.dictionary(pa.int32(), pa.string())
    moment = pa.timestamp("us", tz="UTC")
    columns = [("name", category), ("split", category), ("step", pa.int64()), ("time", moment)]
    return pa.schema([*columns, ("value", pa.float64()), ("worker", pa.int32())])


def _system() -> pa.Schema:
    """Return the columns of looks at the machine."""
    import pyarrow as pa

    category = pa.dictionary(pa.int32(), pa.string())
    return pa.schema([("name", category), ("time", pa.timestamp("us", tz="UTC")), ("value", pa.float64())])


def encode_metrics(series: Series) -> bytes:
    """Return values as Parquet, in the order in which they were logged."""
    import pyarrow as pa

    columns = [
        pa.array(series.names, pa.string()).dictionary_encode(),
        pa.array(series.splits, pa.string()).dictionary_encode(),
        pa.array(series.steps, pa.int64()),
        pa.array(series.times, pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        pa.array(series.values, pa.float64()),
        pa.array(series.workers, pa.int32()),
    ]
    return _encode(pa.Table.from_arrays(columns, schema=_metrics()))


def decode_metrics(data: bytes) -> Series:
    """Return the values that :func:`encode_metrics` encoded.

    Raises:
        FormatError: when they are none.
    """
    import pyarrow as pa

    table = _decode(data, _metrics())
    return Series(
        names=table["name"].to_pylist(),
        splits=table["split"].to_pylist(),
        steps=table["step"].to_pylist(),
        times=table["time"].cast(pa.int64()).to_pylist(),
        values=table["value"].to_pylist(),
        workers=table["worker"].to_pylist(),
    )


def encode_system(rows: Sequence[tuple[int, Mapping[str, float]]]) -> bytes:
    """Return looks at the machine, each a time in microseconds and values by name, as Parquet."""
    import pyarrow as pa

    flat = [(name, time, value) for time, values in rows for name, value in sorted(values.items())]
    columns = [
        pa.array([name for name, _time, _value in flat], pa.string()).dictionary_encode(),
        pa.array([time for _name, time, _value in flat], pa.int64()).cast(pa.timestamp("us", tz="UTC")),
        pa.array([value for _name, _time, value in flat], pa.float64()),
    ]
    return _encode(pa.Table.from_arrays(columns, schema=_system()))


def decode_system(data: bytes) -> list[tuple[int, str, float]]:
    """Return (time, name, value) of the looks that :func:`encode_system` encoded.

    Raises:
        FormatError: when they are none.
    """
    import pyarrow as pa

    table = _decode(data, _system())
    times = table["time"].cast(pa.int64()).to_pylist()
    return list(zip(times, table["name"].to_pylist(), table["value"].to_pylist(), strict=True))


def write_samples(table: Any, key: str, path: str) -> int:  # noqa: ANN401 - whatever people keep tables in
    """Write a table of samples to a file and return how many rows it has.

    Args:
        table: a table of pyarrow, a data frame of pandas or polars, columns by name, or rows as mappings.
        key: the column that names the sample.
        path: the file.

    Raises:
        UsageError: when it is no table, or has no such column.
        OSError: when the file cannot be written.
    """
    found = _table_of(table)
    if key not in found.column_names:
        names = ", ".join(found.column_names[:20])
        raise UsageError(f"the table has no column {key!r}", why=f"it has {names}", next="name its key: key='...'")
    from pyarrow import parquet as pq

    pq.write_table(found, path, compression="zstd")
    return int(found.num_rows)


def _table_of(table: Any) -> pa.Table:  # noqa: ANN401 - as above
    import pyarrow as pa

    try:
        if isinstance(table, pa.Table):
            return table
        if hasattr(table, "to_arrow"):  # polars
            return table.to_arrow()
        if hasattr(table, "columns") and hasattr(table, "dtypes"):  # pandas
            return pa.Table.from_pandas(table, preserve_index=False)
        if hasattr(table, "items"):
            return pa.table({str(name): _column(values) for name, values in table.items()})
        return pa.Table.from_pylist([dict(row) for row in table])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(
            "this is no table of samples",
            why=str(error),
            next="hand over a data frame, a dictionary of columns of one length, or a list of dictionaries",
        ) from None


def _column(values: Any) -> pa.Array:  # noqa: ANN401 - a list, an array of numpy, a tensor
    import pyarrow as pa

    for way in ("detach", "cpu", "numpy"):  # tensors of torch, wherever they lie
        if hasattr(values, way) and not isinstance(values, pa.Array):
            values = getattr(values, way)()
    return pa.array(values)


def rows(data: bytes) -> Iterable[dict[str, Any]]:
    """Yield the rows of a Parquet table as mappings.

    Raises:
        FormatError: when it is none.
    """
    yield from _decode(data, None).to_pylist()


def without_rows(data: bytes, key: str, is_meant: Callable[[str], bool]) -> tuple[bytes, int]:
    """Return a table of samples without some rows, and how many went.

    Nothing of them is left: dictionaries hold only what is used, and what pandas notes of the old table is not kept.

    Args:
        data: the table as Parquet.
        key: the column that names the sample.
        is_meant: says of a key, as text, whether its row goes.

    Raises:
        FormatError: when it is no table, has no such column or two of them, or holds what cannot be written anew.
    """
    import pyarrow as pa

    table = _decode(data, None)
    if table.column_names.count(key) != 1:
        raise FormatError("a table of samples has not one column of keys", why=f"it is said to be {key!r}")
    at = table.column_names.index(key)
    try:
        columns = [column.cast(_plain(column.type)) for column in table.columns]
        keep = [row for row, value in enumerate(columns[at].to_pylist()) if value is None or not is_meant(_text(value))]
        gone = int(table.num_rows) - len(keep)
        if not gone:
            return data, 0
        kept = pa.Table.from_arrays(columns, names=table.column_names).take(pa.array(keep, pa.int64()))
        return _encode(kept), gone
    except (pa.ArrowException, ValueError) as error:
        raise FormatError("rows cannot be taken out of a table of samples", why=str(error)) from None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of a column whose values are all that it holds: a dictionary may hold more, and so may views."""
    import pyarrow as pa

    types = pa.types
    found = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)
    if types.is_dictionary(kind):
        found = _plain(kind.value_type)
    elif types.is_map(kind):
        found = pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    elif types.is_struct(kind):
        found = pa.struct([pa.field(each.name, _plain(each.type), each.nullable) for each in kind])
    elif types.is_fixed_size_list(kind):
        found = pa.list_(_plain(kind.value_type), kind.list_size)
    elif types.is_list(kind):
        found = pa.list_(_plain(kind.value_type))
    elif types.is_large_list(kind):
        found = pa.large_list(_plain(kind.value_type))
    return found


def _encode(table: pa.Table) -> bytes:
    from pyarrow import parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _decode(data: bytes, schema: pa.Schema | None) -> pa.Table:
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > ROW_LIMIT:
            raise FormatError("a table of a run has too many rows")
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError("a table of a run cannot be read", why=str(error)) from None
    if schema is not None and table.schema.names != schema.names:
        raise FormatError("a table of a run has other columns than it should")
    return table
