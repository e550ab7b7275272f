"""Run docs/first_steps.ipynb and keep its outputs, small: text, and pictures as JPEG.

`.venv/bin/python script/run_notebook.py`, in an environment with the tests' requirements.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smaf.core.files import write_text

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs/first_steps.ipynb"


def slim(notebook: Any) -> None:
    """Take progress bars, second versions of pictures, times and the kernel's version out."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        for output in cell.outputs:
            if "image/jpeg" in output.get("data", {}):
                output.data = {"image/jpeg": output.data["image/jpeg"]}


def main(path: Path = NOTEBOOK) -> None:
    """Run the notebook at `path` in a folder that is removed, and write it back."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=1800, kernel_name="python3", resources=resources).execute()
    slim(notebook)
    write_text(path, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
