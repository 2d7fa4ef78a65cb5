"""Every dependency comes in by its door, and is declared where it is used.

import-linter reads import statements only. Doors that open late call importlib.import_module, and those calls
are read here; the doors themselves stand in pyproject.toml, once.
"""

import sys
import tomllib
from fnmatch import fnmatchcase

import pytest
from packaging.requirements import Requirement

# Wanted on many floors, so no single door is prescribed: msgspec builds the values themselves.
OPEN = ("msgspec",)

# The name to import, where it differs from the name to install.
IMPORTED_AS = {"pillow": "PIL", "scikit-learn": "sklearn"}

# Declared by s3fs and gcsfs, so that dvtool need not declare it beside them.
BROUGHT_ALONG = ("aiohttp", "fsspec")

# What is injected into other programs: a module there imports its neighbour, and the one that it stands in front of.
INJECTED = ("dv_trace", "sitecustomize")

# Modules that load dvtool's own parts by a name they compute.
COMPUTED = ("dvtool", "dvtool.cli.*")


@pytest.fixture(scope="module")
def project(checkout):
    return tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def doors(project):
    """{dependency: patterns of the modules that may import it}, as the contracts have it."""
    found = {}
    for contract in project["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "forbidden":
            [name] = contract["forbidden_modules"]
            allowed = [line.split(" -> ") for line in contract["ignore_imports"]]
            assert {imported for _, imported in allowed} == {name}, contract["id"]
            found[name] = [importer for importer, _ in allowed]
    return found


@pytest.fixture(scope="module")
def imports(modules):
    return [each for module in modules for each in module.imports()]


@pytest.fixture(scope="module")
def foreign(imports):
    """The imports that leave both dvtool and the standard library."""
    at_home = {"dvtool", "?", *INJECTED, *sys.stdlib_module_names}
    return [each for each in imports if each.top not in at_home and not each.name.startswith(".")]


def names_to_import(requirements):
    """The import names behind requirement lines; extras that name dvtool itself are left out."""
    names = [Requirement(line).name for line in requirements]
    return {IMPORTED_AS.get(name, name) for name in names if name != "dvtool"}


def test_every_dependency_comes_in_by_its_door(foreign, doors):
    astray = [
        str(each)
        for each in foreign
        if each.top not in OPEN and not any(fnmatchcase(each.importer, pattern) for pattern in doors.get(each.top, ()))
    ]
    assert astray == []


def test_every_dependency_is_declared(project, foreign):
    declared = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    used = {each.top for each in foreign}
    assert used - names_to_import(declared) - {*BROUGHT_ALONG} == set()


def test_every_hard_dependency_is_used(project, foreign):
    assert names_to_import(project["project"]["dependencies"]) - {each.top for each in foreign} == set()


def test_imports_are_absolute(imports):
    assert [str(each) for each in imports if each.name.startswith(".")] == []


def test_what_is_imported_can_be_read_in_the_source(imports):
    computed = [each for each in imports if each.name == "?"]
    assert [str(e) for e in computed if not any(fnmatchcase(e.importer, known) for known in COMPUTED)] == []
