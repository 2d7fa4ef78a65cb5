"""The page of results says what was measured, and nothing else."""

import importlib
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made():
    """The modules that keep results and make the page; they are not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(CHECKOUT)])
        yield importlib.import_module("benchmarks.page").page, importlib.import_module("benchmarks.results").load


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
