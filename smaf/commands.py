"""Commands run in this process, as a user would type them: for the demo and the benchmarks."""

from __future__ import annotations

import importlib
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smaf.engine.outputs import CLASSIFIER


def words_of(options: Mapping[str, Any]) -> list[str]:
    """A command line of options by name; None leaves one out, True and False are its two flags.

    Example:
        >>> words_of({"steps": 3, "flip": False, "scales": (0.5, 1.0), "classes": None})
        ['--steps', '3', '--no_flip', '--scales', '0.5', '1.0']
    """
    words: list[str] = []
    for name, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no_{name}")
        elif isinstance(value, tuple | list):
            words += [f"--{name}", *map(str, value)]
        elif value is not None:
            words += [f"--{name}", str(value)]
    return words


class Commands:
    """Runs commands with shared options; each command takes those of them that it has.

    Args:
        shared: options by name, as in :func:`words_of`.
        show: print each command before it runs.

    `seconds` holds the time that each took, by the title that :meth:`run` is given.
    """

    def __init__(self, *, show: bool = False, **shared: Any) -> None:
        self.shared, self.show = shared, show
        self.seconds: dict[str, float] = {}

    def words(self, name: str, *first: str, **options: Any) -> list[str]:
        """The command line of a command: positional words, shared options, its own."""
        parser = importlib.import_module(f"smaf.{name}").build_parser()
        known = {action.dest for action in parser._actions}
        shared = {key: value for key, value in self.shared.items() if key in known}
        shared = {"recipe": shared.pop("recipe", None), **shared}  # later options win
        return [*first, *words_of({**shared, **options})]

    def run(self, name: str, *first: str, title: str = "", **options: Any) -> None:
        """Run a command; an error is raised as the command raises it."""
        words, started = self.words(name, *first, **options), time.monotonic()
        if self.show:
            print(f"\n$ smaf {name} {shlex.join(words)}", flush=True)
        importlib.import_module(f"smaf.{name}").main(words)
        self.seconds[title or name] = round(time.monotonic() - started, 1)


def classifier_in(folder: Path) -> Path:
    """The classifier that a training wrote to a folder."""
    return folder / CLASSIFIER
