"""Golden vectors for the tests of formats, and the strategies by which hostile bytes are made."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """A golden vector as it stands on the disk."""

    name: str
    inputs: dict[str, Any]
    value: Any
    data: bytes

    def input(self, name: str) -> bytes:
        """An input that is a byte string."""
        return bytes.fromhex(self.inputs[name])


def load(path: Path) -> Vector:
    """Read one vector by the path of its JSON."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    data = path.with_suffix(".bin").read_bytes()
    return Vector(name=path.stem, inputs=kept["inputs"], value=kept["value"], data=data)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `vector`, or `vector_2`, once with each golden vector of that version of its format."""
    name = Path(metafunc.module.__file__).stem.removeprefix("test_")
    for fixture, version in (("vector", "v1"), ("vector_2", "v2")):
        if fixture in metafunc.fixturenames:
            found = sorted((VECTORS / name / version).glob("*.json"))
            assert found, f"there are no golden vectors of {name}: the test would pass for want of any"
            metafunc.parametrize(fixture, [load(path) for path in found], ids=[path.stem for path in found])


@pytest.fixture(scope="session")
def golden() -> Callable[[str, str], Vector]:
    """Read a golden vector by format and name."""
    return lambda form, name: load(VECTORS / form / "v1" / f"{name}.json")


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    """The script that makes the vectors, as a module."""
    spec = importlib.util.spec_from_file_location("generate_vectors", VECTORS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def plain(generator: ModuleType) -> Callable[[object], Any]:
    """How a decoded value stands in a vector's JSON."""
    found: Callable[[object], Any] = generator.part("vector").plain
    return found


@pytest.fixture(scope="session")
def documents() -> st.SearchStrategy[bytes]:
    """Well-formed MessagePack of whatever shape: gets further into a decoder than noise does."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text(max_size=8)
        | st.binary(max_size=40)
        | st.sampled_from([bytes(16), bytes(32), bytes(64), "a\0b", ".git", "..", 0, 1, 2**63])
    )
    values = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=25,
    )
    return values.map(msgspec.msgpack.encode)


@pytest.fixture(scope="session")
def mutated() -> Callable[[bytes], st.SearchStrategy[bytes]]:
    """Bytes like the given ones, changed in one to four places."""

    def change(data: bytes, edit: tuple[int, int, bytes]) -> bytes:
        at, length, new = edit
        at %= len(data) + 1
        return data[:at] + new + data[at + length :]

    def strategy(data: bytes) -> st.SearchStrategy[bytes]:
        edits = st.tuples(st.integers(0, len(data)), st.integers(0, 8), st.binary(max_size=8))
        replaced = st.tuples(st.integers(0, len(data)), st.just(1), st.binary(min_size=1, max_size=1))

        def apply(all_edits: list[tuple[int, int, bytes]]) -> bytes:
            changed = data
            for edit in all_edits:
                changed = change(changed, edit)
            return changed

        return st.lists(edits | replaced, min_size=1, max_size=4).map(apply)

    return strategy
