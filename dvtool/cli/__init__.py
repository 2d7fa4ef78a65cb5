"""The command line: arguments in, words or JSON out, errors as exit codes."""

from __future__ import annotations

import sys

# msgspec asks for typing_extensions, and other dependencies of ours have it installed.  Loading it, with the inspect
# module that it needs, takes a tenth of a small `dv status`; on the Pythons that dv runs on, msgspec finds all it uses
# of it in typing.  An entry of None is how the import system is told that there is no such module.
if "msgspec" not in sys.modules and "typing_extensions" not in sys.modules:
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    import msgspec  # noqa: F401 - to have it loaded while that entry is there

    del sys.modules["typing_extensions"]
