"""What the tests of single modules share."""

import pytest

from dvtool.repo import Repo
from dvtool.worktree import ingest


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "repo"
    root.mkdir()
    return Repo.init(str(root))


@pytest.fixture
def parallel(monkeypatch):
    """Two processes read, however little there is."""
    monkeypatch.setenv("DV_WORKERS", "2")
    monkeypatch.setattr(ingest, "SHARED_COST", 1)
