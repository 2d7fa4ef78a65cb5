"""The page of results says what was measured, and nothing else."""

from benchmarks.page import page
from benchmarks.results import load


def test_the_page_is_made_from_the_results(checkout):
    results = sorted((checkout / "benchmarks" / "results").glob("*.json"))
    assert results, "no results: any page would do"
    records = [record for path in results for record in load(path)]
    assert (checkout / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page(records)


def test_results_name_no_place_of_the_machine_that_measured(checkout):
    for path in sorted((checkout / "benchmarks" / "results").glob("*.json")):
        for record in load(path):
            assert record.machine["commit of the benchmark"] not in {"", "unknown"}
            assert not record.machine["commit of the benchmark"].endswith("-dirty")
            assert " /" not in record.command
