"""The record of a run: what was run, with which options, on what, and when."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
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
# Versions before 0.5 did not write which settings do not decide the result: these, and the list
FREE_BEFORE = (
    "num_workers",
    "device",
    "checkpoint_minutes",
    "val_every",
    "val_list",
    "val_long_side",
)
# What options stood for that earlier versions did not have: 0.8 the first, 0.11 the last
_ABSENT: Mapping[str, Any] = {
    "corrected": False,
    "sharpen": "none",
    f"{CONTENTS}--proposals": None,
    "attention_refine": False,
    "pool": "mean",
    "warmup": 0.0,
    "uncertain": "none",
    "save_maps": False,
    "threshold": None,
    "masks_by": "classifier",
    "saliency_weight": 0.0,
    "decoder": False,
}


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


def _today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as this version calls them.

    Before 0.5 some flags were recorded as `no_…`.
    """
    return dict(_ABSENT) | {
        key.removeprefix("no_"): not value if key.startswith("no_") else value
        for key, value in settings.items()
    }


class RunRecord:
    """`run.json` in an output folder: one entry a run, newest last.

    `settings` are the run's; those in `free` do not decide its result. A folder made with other
    settings is refused: a run goes on where it stopped, or starts afresh with `--overwrite`; the
    two never mix.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], *, free: Collection[str] = ()
    ) -> None:
        self.path = folder / RECORD
        self.settings = {key: _plain(value) for key, value in settings.items()}
        self.free = sorted(free)
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

    def check_same(self, *, but: Collection[str] = ()) -> None:
        """Raise :class:`InputError` where the folder was made with other settings.

        Those that are free, and those in `but`, may differ. A setting that one of the two does not
        have is not compared: another version of the project made the folder.
        """
        entry = self.previous()
        if entry is None:
            return
        before, passed_over = _today(entry["settings"]), {*self.free, *but}
        changed = [
            f"{key} changed"
            if key.startswith(CONTENTS)
            else f"{key} was {before[key]!r}, is {value!r}"
            for key, value in sorted(self.settings.items())
            if key in before and key not in passed_over and before[key] != value
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
            "free": self.free,
            "versions": versions,
            "git": _git_commit(),
            "machine": platform.platform(),
            **facts,
        }
        write_json(self.path, [*runs, entry], durable=True)
