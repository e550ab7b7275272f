"""The record of a run: what was run, with which options, on what, and when."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import smaf
from smaf.core.errors import InputError
from smaf.core.files import read_json, write_json

RECORD = "run.json"
CONTENTS = "contents of "  # begins the names of settings that are checksums
_FIX = "delete the folder or use --overwrite"


def _git_commit() -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def checksum(value: Any) -> str:
    """`sha256:…` of bytes, or of what JSON makes of a value."""
    data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
    return "sha256:" + hashlib.sha256(data).hexdigest()


class RunRecord:
    """`run.json` in an output folder: one entry a run, newest last.

    `settings` are those that decide the result. A folder made with other settings is refused: a run
    goes on where it stopped, or starts afresh with `--overwrite`; the two never mix.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.path = folder / RECORD
        self.settings = {key: _plain(value) for key, value in settings.items()}
        self.started = time.time()

    def _runs(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        runs = read_json(self.path, "run record", _FIX)
        whole = isinstance(runs, list) and all(
            isinstance(run, dict) and isinstance(run.get("settings"), dict) for run in runs
        )
        if not whole:
            raise InputError(
                f"run record {self.path} is not a list of runs with their settings: {_FIX}"
            )
        return runs

    def previous(self) -> dict[str, Any] | None:
        """Return the last run's entry, None where there is none."""
        runs = self._runs()
        return runs[-1] if runs else None

    def check_same(self, *, free: tuple[str, ...] = ()) -> None:
        """Raise :class:`InputError` where the folder was made with other settings (those in `free`
        may differ).

        A setting that one of the two does not have is not compared: another version of the project
        made the folder.
        """
        entry = self.previous()
        if entry is None:
            return
        before = entry["settings"]
        changed = [
            f"{key} changed"
            if key.startswith(CONTENTS)
            else f"{key} was {before[key]!r}, is {value!r}"
            for key, value in sorted(self.settings.items())
            if key in before and key not in free and before[key] != value
        ]
        if changed:
            raise InputError(
                f"{self.path.parent} was made with other settings ({'; '.join(changed)}): use "
                "--overwrite to start afresh, or another output folder"
            )

    def write(self, *, finished: bool, **facts: Any) -> None:
        """Write this run's entry; called at the start and again at the end."""
        runs = [run for run in self._runs() if run.get("started") != self.started]
        versions = {
            "smaf": smaf.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        }
        entry = {
            "started": self.started,
            "seconds": round(time.time() - self.started, 1),
            "finished": finished,
            "command": sys.argv,
            "settings": self.settings,
            "versions": versions,
            "git": _git_commit(),
            "machine": platform.platform(),
            **facts,
        }
        write_json(self.path, [*runs, entry], durable=True)
