"""The house rules that a parser can hold: which room imports which, and what no file does."""

from __future__ import annotations

import ast
from pathlib import Path

import measure
import pytest

import smaf

ROOT = Path(smaf.__file__).parent
ROOMS = {"core", "ops", "models", "data", "report", "engine"}
MAY_IMPORT = {
    "core": set(),
    "ops": {"core"},
    "models": {"core"},
    "data": {"core"},
    "report": {"core"},
    "engine": ROOMS,
}
FILES = sorted(ROOT.rglob("*.py"))


def imported(tree: ast.AST, folder: tuple[str, ...] = ()) -> set[str]:
    """Modules below smaf that a file names, wherever in it; `folder` is where a relative import
    starts from."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "smaf"}


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if "." in name and name.split(".")[1] in ROOMS}


def entries(names: set[str]) -> set[str]:
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__"}
    return {name.split(".")[1] for name in names if "." in name and name.split(".")[1] in modules}


def test_the_parser_sees_every_way_to_import() -> None:
    tree = ast.parse(
        "import smaf.ops.crf\nfrom smaf import data\nfrom ..engine import x\ndef f():\n"
        "    from smaf.models.build import y\n"
    )
    assert rooms(imported(tree, ("smaf", "core"))) == {"ops", "data", "engine", "models"}


def test_every_folder_of_code_is_a_room_or_lies_in_one() -> None:
    """A folder without `__init__.py` would be left out of the built package."""
    folders = {path.parent for path in FILES} - {ROOT}
    assert {folder.relative_to(ROOT).parts[0] for folder in folders} == ROOMS
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_go_one_way(room: str) -> None:
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] == room]
    assert files
    for path in files:
        names = imported(
            ast.parse(path.read_text(encoding="utf-8")),
            ("smaf", *path.relative_to(ROOT).parts[:-1]),
        )
        assert rooms(names) - {room} <= MAY_IMPORT[room], path
        assert not entries(names), f"{path} imports an entry script"


def test_nothing_unsafe_is_loaded() -> None:
    """No `weights_only=False`, no `torch.load` without it, no `allow_pickle=True` but in writing,
    no bare pickle."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            options = {
                word.arg: word.value.value
                for word in node.keywords
                if isinstance(word.value, ast.Constant)
            }
            place = f"{path}:{node.lineno}"
            assert options.get("weights_only") is not False, place
            if called in {"torch.load", "load"}:
                assert options.get("weights_only") is True, place
            if options.get("allow_pickle"):
                assert called in {"np.save", "numpy.save"}, place
            if called in {"np.load", "numpy.load"}:
                assert options.get("allow_pickle") is False, place
            assert called not in {"pickle.load", "pickle.loads", "eval", "exec", "os.system"}, place
            assert options.get("shell") is not True, place


def test_files_are_written_atomically() -> None:
    """Only core/files.py renames; nothing else in core, ops or models opens a file for writing."""
    for path in FILES:
        if (
            path.relative_to(ROOT).parts[0] not in {"core", "ops", "models"}
            or path.name == "files.py"
        ):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in {"write_text", "write_bytes"}, f"{path}:{node.lineno}"


def test_functions_and_wrappers_are_short() -> None:
    """Functions: at most 45 lines and 8 parameters; wrappers: 15 lines. See measure.py."""
    found, wrappers = measure.functions(), measure.wrapper_lines()
    assert len(found) > 500 and len(wrappers) == 11
    over = {function.name for function in found if function.over}
    over |= {name for name, lines in wrappers.items() if lines > measure.MOST_WRAPPER_LINES}
    assert sorted(over) == []


def test_docstrings_begin_with_one_line() -> None:
    """The first paragraph of a docstring below smaf is one line; the rest follows a blank line."""
    wrapped, seen = [], 0
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(
                node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
            ):
                continue
            text = ast.get_docstring(node) or ""
            seen += bool(text)
            if "\n" in text.split("\n\n")[0]:
                wrapped.append(f"{path}:{getattr(node, 'name', 'module')}")
    assert seen > 500
    assert wrapped == []


def test_lines_and_parameters_are_counted_as_written() -> None:
    first, method, inner = measure.measure(
        "@decorator\ndef first(a, /, b, *c, d, **e):\n    'Docs.'\n    return a\n"
        "class K:\n    def method(self, a):\n        if a:\n            def inner(self): ...\n",
        "x.py",
    )
    assert (first.name, first.lines, first.parameters) == ("x.py:first", 3, 5)
    assert (method.name, method.lines, method.parameters) == ("x.py:K.method", 3, 1)
    assert (inner.name, inner.lines, inner.parameters) == ("x.py:K.method.inner", 1, 1)
    assert not first.over
    assert measure.Measured("", 46, 0).over and measure.Measured("", 1, 9).over
