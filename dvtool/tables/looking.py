"""Everything that a table's file holds, as bytes to be searched: not only the rows that it shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

PARQUET: Final = b"PAR1"
ARROW: Final = b"ARROW1"
STREAM: Final = b"\xff\xff\xff\xff"
"""How a stream of Arrow begins, which has no name of its own."""


def is_table(data: bytes) -> bool:
    """Return whether bytes begin as Parquet, or as a file or stream of Arrow."""
    return data.startswith((PARQUET, ARROW, STREAM))


def parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (where, bytes) of everything in a Parquet or Arrow file that a reader of the format gets to see.

    That is metadata of the file and of its fields, statistics, dictionaries with the values that no row has any more,
    the buffers of each column, in which values stand that are null by now, and numbers and times written as text.
    What cannot be read as a table yields what could be read of it, and no error.
    """
    import pyarrow as pa

    try:
        if data.startswith(PARQUET):
            yield from _parquet(data)
        elif data.startswith(ARROW):
            with pa.ipc.open_file(data) as file:
                yield from _schema(file.schema)
                for number in range(file.num_record_batches):
                    yield from _table(pa.Table.from_batches([file.get_batch(number)]), f"batch {number}")
        elif data.startswith(STREAM):
            with pa.ipc.open_stream(data) as stream:
                yield from _schema(stream.schema)
                for number, batch in enumerate(stream):
                    yield from _table(pa.Table.from_batches([batch]), f"batch {number}")
    except (pa.ArrowException, OSError, ValueError):
        return


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    from pyarrow import parquet as pq

    plain = pq.ParquetFile(io.BytesIO(data))
    for key, value in (plain.metadata.metadata or {}).items():
        yield f"metadata {key!r}", key + b"\n" + value
    yield from _schema(plain.schema_arrow)
    names = [plain.metadata.schema.column(at).path for at in range(plain.metadata.num_columns)]
    # A page of a dictionary may hold values that no row has; only who asks for dictionaries is handed it as it is.
    as_stored = pq.ParquetFile(io.BytesIO(data), read_dictionary=names)
    for group in range(plain.metadata.num_row_groups):
        yield from _statistics(plain.metadata.row_group(group), f"row group {group}")
        for file in (plain, as_stored):
            yield from _table(file.read_row_group(group), f"row group {group}")


def _statistics(group: Any, where: str) -> Iterator[tuple[str, bytes]]:  # noqa: ANN401 - pyarrow has no types
    for at in range(group.num_columns):
        column = group.column(at)
        found = column.statistics
        if found is not None and found.has_min_max:
            text = "\n".join(each if isinstance(each, str) else str(each) for each in (found.min, found.max))
            raw = b"\n".join(each for each in (found.min, found.max) if isinstance(each, bytes))
            yield f"statistics of column {column.path_in_schema!r}, {where}", text.encode("utf-8", "replace") + raw


def _schema(schema: pa.Schema) -> Iterator[tuple[str, bytes]]:
    for key, value in (schema.metadata or {}).items():
        yield f"metadata of the schema {key!r}", key + b"\n" + value
    for field in schema:
        kept = b"\n".join(key + b"\n" + value for key, value in (field.metadata or {}).items())
        yield f"field {field.name!r}", field.name.encode("utf-8", "replace") + b"\n" + kept


def _table(table: pa.Table, where: str) -> Iterator[tuple[str, bytes]]:
    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            for buffer in _buffers(chunk):
                yield f"column {name!r}, {where}", buffer
            text = _as_text(chunk)
            if text:
                yield f"column {name!r}, {where}, as text", text


def _buffers(array: Any) -> Iterator[bytes]:  # noqa: ANN401 - pyarrow has no types
    """Yield the memory of an array, with what lies in it beyond the values that it shows."""
    import pyarrow as pa

    if isinstance(array, pa.DictionaryArray):
        yield from _buffers(array.dictionary)
    elif isinstance(array, pa.ExtensionArray):
        yield from _buffers(array.storage)
    else:
        for buffer in array.buffers():
            if buffer is not None:
                yield buffer.to_pybytes()


def _as_text(array: Any) -> bytes:  # noqa: ANN401 - pyarrow has no types
    """Return numbers, times and the like as people write them, a line for each."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        return _as_text(array.dictionary)
    if pa.types.is_nested(kind):
        return "\n".join(map(str, array.to_pylist())).encode("utf-8", "replace")
    if not pa.types.is_primitive(kind) and not pa.types.is_decimal(kind):
        return b""
    return "\n".join(map(str, array.to_pylist())).encode()
