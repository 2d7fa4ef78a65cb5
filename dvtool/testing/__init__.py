"""Shipped fakes and the fault kit: disks that record or fail, schedules, damage, and a complete check of a store.

Nothing here needs a test framework, so other projects can hold their own backends to the same promises.
"""
