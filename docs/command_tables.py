"""The directive `{commands}`: the options of every command, read off their parsers."""

from __future__ import annotations

import argparse
import importlib
import re
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.autodoc.mock import mock
from sphinx.util.docutils import SphinxDirective

_SELF = "==SUPPRESS=="


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command's options."""
    module = importlib.import_module(importlib.import_module("smaf.cli").module_of(command))
    made: argparse.ArgumentParser = (
        module.COMMAND.parser() if hasattr(module, "COMMAND") else module.build_parser()
    )
    return made


def _plain(text: object) -> str:
    """Text for a cell of a table."""
    plain = str(text).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return re.sub(r"(?<![\w`-])--\w+", r"`\g<0>`", plain)


def _default(action: argparse.Action) -> str:
    value: Any = action.default
    if value is None or value == _SELF or action.required:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return f"`{value}`"


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
    choices = f" ({', '.join(f'`{c}`' for c in action.choices)})" if action.choices else ""
    return f"| {names} | {_default(action)} | {_plain(action.help or '')}{choices} |"


def table_of(command: str) -> list[str]:
    """The lines of a command's section, in Markdown: a table for each group of options."""
    parser = parser_of(command)
    lines = [f"## smaf {command}", "", _plain(parser.description or ""), ""]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.dest != "help"]
        if actions:
            title = (group.title or "").replace("positional arguments", "arguments")
            rows = [_row(action) for action in actions]
            lines += [f"| {title} | default | |", "| --- | --- | --- |", *rows, ""]
    return lines


class Commands(SphinxDirective):
    """Sections of all commands, in the order of `smaf --help`."""

    def run(self) -> list[nodes.Node]:
        """The sections as nodes."""
        with mock(self.config.autodoc_mock_imports):  # as docstrings are read
            commands = importlib.import_module("smaf.cli").COMMANDS
            lines = [line for command in commands for line in table_of(command)]
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, "commands"), 0, holder, match_titles=True)
        return holder.children


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
