"""Trees, snapshots and what can be asked of them."""
