"""Bytes to values and back, for everything that a store or a worktree keeps; pure, no I/O.

Each module that defines bytes on disk has its page in ``docs/format/``, its golden vectors and its tests.
"""
