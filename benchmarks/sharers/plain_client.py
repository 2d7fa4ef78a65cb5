"""A plain client of S3: sends files as they are, and brings them back.

It is run by path, so that it imports nothing of the benchmark.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PIECE = 64 * 1024 * 1024


def cut(data: Path, pieces: Path) -> None:
    """Write the bytes of all files into files of 64 MiB."""
    gathered = bytearray()
    number = 0
    for path in sorted(path for path in data.rglob("*") if path.is_file()):
        gathered += path.read_bytes()
        while len(gathered) >= PIECE:
            (pieces / f"{number:06d}").write_bytes(gathered[:PIECE])
            del gathered[:PIECE]
            number += 1
    if gathered:
        (pieces / f"{number:06d}").write_bytes(gathered)


def client(endpoint: str, threads: int) -> Any:  # noqa: ANN401 - published without types
    """Connect; checksums beyond what every service takes are left out, as dv does."""
    import boto3  # noqa: PLC0415 - nobody waits for it who cuts
    from botocore.config import Config  # noqa: PLC0415 - as above

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            max_pool_connections=threads,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def upload(pieces: Path, bucket: str, threads: int, connected: Any) -> None:  # noqa: ANN401 - as above
    """Send each file by one request."""

    def send(path: Path) -> None:
        connected.put_object(Bucket=bucket, Key=path.name, Body=path.read_bytes())

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, sorted(pieces.iterdir())))


def download(to: Path, bucket: str, threads: int, connected: Any) -> None:  # noqa: ANN401 - as above
    """Bring each object by one request."""
    to.mkdir()

    def bring(key: str) -> None:
        (to / key).write_bytes(connected.get_object(Bucket=bucket, Key=key)["Body"].read())

    with ThreadPoolExecutor(threads) as pool:
        pages = connected.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        list(pool.map(bring, (each["Key"] for page in pages for each in page.get("Contents", ()))))


def main(what: str, *arguments: str) -> None:
    """Do one of them."""
    if what == "version":
        import boto3  # noqa: PLC0415 - as above

        print(f"boto3 {boto3.__version__}")
    elif what == "cut":
        cut(Path(arguments[0]), Path(arguments[1]))
    else:
        where, endpoint, bucket, threads = arguments
        act = {"upload": upload, "download": download}[what]
        act(Path(where), bucket, int(threads), client(endpoint, int(threads)))


if __name__ == "__main__":
    main(*sys.argv[1:])
