"""Names and targets that somebody hostile would choose."""

from __future__ import annotations

from typing import Final

FORBIDDEN: Final = {
    "the directory above": "..",
    "this directory": ".",
    "nothing": "",
    "a path that climbs": "../../precious",
    "a path below": "a/b",
    "an absolute path": "/precious",
    "Git's directory": ".git",
    "Git's directory in capitals": ".GIT",
    "Git's directory in mixed case": ".Git",
    "Git's directory for Windows": "git~1",
    "Git's directory with a dot at its end": ".git.",
    "Git's directory with a space at its end": ".git ",
    "Git's directory with a character that HFS+ drops": ".g\u200cit",
    "Git's directory with such a character at its end": ".git\u200c",
    "Git's directory as a stream of NTFS": ".git::$INDEX_ALLOCATION",
    "a way out where a backslash separates names": "..\\precious",
    "dv's directory": ".dv",
    "dv's directory in mixed case": ".Dv",
    "dv's directory for Windows": "dv~1",
    "dv's settings": "dv.toml",
    "dv's lock in capitals": "DV.LOCK",
    "dv's settings for Windows": "dv~1.tom",
    "a file under construction": ".dv-partial-1-a-0123456789abcdef",
    "a name that no disk takes": "x" * 256,
}
"""Names that no directory may hold, by what is wrong with them."""

ODD: Final = {
    "names that differ in case": ("A", "a"),
    "names that differ in how Unicode writes them": ("e\u0301", "\u00e9"),
    "names of devices of Windows": ("CON", "NUL", "aux.txt"),
    "names with control characters": ("a\nb", "bell\a", "\x1b[31mred\x1b[0m", "\u202egnp.exe"),
    "names like options": ("--force", "-rf", "~root"),
}
"""Names that are data, whatever some other system makes of them."""

TARGETS: Final = (b"/etc/passwd", b"../../precious", b"..", b"missing", b".", b"/")
"""Where links may point: dv writes them and never follows them."""
