"""What is tested is the wheel that users install, built from the source that is in the checkout."""

import sysconfig
from importlib.metadata import entry_points, version
from pathlib import Path

import dvtool


def contents(top):
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.relative_to(top).match("_hooks/*")
    }


def test_dvtool_is_imported_from_the_installed_wheel():
    assert Path(dvtool.__file__).is_relative_to(sysconfig.get_path("purelib")), dvtool.__file__


def test_the_wheel_holds_the_package_as_it_is_in_the_checkout(checkout):
    installed, source = contents(Path(dvtool.__file__).parent), contents(checkout / "dvtool")
    assert sorted(installed) == sorted(source)
    assert [name for name in source if installed[name] != source[name]] == []


def test_the_package_tells_type_checkers_that_it_is_typed(checkout):
    assert (checkout / "dvtool" / "py.typed").is_file()


def test_the_package_knows_its_version():
    assert dvtool.__version__ == version("dvtool")


def test_dv_is_installed_as_a_command():
    [command] = entry_points(group="console_scripts", name="dv")
    assert callable(command.load())
