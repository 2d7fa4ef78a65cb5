"""Times and lengths of time, as arguments."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

import click

UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST: Final = 36500 * 86400
"""A hundred years, in seconds: what is longer would not fit the calendar."""

_AGE: Final = r"[0-9]{1,12}[smhdw]"
_DAY: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_RFC3339: Final = _DAY + r"[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"


class Duration(click.ParamType[int]):
    """A number of seconds, minutes, hours, days or weeks: ``90s``, ``30m``, ``12h``, ``14d``, ``2w``, ``0``."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,12})([smhdw]?)", value, flags=re.ASCII)
        if found is None or (not found[2] and int(found[1])):
            self.fail(f"{value!r} is no duration: write it as 90s, 30m, 12h, 14d, 2w or 0", param, ctx)
        seconds = int(found[1]) * UNITS[found[2]]
        if seconds > LONGEST:
            self.fail(f"{value!r} is more than a hundred years", param, ctx)
        return seconds


class Moment(click.ParamType[dt.datetime]):
    """A day, a point in time of RFC 3339, or an age: ``2026-01-31``, ``2026-01-31T12:00:00Z``, ``90d``."""

    name = "moment"

    def convert(
        self, value: str | dt.datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> dt.datetime:
        """Return a point in time; days begin at midnight in UTC."""
        if isinstance(value, dt.datetime):
            return value
        text = value.upper()
        if re.fullmatch(_AGE, value, flags=re.ASCII):
            return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=Duration().convert(value, param, ctx))
        if re.fullmatch(_DAY, value, flags=re.ASCII):
            text = f"{value}T00:00:00+00:00"
        elif not re.fullmatch(_RFC3339, text, flags=re.ASCII):
            self.fail(f"{value!r} is no date: write it as 2026-01-31, 2026-01-31T12:00:00Z or 90d", param, ctx)
        try:
            return dt.datetime.fromisoformat(text)
        except ValueError as error:
            self.fail(f"{value!r} is no date: {error}", param, ctx)
