"""Notes which files of a repository a Python process opens.

This file runs in other programs, on any Python from 3.8, where dvtool need not be installed; so it imports nothing but
what every Python has loaded already, and whatever goes wrong in it is no concern of the program.  It writes lines of
words with a tab between them, whose first one says what the others are: ``r`` (a file was opened to be read), ``w`` (to
be written), ``b`` (a library was loaded that reads files past this hook), ``p`` (the Python), ``s`` (a place on its
path), ``d`` (a setting that decides whether results can be had again).
"""

import os
import sys

BLIND = ("pyarrow", "polars", "duckdb", "h5py", "cv2", "netCDF4", "tables", "zarr", "lmdb", "rasterio", "soundfile")
"""Libraries that open files without Python."""
OWN = set()  # type: ignore[var-annotated]
"""Those of them that were loaded on dv's own behalf, unless one that reads through them was loaded as well."""


def begin(directory, roots):
    """Note from now on what is opened below ``roots`` (each ends with a slash); return a function that ends it."""
    blind = BLIND
    seen = set()
    told = set()
    written = set()
    state = {"pid": os.getpid(), "file": -1, "busy": False, "on": True}
    flags_of_writers = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    get_pid, get_cwd, write, fsdecode = os.getpid, os.getcwd, os.write, os.fsdecode
    normal, join = os.path.normpath, os.path.join

    def escaped(text):
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")

    def say(*words):
        pid = get_pid()
        if state["file"] < 0 or state["pid"] != pid:
            name = "%s/audit-%d-%s" % (directory, pid, os.urandom(4).hex())
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
            state["file"] = os.open(name, flags, 0o600)
            state["pid"] = pid
        line = "\t".join(map(escaped, words)) + "\n"
        write(state["file"], line.encode("utf-8", "surrogateescape"))

    def opened(path, mode, flags):
        if isinstance(path, int):
            return
        if isinstance(path, bytes):
            path = fsdecode(path)
        elif not isinstance(path, str):
            path = fsdecode(os.fspath(path))
        place = normal(path if path.startswith("/") else join(get_cwd(), path))
        for root in roots:
            if place.startswith(root):
                break
        else:
            return
        if isinstance(mode, str):
            writes = any(letter in mode for letter in "wax+")
        else:
            writes = bool((flags or 0) & flags_of_writers)
        if writes:
            if place not in written:
                written.add(place)
                say("w", place)
        elif place not in written and place not in told:
            told.add(place)
            say("r", place)

    def hook(event, arguments):
        if event == "open":
            path = arguments[0]
            try:
                if path in seen or state["busy"] or not state["on"]:
                    return
            except TypeError:
                return
            state["busy"] = True
            try:
                mode = arguments[1]
                opened(path, mode, arguments[2])
                # Reading it again would say nothing new; writing it later would.
                if not isinstance(path, int) and (mode is None or ("r" in mode and "+" not in mode)):
                    seen.add(path)
            except Exception:
                pass
            finally:
                state["busy"] = False
        elif event == "os.chdir":
            seen.clear()
        elif event == "import" and arguments[0] in blind and arguments[0] not in OWN:
            state["busy"] = True
            try:
                say("b", arguments[0])
            except Exception:
                pass
            finally:
                state["busy"] = False

    say(
        "p",
        sys.executable or "",
        sys.version.replace("\n", " "),
        sys.prefix,
        sys.base_prefix,
        sys.implementation.name,
        repr(tuple(sys.flags)),
    )
    for place in sys.path:
        if place:
            say("s", place)

    def leave():
        try:
            torch = sys.modules.get("torch")
            if torch is not None:
                version = getattr(torch, "version", None)
                say("d", "torch.cuda", str(getattr(version, "cuda", None)))
                say("d", "torch.deterministic", str(torch.are_deterministic_algorithms_enabled()))
                say("d", "torch.cudnn.benchmark", str(torch.backends.cudnn.benchmark))
                say("d", "torch.cudnn.deterministic", str(torch.backends.cudnn.deterministic))
                say("d", "torch.threads", str(torch.get_num_threads()))
            for name in blind:
                if name in sys.modules and (name not in OWN or "pandas" in sys.modules):
                    say("b", name)
        except Exception:
            pass

    try:
        import atexit

        atexit.register(leave)
    except Exception:
        pass
    sys.addaudithook(hook)

    def end():
        state["on"] = False

    return end
