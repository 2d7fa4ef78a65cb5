"""``python -m dvtool`` is ``dv``."""

from dvtool.cli.main import entry

entry()
