"""Begins to note what a Python process opens, then makes way for the ``sitecustomize`` that it stands in front of.

``dv run`` puts the directory of this file in front of the path of the processes that it starts.
"""

import os
import sys


def _begin():
    directory = os.environ.get("DV_RUN")
    root = os.environ.get("DV_TRACE_ROOT")
    if directory and root and os.path.isdir(directory):
        import dv_trace

        dv_trace.begin(directory, (root,))


def _make_way():
    # Only this process does without the directory; its children find it in the environment as it did.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != here]
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        sys.modules["sitecustomize"] = own  # there is no other, and whoever imports this one wants to find it
        if getattr(error, "name", "") != "sitecustomize":
            raise


try:
    _begin()
except Exception:  # the program goes on as it would have without
    pass
_make_way()
