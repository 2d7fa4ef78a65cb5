"""Content-defined cuts by FastCDC 2020.  The only door to ``pyfastcdc``, opened for the first long file."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any, Final

from dvtool.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dvtool.formats.storeformat import Chunking

WHOLE_LIMIT: Final = 4 * 1024 * 1024
"""Files up to this length are read whole and cut in memory; longer ones are streamed."""


def is_fast() -> bool:
    """Return whether the compiled chunker is there; its pure-Python stand-in is about 500 times slower."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pyfastcdc")
    return "pyfastcdc.cy" in str(module.FastCDC.__module__)


class Chunker:
    """Cuts bytes and streams at places that depend on their content and on a secret seed."""

    def __init__(self, sizes: Chunking, seed: int) -> None:
        """Remember the sizes (bytes) and the seed (63 bits, from the repository secret)."""
        self.minimum = sizes.minimum
        self._sizes = sizes
        self._seed = seed
        self._cutter: Any = None

    def cut(self, data: bytes) -> list[tuple[int, int]]:
        """Return (start, end) of each chunk of ``data``; nothing for no data."""
        if len(data) <= self.minimum:
            return [(0, len(data))] if data else []
        return [(chunk.offset, chunk.offset + chunk.length) for chunk in self._fastcdc().cut_buf(data)]

    def stream(self, read_into: Callable[[memoryview], int]) -> Iterator[memoryview]:
        """Yield the chunks of a stream; each is valid only until the next is asked for."""
        for chunk in self._fastcdc().cut_stream(_Reader(read_into)):
            yield chunk.data

    def _fastcdc(self) -> Any:  # noqa: ANN401 - the library's class has no type that is importable without it
        if self._cutter is None:
            if not is_fast():
                raise StorageError(
                    "the compiled chunker is missing",
                    why="pyfastcdc was installed without its extension, and its fallback is far too slow",
                    next="reinstall it from a wheel: pip install --force-reinstall --only-binary :all: pyfastcdc",
                )
            sizes = self._sizes
            self._cutter = importlib.import_module("pyfastcdc").FastCDC(
                sizes.average,
                min_size=sizes.minimum,
                max_size=sizes.maximum,
                normalized_chunking=1,
                seed=self._seed,
            )
        return self._cutter


class _Reader:
    """The shape of stream that the library asks for."""

    def __init__(self, read_into: Callable[[memoryview], int]) -> None:
        self.readinto = read_into
