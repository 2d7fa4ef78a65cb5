"""Shipped fakes and the fault kit: disks that record or fail, schedules, damage, and a complete check of a store.

``hostile`` builds stores that are sealed as they should be and hold what no dv would write; ``forging`` is what it is
made with, and ``decoders`` names everything that takes bytes (``docs/howto/test-with-hostile-stores.md``).

``conformance`` is what every backend promises, ``fake_s3`` and ``fake_gcs`` are servers on loopback that stand in for
clouds, and ``serving`` has them fail as networks do.

``attacker`` searches everything that is left of a repository for what was erased (``docs/howto/prove-an-erasure.md``):
``canary`` says what is looked for and in which disguises, ``loot`` opens everything with every key, and ``guessing``
tries what retained ids and numbers give away.

Nothing here needs a test framework, so other projects can hold their own backends to the same promises.
"""
