"""Makes what programs say fit for a journal: texts that are Unicode and not too long, parameters that are a document.

A program may say anything, and neither the program nor the record of it is to break by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dvtool.formats.run import DEPTH_LIMIT, TEXT_LIMIT

REPR: Final = 1000
"""Characters that are kept of a parameter that is neither text nor number nor made of such."""
VALUES: Final = 100_000
"""Values of which one parameter is made at most; what comes then is left out."""
_LEAST: Final = -(2**63)
_MOST: Final = 2**64


def text(value: object, limit: int = TEXT_LIMIT) -> str:
    """Return a text of Unicode, with escapes for what is none, and cut off at a number of characters."""
    found = str(value)[:limit]
    return found if found.isascii() else found.encode("utf-8", "backslashreplace").decode()[:limit]


def whole(value: object) -> int | None:
    """Return a whole number that fits 64 bits with a sign; None for what is none."""
    try:
        found = int(value)  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 - whatever an object of somebody else's does, the program goes on
        return None
    return found if _LEAST <= found < -_LEAST else None


def document(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Return parameters as they can be kept: what is neither text nor number becomes a text."""
    return {text(name): _Plain().value(value, 1) for name, value in values.items()}


class _Plain:
    """Makes one value plain; one that holds itself, or is endless, ends at a bound."""

    def __init__(self) -> None:
        self._left = VALUES

    def value(self, value: Any, depth: int, *, ask: bool = True) -> Any:  # noqa: ANN401, PLR0911 - any; a case for each
        self._left -= 1
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if _LEAST <= value < _MOST else text(hex(value), REPR)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return text(value)
        if depth < DEPTH_LIMIT - 2 and self._left > 0:
            if isinstance(value, Mapping):
                return {text(name): self.value(each, depth + 1) for name, each in value.items() if self._left > 0}
            if isinstance(value, list | tuple | set | frozenset):
                ordered = sorted(value, key=str) if isinstance(value, set | frozenset) else value
                return [self.value(each, depth + 1) for each in ordered if self._left > 0]
            if ask and not _is_large(value):
                return self._asked(value, depth)
        return _shown(value)

    def _asked(self, value: object, depth: int) -> Any:  # noqa: ANN401 - as above
        """Return what an object says of itself: scalars and small arrays of numpy and torch, and dates, can."""
        for way in ("item", "tolist", "isoformat"):
            try:
                method = getattr(value, way, None)
                if callable(method):
                    # What is asked once more may answer with itself for ever.
                    return self.value(method(), depth + 1, ask=False)
            except Exception:  # noqa: BLE001, S112 - as above
                continue
        return _shown(value)


def _is_large(value: object) -> bool:
    try:
        return len(value) > VALUES or int(getattr(value, "size", 0)) > VALUES  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - what has no length is no array
        return False


def _shown(value: object) -> str:
    try:
        return text(repr(value), REPR)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(value).__name__}>"
