"""Opens and reads every file below a directory; prints how many there were.

It is run by path, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import os
import sys


def main(top: str) -> int:
    """Read all files in the order of their names."""
    count = 0
    for directory, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            with open(f"{directory}/{name}", "rb") as file:
                file.read()
            count += 1
    return count


if __name__ == "__main__":
    print(main(sys.argv[1]))
