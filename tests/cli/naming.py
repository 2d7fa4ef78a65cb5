"""Calls that make something refer to the snapshot that is named after them."""

NAMING = [
    ("branch", "again"),
    ("tag", "again"),
    ("checkout",),
    ("checkout", "-b", "again"),
    ("restore", "--staged", "data", "--source"),
    ("merge",),
    ("worktree", "add", "../other"),
]
