"""Runs in the store: how they begin, how journals become runs, and what leads from one to another."""
