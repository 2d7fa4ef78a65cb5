"""What an erasure asks of a distant store follows from what is written anew, however much lies there."""

import pytest

from dvtool.testing import vast


@pytest.mark.parametrize("packs", [64, 1024, 4096])
def test_requests_and_bytes_do_not_grow_with_what_lies_there(tmp_path, packs):
    backend = vast.build(f"{tmp_path}/made", packs, snapshots=6)
    asked = vast.erase(backend, f"{tmp_path}/copies")
    assert asked.snapshots == 6
    assert len(backend.hollow) == packs
    assert asked.received < 4 * asked.rewritten + 3 * asked.metadata + 300_000, asked
    assert asked.sent < 2 * asked.rewritten + 3 * asked.metadata + 300_000, asked
    listing = 12 * (packs // vast.PAGE + 1)
    assert sum(asked.requests.values()) < 200 + 12 * asked.gone + listing, asked


def test_what_it_takes_is_printed(capsys):
    vast.main([64])
    heads, row = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in heads.split("|")][1:3] == ["stored", "requests"]
    assert "4 GiB" in row
