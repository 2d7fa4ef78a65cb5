"""A format lives in four rooms: its code, its page, its golden bytes and its tests; page and code agree."""

import ast
import importlib
import operator
import re

import pytest

# Modules of dvtool.formats that put no bytes on a disk, each with the reason why it has one room only.
ONE_ROOM: dict[str, str] = {
    "codec": "how values become MessagePack and back, for every format alike",
    "nodes": "where long sequences are cut, for the formats that have nodes",
}

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Pow: operator.pow}
OPERATORS[ast.LShift] = operator.lshift

CELLS = re.compile(r"(?<!\\)\|")
PUBLIC_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")


@pytest.fixture(scope="module")
def formats(checkout):
    """The names of the modules that describe bytes on a disk."""
    names = {path.stem for path in (checkout / "dvtool" / "formats").glob("*.py")} - {"__init__"}
    assert names, "dvtool.formats is empty: the rules below would hold for want of anything to look at"
    return sorted(names - set(ONE_ROOM))


def page(checkout, name):
    """A format's page; one that is missing says nothing, and is missed by the test of the rooms."""
    path = checkout / "docs" / "format" / f"{name}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def value(text):
    """What a value cell says: an integer, a simple sum such as 2**20, or a bytes literal."""

    def worth(node):
        if isinstance(node, ast.Constant) and type(node.value) in (int, bytes):
            return node.value
        if isinstance(node, ast.UnaryOp) and type(node.op) is ast.USub:
            return -worth(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](worth(node.left), worth(node.right))
        message = f"not an integer or bytes literal: {text}"
        raise ValueError(message)

    return worth(ast.parse(text.strip().strip("`"), mode="eval").body)


def documented(text):
    """{NAME: value} of the tables under the heading `## Constants`."""
    _, found, rest = text.partition("\n## Constants\n")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0] if found else ""
    constants, below_the_rule = {}, False
    for line in section.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in CELLS.split(line)[1:-1]]
        if not cells:
            below_the_rule = False
        elif all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            below_the_rule = True
        elif below_the_rule:
            name = cells[0].strip("`")
            assert name not in constants, f"{name} is listed twice"
            constants[name] = value(cells[1])
    return constants


def defined(checkout, name):
    """{NAME: value} of the public integers and bytes that the module itself defines, not those it imports."""
    module = importlib.import_module(f"dvtool.formats.{name}")
    syntax = ast.parse((checkout / "dvtool" / "formats" / f"{name}.py").read_text(encoding="utf-8"))
    targets = [
        target
        for node in syntax.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = [t.id for t in targets if isinstance(t, ast.Name) and PUBLIC_CONSTANT.fullmatch(t.id)]
    return {each: getattr(module, each) for each in names if type(getattr(module, each)) in (int, bytes)}


def test_every_format_has_its_four_rooms(checkout, formats):
    missing = []
    for name in formats:
        vectors = checkout / "tests" / "vectors" / name / "v1"
        rooms = {
            f"docs/format/{name}.md": (checkout / "docs" / "format" / f"{name}.md").is_file(),
            f"tests/formats/test_{name}.py": (checkout / "tests" / "formats" / f"test_{name}.py").is_file(),
            f"tests/vectors/{name}/v1/": vectors.is_dir() and any(vectors.iterdir()),
        }
        missing += [room for room, is_there in rooms.items() if not is_there]
    assert missing == []


def test_the_tables_in_the_pages_say_what_the_code_says(checkout, formats):
    apart = {}
    for name in formats:
        on_page, in_code = documented(page(checkout, name)), defined(checkout, name)
        if on_page != in_code:
            named = sorted({*on_page, *in_code})
            apart[name] = [
                f"{each}: the page says {on_page.get(each)!r}, the code {in_code.get(each)!r}"
                for each in named
                if on_page.get(each) != in_code.get(each)
            ]
    assert apart == {}


def test_no_page_has_constants_without_a_format(checkout, formats):
    others = {path.stem for path in (checkout / "docs" / "format").glob("*.md")} - set(formats)
    assert sorted(name for name in others if documented(page(checkout, name))) == []


def test_every_module_with_one_room_exists_and_says_why(checkout):
    for name, reason in ONE_ROOM.items():
        assert (checkout / "dvtool" / "formats" / f"{name}.py").is_file(), name
        assert reason.strip(), name


@pytest.mark.parametrize(
    ("text", "meant"),
    [("`12`", 12), ("`-1`", -1), ("0x10", 16), ("`2**20`", 1048576), ("`b'DVP1'`", b"DVP1"), ("64 * 1024", 65536)],
)
def test_values_are_read_as_they_are_written(text, meant):
    assert value(text) == meant


def test_only_tables_below_the_heading_count():
    table = "| name | value |\n|---|---|\n| `{}` | `1` |\n\n"
    text = f"# Page\n\n{table.format('A')}## Constants\n\n{table.format('B')}## More\n\n{table.format('C')}"
    assert documented(text) == {"B": 1}
