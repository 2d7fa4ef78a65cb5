"""Sizes as people write them: a number of bytes, or a number and a unit."""

from __future__ import annotations

from typing import Final

import click

from dvtool.errors import FormatError
from dvtool.formats import project

LARGEST: Final = 2**63 - 1
"""Bytes; no disk has more."""


class Size(click.ParamType[int]):
    """A number of bytes, with or without a unit: ``1000000``, ``10 MB``, ``1.5GiB``."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        try:
            count = project.size(value if value.endswith("B") else f"{value}B")
        except FormatError:
            self.fail(f"{value!r} is no size: write it as 1000000, 10MB or 1.5GiB", param, ctx)
        if count > LARGEST:
            self.fail(f"{value!r} is more than any disk has", param, ctx)
        return count
