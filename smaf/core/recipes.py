"""Recipes: the options of each command by name, as text files that the package ships.

`smaf/recipes/<name>/<command>.args` holds options, one or more a line; what follows a # is a
comment. `--recipe <name>` takes them, `--recipe FOLDER` those of a folder of your own, `@FILE`
those of any file; later options win.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from smaf.core.errors import InputError, did_you_mean
from smaf.core.files import read_lines

FOLDER = Path(__file__).resolve().parents[1] / "recipes"


def recipe_names() -> tuple[str, ...]:
    """The recipes that the package ships.

    Example:
        >>> recipe_names()
        ('light', 'vit')
    """
    return tuple(sorted(path.name for path in FOLDER.iterdir() if any(path.glob("*.args"))))


def recipe_file(name: str, command: str) -> Path:
    """The file of a recipe for a command, which need not exist: then it has no say.

    `name` is one of :func:`recipe_names`, or a folder with such files. Raises :class:`InputError`
    where there is no such recipe.
    """
    if name in recipe_names():
        return FOLDER / name / f"{command}.args"
    if any(Path(name).glob("*.args")):
        return Path(name) / f"{command}.args"
    raise InputError(
        f"--recipe {name}: expected one of {', '.join(recipe_names())}"
        f"{did_you_mean(name, recipe_names())}, or a folder with <command>.args; @FILE reads a "
        "file of your own"
    )


def with_recipes(words: Sequence[str], command: str) -> list[str]:
    """A command line with the options of its recipes beside `--recipe NAME`, for `@FILE`."""
    return _expanded(words, command, ())


def _expanded(words: Sequence[str], command: str, within: tuple[Path, ...]) -> list[str]:
    result: list[str] = []
    for index, word in enumerate(words):
        if word.startswith("@"):  # a file
            result += _words_of(Path(word[1:]), command, within)
            continue
        result.append(word)
        name = word.removeprefix("--recipe=") if word.startswith("--recipe=") else None
        if index and words[index - 1] == "--recipe":
            name = word
        if name is not None and (path := recipe_file(name, command)).is_file():
            result += _words_of(path, command, within)
    return result


def _words_of(path: Path, command: str, within: tuple[Path, ...]) -> list[str]:
    if path in within:
        raise InputError(f"recipe {path} reads itself: take the line @{path} out of it")
    words: list[str] = []
    for line in read_lines(path, "recipe", "name a file of options after the @"):
        try:
            words += shlex.split(line, comments=True)
        except ValueError as error:
            raise InputError(
                f"recipe {path} has the line {line!r}, which cannot be read ({error}): close the "
                "quotes"
            ) from error
    return _expanded(words, command, (*within, path))
