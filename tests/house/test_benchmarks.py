"""The page of results says what was measured, and nothing else."""

import importlib
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def module():
    """Imports modules of the benchmark, which is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(CHECKOUT)])
        yield lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def made(module):
    """The functions that make the page and load results."""
    return module("page").page, module("results").load


def test_the_page_is_made_from_the_results(checkout, made):
    page, load = made
    results = sorted((checkout / "benchmarks" / "results").glob("*.json"))
    assert results, "no results: any page would do"
    records = [record for path in results for record in load(path)]
    assert (checkout / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page(records)


def test_results_name_no_place_of_the_machine_that_measured(checkout, made):
    _page, load = made
    for path in sorted((checkout / "benchmarks" / "results").glob("*.json")):
        for record in load(path):
            assert record.machine["commit of the benchmark"] not in {"", "unknown"}
            assert not record.machine["commit of the benchmark"].endswith("-dirty")
            assert " /" not in record.command


def test_what_a_service_counted_stands_beside_what_was_timed(module):
    results = module("results")
    record = results.Record(suite="remotes", command="python -m benchmarks", started="then")
    record.add("a case", results.PUSH, "dv", "s", 2.0)
    record.add("a case", results.requests_of(results.PUSH), "dv", results.REQUESTS, 1234)
    record.add("a case", results.sent_of(results.PUSH), "dv", "MiB", 64.5)
    record.add("a case", results.received_of(results.PUSH), "dv", "MiB", 0.5)
    record.add("a case", results.peak_of(results.PUSH), "dv", "MiB", 80.0)
    page = module("page").page([record])
    assert "| push, first | dv | 2.00 s | 2.00 s to 2.00 s | 1 | - | 1,234 | 64.5 MiB | 0.500 MiB |" in page
    assert "| push, first: peak memory | dv | 80.0 MiB | 80.0 MiB to 80.0 MiB | 1 | - | - | - | - |" in page
    assert "push, first: requests" not in page


def test_the_service_counts_what_the_plain_client_asks(module, tmp_path, monkeypatch):
    plain = module("sharers.plain_client")
    monkeypatch.setattr(plain, "PIECE", 10)
    for name, value in module("sharers.contract").ACCESS.items():
        monkeypatch.setenv(name, value)
    data, pieces, out = tmp_path / "data", tmp_path / "pieces", tmp_path / "out"
    data.mkdir()
    pieces.mkdir()
    for number in range(4):
        (data / str(number)).write_bytes(b"12345678")
    plain.cut(data, pieces)
    sizes = [path.stat().st_size for path in sorted(pieces.iterdir())]
    assert (sum(sizes), max(sizes)) == (32, 10)
    with module("bucket").served(tmp_path / "service") as service:
        place = service.fresh(["plain"])["plain"]
        service.taken()
        client = plain.client(place.endpoint, 2)
        plain.upload(pieces, place.bucket, 2, client)
        assert service.taken() == module("bucket").Traffic(requests=4, sent=32, received=0)
        plain.download(out, place.bucket, 2, client)
        found = service.taken()
        assert (found.requests, found.sent) == (5, 0)
        assert found.received > 32
        assert service.taken() == module("bucket").Traffic(requests=0, sent=0, received=0)
        client.close()
        assert service.fresh(["plain"])["plain"] != place
    assert [path.read_bytes() for path in sorted(out.iterdir())] == [b"1234567812", b"3456781234", b"5678123456", b"78"]
    assert not (tmp_path / "service").exists()


def test_short_times_are_judged_by_their_median(module):
    results, limits = module("results"), module("limits")
    record = results.Record(suite="runs", command="python -m benchmarks", started="then")
    for value in (10.0, 12.0, 90.0):
        record.add(limits.LOGGING, results.BY_ONE, "dv", "us", value)
    found = [one for one in limits.judge([record]) if one.measured != "-"]
    assert [(one.measured, one.required, one.outcome) for one in found if "peer" not in one.title] == [
        ("12.0 us", "under 20 us", "met")
    ]


def test_the_history_that_is_asked_holds_what_it_says(module, tmp_path, monkeypatch):
    import dvtool

    monkeypatch.setenv("DV_AUTHOR", "Bench Mark <bench@example.org>")
    tree = module("trees").Tree(files=20, size=64)
    tree.write(tmp_path / "data")
    repo = dvtool.init(str(tmp_path))
    repo.add(["data"])
    repo.commit("first")
    module("trackers.make_history").main(str(tmp_path), 12, 30)
    repo = dvtool.open(str(tmp_path))
    assert (len(list(repo.log())), len(repo.runs())) == (12, 30)
    everywhere, late = (repo.lineage(f"data/{tree.path(number)}", "down") for number in (0, 1))
    counts = [sum(node.type == "snapshot" for node in graph.nodes) for graph in (everywhere, late)]
    assert counts == [12, 10]
    assert repo.fsck(str(tmp_path)).clean


def test_what_is_erased_from_is_the_same_history_in_both(module, tmp_path, monkeypatch):
    import dvtool

    monkeypatch.setenv("DV_AUTHOR", "Bench Mark <bench@example.org>")
    history = module("suites.erase").History(tree=module("trees").Tree(files=40, size=64, changed=3), snapshots=24)
    slot = module("contenders.contract").Slot(tmp_path)
    slot.make()
    history.tree.write(slot.data)
    history.write_edits(tmp_path / "edits")
    repo = dvtool.init(str(slot.tree))
    repo.add(["data"])
    repo.commit("first")
    module("erasers.make_edits").main(str(slot.tree), str(tmp_path / "edits"))
    repo = dvtool.open(str(slot.tree))
    listed = [each.snapshot for each in repo.log()]
    assert len(listed) == 24
    stream = b"".join(module("erasers.filter_repo").stream((tmp_path / "edits").read_text().splitlines()))
    written = sum(data is not None for edits in history.edits() for data in edits.values())
    assert (stream.count(b"commit refs/heads/main\n"), stream.count(b"M 100644 inline ")) == (23, written)
    directory = history.brief.rpartition("/")[0]
    holding = [each for each in listed if any(found.path == history.brief for found in repo.ls(each, directory))]
    assert len(holding) == 6
