"""The fenced blocks of README.md and docs/*.md, and the commands in them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smaf import cli
from smaf.core.options import Options, plan_from

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
# What a block may be; bash and python are run
LANGUAGES = {"bash", "python", "text", "json"}
_FENCE = re.compile(r"^```(\S*)")
_MARK = re.compile(r"<!-- not run: (\S.*) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language and text, and why it is not run, if so."""

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a bash block: its words, and the settings that it finds."""

    words: list[str]
    settings: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return shlex.join(self.words)


def blocks_of(text: str, page: str) -> Iterator[Block]:
    """The blocks of a page's text, without directives such as {toctree}."""
    lines = text.splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if start is None:
            start = number
            continue
        language = (_FENCE.match(lines[start]) or fence)[1]
        before = next((above for above in reversed(lines[:start]) if above.strip()), "")
        mark = _MARK.fullmatch(before.strip())
        if not language.startswith("{"):
            body = "\n".join(lines[start + 1 : number]) + "\n"
            yield Block(page, start + 1, language, body, mark[1] if mark else None)
        start = None


def page_blocks(page: str) -> list[Block]:
    """The blocks of a page by its name."""
    return list(blocks_of((ROOT / page).read_text(encoding="utf-8"), page))


def commands_in(text: str) -> Iterator[Command]:
    """The commands of a bash block; `NAME=value` before one, and `export`, are its settings."""
    exported: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        reader = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        reader.whitespace_split, reader.commenters = True, "#"
        words: list[str] = []
        for word in [*reader, ";"]:
            if set(word) <= {";", "&", "|"}:
                command = _command(words, exported)
                if command.words:
                    yield command
                words = []
            else:
                words.append(word)


def _command(words: list[str], exported: dict[str, str]) -> Command:
    settings = {}
    if words[:1] == ["export"]:
        exported.update(word.split("=", 1) for word in words[1:])
        return Command([])
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, settings[name] = (*words[0].split("=", 1)[:1], words[0].split("=", 1)[1])
        words = words[1:]
    return Command(words, {**exported, **settings})


def module_of(command: str) -> Any:
    """The entry script of a command."""
    return importlib.import_module(cli.module_of(command))


def check_words(command: str, words: list[str]) -> None:
    """Read a command's words with its own parser, and check the values' ranges."""
    module = module_of(command)
    if hasattr(module, "COMMAND"):
        module.COMMAND.read(words)
        return
    args = module.build_parser().parse_args(words)
    for kind in vars(module).values():
        if isinstance(kind, type) and issubclass(kind, Options) and kind is not Options:
            try:
                plan_from(kind(), args)
            except AttributeError:  # options that this command does not have
                continue


def wrapped(script: str, words: list[str], settings: dict[str, str]) -> list[list[str]]:
    """The words after `-m` of each command that a wrapper runs, seen by a stand-in for Python."""
    with tempfile.TemporaryDirectory() as folder:
        stand_in, seen = Path(folder) / "python", Path(folder) / "seen"
        stand_in.write_text(f'#!/bin/sh\nprintf "%s\\t" "$@" >>{seen}\necho >>{seen}\n')
        stand_in.chmod(0o755)
        plain = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
        subprocess.run(
            ["bash", str(ROOT / script), *words],
            check=True,
            timeout=60,
            capture_output=True,
            env={**plain, "PYTHON": str(stand_in), **settings},
        )
        lines = seen.read_text().splitlines()
    return [line.rstrip("\t").split("\t")[1:] for line in lines]


def stages_of(command: Command) -> list[tuple[str, list[str]]]:
    """The commands of `smaf`, with their words, that a line of a block comes to; maybe none."""
    first, *rest = command.words
    if first == "smaf":
        return [(rest[0], rest[1:])]
    if first != "bash":
        return []
    script, words = rest[0], rest[1:]
    name = Path(script).stem
    assert (ROOT / script).is_file(), f"{command}: there is no {script}"
    if name == "demo":
        return [("demo", words)]
    if name in {"test", "check", "docs", "reproduce_voc12"}:
        return []
    found = []
    for module, *others in wrapped(script, words, command.settings):
        if module == "smaf.launch":
            module, others = f"smaf.{others[1]}", others[2:]
        found.append((module.removeprefix("smaf."), others))
    return found


def check_benchmark(words: list[str]) -> None:
    """Read the words of `python benchmarks/NAME.py …` with its own parser; nothing is run."""
    from argparse import ArgumentParser
    from unittest.mock import patch

    class Read(Exception):
        """The words could be read."""

    def stop(parser: ArgumentParser, argv: Any = None) -> None:
        whole(parser, argv)
        raise Read

    path, whole = ROOT / words[0], ArgumentParser.parse_args
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with (
        patch.object(sys, "path", [str(path.parent), *sys.path]),
        patch.dict(sys.modules, {path.stem: module}),
    ):
        spec.loader.exec_module(module)
        with patch.object(ArgumentParser, "parse_args", stop):
            try:
                module.main(words[1:])
            except Read:
                return
    raise AssertionError(f"{words[0]} read no words")
