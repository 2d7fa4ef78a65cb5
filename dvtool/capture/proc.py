"""Reads the small files in which the kernel says what is going on (``proc(5)``)."""

from __future__ import annotations


def text(path: str) -> str:
    """Return what a file says; nothing where there is none, as on another kernel or of a process that has ended."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def lines(path: str) -> list[str]:
    """Return the lines of a file, as :func:`text` does."""
    return text(path).splitlines()
