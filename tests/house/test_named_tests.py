"""Pages that name tests name tests that exist."""

import ast
import re

import pytest

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", ["docs/design/invariants.md", "docs/design/threat-model.md"])
def test_every_test_that_a_page_names_is_there(checkout, page):
    named = NAMED.findall((checkout / page).read_text(encoding="utf-8"))
    assert len(named) > 10
    missing = []
    for file, function in named:
        path = checkout / file
        if not path.is_file():
            missing.append(file)
        elif function:
            syntax = ast.parse(path.read_text(encoding="utf-8"))
            if function not in {node.name for node in ast.walk(syntax) if isinstance(node, ast.FunctionDef)}:
                missing.append(f"{file}::{function}")
    assert missing == []


def test_every_invariant_names_a_test(checkout):
    text = (checkout / "docs/design/invariants.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) >= 9
    assert [row for row in rows if not NAMED.search(row)] == []
