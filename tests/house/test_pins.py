"""The pinned lists agree with each other and with what the project declares."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PIN = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+")


def pins(checkout, name):
    lines = (checkout / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert [line for line in pinned if not PIN.fullmatch(line)] == [], "a line that is not name==version"
    split = [line.split("==") for line in pinned]
    return {canonicalize_name(distribution): Version(version) for distribution, version in split}


def test_the_demonstration_uses_the_versions_that_are_tested(checkout):
    assert pins(checkout, "demo").items() <= pins(checkout, "test").items()


def test_the_fuzzer_is_pinned_and_brings_no_other_version_of_what_is_tested(checkout):
    fuzzer, tested = pins(checkout, "fuzz"), pins(checkout, "test")
    assert "atheris" in fuzzer
    assert {name: version for name, version in fuzzer.items() if tested.get(name, version) != version} == {}


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_pins_satisfy_what_the_project_declares(checkout, name):
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    chosen = pins(checkout, name)
    unmet = [str(line) for line in wanted if chosen[canonicalize_name(line.name)] not in line.specifier]
    assert unmet == []
