"""Notes which files of a repository a Python process opens.

This file runs in other programs, on any Python from 3.8, where dvtool need not be installed; so it imports nothing but
what every Python has loaded already, and whatever goes wrong in it is no concern of the program.  It writes lines of
words with a tab between them, whose first one says what the others are: ``r`` (a file was opened to be read), ``w`` (to
be written), ``b`` (a library was loaded that reads files past this hook), ``p`` (the Python), ``s`` (a place on its
path), ``d`` (a setting that decides whether results can be had again), ``o`` (a Python too old for this).
"""

import os
import sys
from _thread import get_ident

BLIND = ("pyarrow", "polars", "duckdb", "h5py", "cv2", "netCDF4", "tables", "zarr", "lmdb", "rasterio", "soundfile")
"""Libraries that open files without Python."""
OWN = set()  # type: ignore[var-annotated]
"""Those of them that were loaded on dv's own behalf, unless one that reads through them was loaded as well."""


KIND, LINK = 0o170000, 0o120000
"""Which bits of a mode say what kind of file it is, and which kind is a symbolic link."""
LIMIT = 200000
"""Paths that are remembered, so as not to be noted again; then all are forgotten."""


def _spread():
    """Return two functions: one that has a hook called from now on, and one that ends that.

    The interpreter never lets go of a hook, so it is handed one alone, and that one when it is first needed.
    """
    # Not names of this module, which are taken away from it when the interpreter ends.
    hooks = []  # type: ignore[var-annotated]
    is_in = False

    def spread(event, arguments):
        for hook in hooks:
            hook(event, arguments)

    def add(hook):
        nonlocal hooks, is_in
        hooks = [*hooks, hook]
        if not is_in:
            is_in = True
            sys.addaudithook(spread)

    def remove(hook):
        nonlocal hooks
        hooks = [each for each in hooks if each is not hook]

    return add, remove


add_hook, remove_hook = _spread()


def begin(directory, roots):
    """Note from now on what is opened below ``roots`` (each ends with a slash); return a function that ends it."""
    blind = BLIND
    seen = set()  # type: ignore[var-annotated]
    told = set()
    written = set()
    busy = set()
    real = {}  # type: ignore[var-annotated]
    owner, file, known, first, files, is_on = 0, -1, (0, 0), "", 0, True
    flags_of_writers = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    get_pid, get_cwd, write, fsdecode, fstat, close = os.getpid, os.getcwd, os.write, os.fsdecode, os.fstat, os.close
    normal, join, split, real_path, lstat = os.path.normpath, os.path.join, os.path.split, os.path.realpath, os.lstat
    tops = [(real_path(root) + "/", root) for root in roots]

    def escaped(text):
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")

    def is_own():
        """Return whether the file is still this one's: programs close descriptors by number, and open their own."""
        try:
            found = fstat(file)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == known

    def drop():
        nonlocal file
        old, is_still = file, file >= 0 and is_own()
        file = -1
        if is_still:
            close(old)

    def renew():
        """Open a file, the process's first or, where its descriptor was lost, one that goes on where that ended."""
        nonlocal owner, file, known, first, files
        pid = get_pid()
        drop()
        if owner != pid:
            owner, files = pid, 0
            first = "%s/audit-%d-%s" % (directory, pid, os.urandom(4).hex())
        name = first + (".%06d" % files if files else "")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        file = os.open(name, flags, 0o600)
        files += 1
        found = fstat(file)
        known = (found.st_dev, found.st_ino)

    def say(*words):
        if owner != get_pid() or not is_own():
            renew()
        line = "\t".join(map(escaped, words)) + "\n"
        write(file, line.encode("utf-8", "surrogateescape"))

    def inside(place):
        """Return a path below one of the roots, whatever links led to its directory; nothing for any other."""
        above, name = split(place)
        found = real.get(above)
        if found is None:
            if len(real) > LIMIT:
                real.clear()
            found = real[above] = real_path(above)
        for top, root in tops:
            if (found + "/").startswith(top):
                return root + (found + "/")[len(top) :] + name
        return ""

    def writes(mode, flags):
        if isinstance(mode, str):
            return "w" in mode or "a" in mode or "x" in mode or "+" in mode
        return bool((flags or 0) & flags_of_writers)

    def opened(path, is_written):
        """Note a file; return whether opening it once more in the same way would say nothing new."""
        if isinstance(path, int):
            return False
        path = fsdecode(path)
        whole = normal(path if path.startswith("/") else join(get_cwd(), path))
        place = inside(whole)
        target = ""
        if not is_written:
            # What is not there yet is not read; it may be made, and read, later.
            is_link = lstat(whole).st_mode & KIND == LINK
            target = inside(real_path(whole)) if is_link else ""
        for each in (place, target):
            if not each:
                continue
            if is_written:
                if each not in written:
                    written.add(each)
                    say("w", each)
            elif each not in written and each not in told:
                told.add(each)
                say("r", each)
        return True

    def noted(path, is_written):
        thread = get_ident()
        if thread in busy:
            return
        busy.add(thread)
        try:
            if opened(path, is_written) and not is_written:
                if len(seen) > LIMIT:
                    seen.clear()
                    told.clear()
                seen.add(path)
        finally:
            busy.discard(thread)

    def hook(event, arguments):
        try:
            if event == "open":
                path = arguments[0]
                if is_on:
                    is_written = writes(arguments[1], arguments[2])
                    if is_written or path not in seen:
                        noted(path, is_written)
            elif event == "os.chdir":
                seen.clear()
            elif event == "import" and is_on and arguments[0] in blind and arguments[0] not in OWN:
                say("b", arguments[0])
        except Exception:
            pass

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
                if name in sys.modules and (name not in OWN or ("pandas" in sys.modules and "pandas" not in OWN)):
                    say("b", name)
        except Exception:
            pass

    try:
        import atexit

        atexit.register(leave)
    except Exception:
        pass
    if hasattr(sys, "addaudithook"):
        add_hook(hook)
    else:
        say("o")

    def end():
        nonlocal is_on
        is_on = False
        remove_hook(hook)
        try:
            atexit.unregister(leave)
            if owner == get_pid():
                leave()
                drop()
        except Exception:
            pass

    return end
