"""Stores at a URL: S3, Google Cloud Storage, and whatever else fsspec has a file system for.

This package is the only door to fsspec, s3fs and gcsfs.  ``backend`` keeps the contract of a backend over a ``client``;
``s3``, ``gcs`` and ``plain`` are the three clients, and ``failures`` turns what they raise into errors of ours.
"""
