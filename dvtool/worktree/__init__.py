"""The user's files: finding the repository, scanning, reading them in, writing them out."""
