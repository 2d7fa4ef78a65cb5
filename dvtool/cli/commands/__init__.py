"""The commands, grouped so that each call loads little beyond what it needs."""
