"""Bytes by name: what a store stands on."""
