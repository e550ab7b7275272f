"""The notebook in docs/ runs from top to bottom; what is committed of its outputs is small."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs/first_steps.ipynb"
needs_kernel = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("nbclient", "ipykernel")),
    reason="needs nbclient and ipykernel",
)


@needs_kernel
@pytest.mark.slow
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where it writes
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    (masks,) = tmp_path.glob("*/run/masks")
    assert len(list(masks.glob("scene_*.png"))) == 20
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 4


def test_its_outputs_are_small_and_tell_no_folder() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 300_000
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", ()):
            said = json.dumps(output)
            assert "Traceback" not in said and not re.search("/(home|root|Users)/", said)


def test_outputs_are_slimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress bars go, and of a picture in two kinds the larger one; text stays."""
    monkeypatch.syspath_prepend(ROOT / "script")
    slim = importlib.import_module("run_notebook").slim
    code = _Item(
        cell_type="code",
        outputs=[
            _Item(name="stderr", text="5 %"),
            _Item(name="stdout", text="mask"),
            _Item(data={"image/png": "long", "image/jpeg": "short", "text/plain": "<Image>"}),
        ],
    )
    slim(_Item(cells=[_Item(cell_type="markdown"), code]))
    assert [dict(output) for output in code.outputs] == [
        {"name": "stdout", "text": "mask"},
        {"data": {"image/jpeg": "short"}},
    ]


class _Item(dict[str, Any]):
    """A dictionary whose keys are attributes, too, as nbformat's are."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]
