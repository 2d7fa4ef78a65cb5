"""The changelog can be read by people and trusted by a release."""

import re
import tomllib

import pytest

HEADING = re.compile(r"^## (?:Unreleased|(\d+\.\d+\.\d+)(?: \(\d{4}-\d{2}-\d{2}\))?)$")


@pytest.fixture(scope="module")
def lines(checkout):
    return (checkout / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()


def test_it_opens_with_its_name(lines):
    assert lines[0] == "# Changelog"


def test_headings_are_versions(lines):
    assert [line for line in lines if line.startswith("## ") and not HEADING.match(line)] == []


def test_versions_descend(lines):
    found = [match.group(1) for line in lines if (match := HEADING.match(line)) and match.group(1)]
    keys = [tuple(map(int, version.split("."))) for version in found]
    assert keys == sorted(set(keys), reverse=True)


def test_the_current_version_is_in_it(lines, checkout):
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any((match := HEADING.match(line)) and match.group(1) == project["version"] for line in lines)


def test_every_entry_is_made_of_sentences(lines):
    entries, current = [], None
    for line in [*lines, ""]:
        if line.startswith("- "):
            entries.append(current := [line[2:]])
        elif line.startswith("  ") and current is not None:
            current.append(line.strip())
        else:
            current = None
    texts = [" ".join(entry) for entry in entries]
    assert texts, "an empty changelog"
    assert [text for text in texts if not text.endswith(".")] == []
