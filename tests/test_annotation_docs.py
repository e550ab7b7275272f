"""The commands on docs/annotation_tools.md are commands, and its table has every format."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from smaf import export, import_masks
from smaf.core.options import plan_from
from smaf.data.formats import FORMATS
from smaf.engine.exporting.exporting import ExportPlan
from smaf.engine.exporting.import_plan import ImportPlan

PAGE = Path(__file__).resolve().parents[1] / "docs" / "annotation_tools.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = re.findall(r"^smaf ((?:export|import) [^#\n]*)", TEXT, flags=re.MULTILINE)
LINES += re.findall(r"`smaf ((?:export|import) \S+ --[^`]*)`", TEXT)


@pytest.mark.parametrize("line", LINES)
def test_commands_are_understood(line: str) -> None:
    command, *words = shlex.split(line)
    if command == "export":
        args = export.build_parser().parse_args(words)
        plan_from(ExportPlan(), args).uncertain()
    else:
        plan_from(ImportPlan(), import_masks.build_parser().parse_args(words))


def test_every_format_is_named() -> None:
    assert len(LINES) >= 10
    named = re.findall(r"^\| `([a-z][a-z-]+)` \|", TEXT, flags=re.MULTILINE)
    assert named == list(FORMATS)
