"""Stores elsewhere: which ones there are, what was seen of them, and what moves between them and the store here."""
