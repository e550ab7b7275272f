"""Lengths and parameters of functions: `python tests/measure.py` prints a table of them.

The limits are those that test_house.py holds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("smaf", "benchmarks", "script", "images")
MOST_LINES = 45  # of a function, from `def` to its end, docstring included
MOST_PARAMETERS = 8  # of a function, `self` and `cls` not counted
MOST_WRAPPER_LINES = 15
# the scripts that call one command; what they share lies in common.sh and venv.sh
WRAPPERS = [
    "saliency",
    "train_eps",
    "gen_fusion",
    "refine_fusion",
    "train_fusion",
    "gen_pm",
    "vote_regions",
    "train_seg",
    "test_seg",
    "demo",
    "test",
]

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Measured:
    """A function as `path:Class.name`, its length in lines and its number of parameters."""

    name: str
    lines: int
    parameters: int

    @property
    def over(self) -> bool:
        """Whether it is longer, or takes more, than the limits allow."""
        return self.lines > MOST_LINES or self.parameters > MOST_PARAMETERS


def _parameters(function: _Function, *, method: bool) -> int:
    found = function.args
    names = [arg.arg for arg in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
    if method and names and names[0] in {"self", "cls"}:
        names = names[1:]
    return len(names) + (found.vararg is not None) + (found.kwarg is not None)


def _measure(node: ast.AST, place: str, *, method: bool = False) -> Iterator[Measured]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function):
            lines = (child.end_lineno or child.lineno) - child.lineno + 1
            name = f"{place}{child.name}"
            yield Measured(name, lines, _parameters(child, method=method))
            yield from _measure(child, f"{name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _measure(child, f"{place}{child.name}.", method=True)
        else:
            yield from _measure(child, place, method=method)


def measure(source: str, path: str = "") -> list[Measured]:
    """Every function of a module's source, also those within classes and functions."""
    return list(_measure(ast.parse(source), f"{path}:"))


def functions() -> list[Measured]:
    """Every function of the package, the benchmarks and the scripts, by file."""
    return [
        found
        for place in PLACES
        for path in sorted((ROOT / place).rglob("*.py"))
        for found in measure(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    ]


def wrapper_lines() -> dict[str, int]:
    """Script → its number of lines, of those that call one command."""
    return {
        f"script/{name}.sh": len((ROOT / "script" / f"{name}.sh").read_text().splitlines())
        for name in WRAPPERS
    }


def main() -> None:
    """Print the figures, and what is over the limits."""
    found, wrappers = functions(), wrapper_lines()
    files = [path for place in PLACES for path in (ROOT / place).rglob("*.py")]
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in files]
    longest = max(found, key=lambda function: function.lines)
    widest = max(found, key=lambda function: function.parameters)
    wide = sum(function.parameters > MOST_PARAMETERS for function in found)
    long_wrappers = sum(lines > MOST_WRAPPER_LINES for lines in wrappers.values())
    figures = {
        "files": f"{len(files)}, {sum(n > 200 for n in lengths)} of them over 200 lines",
        "functions": f"{len(found)}",
        "longest": f"{longest.lines} lines, {longest.name}",
        "most parameters": f"{widest.parameters}, {widest.name}",
        f"over {MOST_LINES} lines": f"{sum(f.lines > MOST_LINES for f in found)}",
        f"over {MOST_PARAMETERS} parameters": f"{wide}",
        f"wrappers over {MOST_WRAPPER_LINES} lines": f"{long_wrappers} of {len(wrappers)}",
    }
    for name, value in figures.items():
        print(f"{name:24} {value}")
    for function in sorted((f for f in found if f.over), key=lambda f: (-f.lines, f.name)):
        print(f"{function.lines:5} lines {function.parameters:3} parameters  {function.name}")
    for name, lines in wrappers.items():
        if lines > MOST_WRAPPER_LINES:
            print(f"{lines:5} lines                 {name}")


if __name__ == "__main__":
    main()
