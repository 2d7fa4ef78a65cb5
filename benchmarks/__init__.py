"""Wall-clock, size and memory comparisons of ``dv`` with the tools people use today.

Run ``python -m benchmarks --help``. Every operation is a whole process, started and waited for
like a shell would; nothing is measured from inside.
"""
