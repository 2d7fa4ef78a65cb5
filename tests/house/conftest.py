"""What the house tests look at: the checkout, and the modules in it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import: who imports what, in which line, and whether a function hides it."""

    importer: str
    name: str
    line: int
    hidden: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.name}"

    @property
    def top(self) -> str:
        """The package that is imported: the part before the first dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One module of the package, as it stands in the checkout."""

    name: str
    path: Path
    text: str
    syntax: ast.Module

    def __str__(self) -> str:
        return self.name

    def imports(self) -> Iterator[Import]:
        """Every import in the module: statements, and calls of import_module or __import__."""
        hidden = {
            id(node)
            for function in ast.walk(self.syntax)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        nodes = (node for node in ast.walk(self.syntax) if isinstance(node, ast.stmt | ast.expr))
        for node in nodes:
            for name in imported_by(node):
                yield Import(importer=self.name, name=name, line=node.lineno, hidden=id(node) in hidden)


def imported_by(node: ast.AST) -> list[str]:
    """The names that one node imports; "?" for a name that only the running program knows."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(level=level, module=module):
            return ["." * level + (module or "")]
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
            match node.args:
                case [ast.Constant(value=str(name)), *_]:
                    return [name]
            return ["?"]
    return []


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top of the source tree."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def modules(checkout: Path) -> list[Module]:
    """Every module of dvtool, sorted by path."""
    found = []
    for path in sorted((checkout / "dvtool").rglob("*.py")):
        parts = path.relative_to(checkout).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(name=name, path=path, text=text, syntax=ast.parse(text, str(path))))
    assert found, "no module found: the house tests would pass for want of anything to look at"
    return found
