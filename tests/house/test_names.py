"""Names that say something, modules that fit the mind, and nothing that ties the house to one machine."""

import ast
import re
import subprocess

import pytest

# Names that fit anything, and therefore end up holding everything.
EMPTY_NAMES = ("base", "common", "core", "helpers", "manager", "misc", "utils")

LONGEST_MODULE = 600  # lines; about 300 is what we aim at

# Doors: modules that load the package's own parts when they are first wanted.
DOORS = (
    "dvtool",
    "dvtool.cli",
    "dvtool.erasing",
    "dvtool.repo",
    "dvtool.shared",
    "dvtool.storage.opening",
    "dvtool.tracking",
)

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# Absolute paths below directories that mean something on one machine only; ~/... and relative paths are free.
MACHINE_PATH = re.compile(r"(?<![\w.~/:$)}-])/(?:home|root|Users|work|opt|private)/\w")

# Written in two parts, so that the rule does not find itself.
INDEX_ADDRESS = re.compile("index" + "[-_]url|find" + "[-_]links", re.IGNORECASE)


@pytest.fixture(scope="module")
def files(checkout):
    """(path, text) of every file that is under version control or about to be."""
    # The checkout may belong to another user, as it does in many build containers.
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    listed = subprocess.run(command, cwd=checkout, check=True, capture_output=True).stdout.decode()
    found = []
    for name in sorted(filter(None, listed.split("\0"))):
        path = checkout / name
        if path.is_file() and not path.is_symlink():
            found.append((name, path.read_bytes().decode("utf-8", errors="replace")))
    assert found, "no file listed: the rules below would hold for want of anything to look at"
    return found


def functions(module):
    return [node for node in ast.walk(module.syntax) if isinstance(node, FUNCTIONS)]


def is_door(name):
    return name in DOORS or name.startswith("dvtool.cli.")


def test_no_module_has_an_empty_name(modules):
    parts = {part: str(module) for module in modules for part in module.name.split(".")}
    assert {part: parts[part] for part in EMPTY_NAMES if part in parts} == {}


def test_no_module_is_too_long(modules):
    lengths = {str(module): len(module.text.splitlines()) for module in modules}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_nothing_is_passed_through_by_keyword(modules):
    passed = [
        f"{module}:{call.lineno} {function.name}"
        for module in modules
        for function in functions(module)
        if function.args.kwarg
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == function.args.kwarg.arg
    ]
    assert passed == []


def test_own_imports_are_hidden_in_functions_only_at_the_doors(modules):
    hidden = [each for module in modules for each in module.imports() if each.hidden and each.top == "dvtool"]
    assert [str(each) for each in hidden if not is_door(each.importer)] == []


def test_no_file_names_a_place_on_one_machine(files):
    outside = [(name, text) for name, text in files if not name.startswith("tests/") and name != ".gitignore"]
    found = [(name, match.group()) for name, text in outside for match in MACHINE_PATH.finditer(text)]
    assert found == []


def test_no_file_chooses_where_packages_come_from(files):
    assert [name for name, text in files if INDEX_ADDRESS.search(text)] == []
