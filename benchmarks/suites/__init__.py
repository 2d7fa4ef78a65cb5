"""The suites: which work is measured on which data."""
