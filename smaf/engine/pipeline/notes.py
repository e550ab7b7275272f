"""What a run keeps of its own steps: what they gave, of what, and how long each took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError
from smaf.core.files import read_json, write_json

NOTES = "steps.json"
_FIX = "delete it and run the same command again"
_PARTS = ("results", "seconds", "paces")


class Notes:
    """The file `steps.json` in a run's folder.

    `results` holds what a step gave and the checksum of what it was made of, `seconds` how long a
    step took in all, `paces` what the rehearsal measured.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        value: Any = read_json(path, "notes", _FIX) if path.is_file() else {}
        if not isinstance(value, dict) or any(
            not isinstance(value.get(part, {}), dict) for part in _PARTS
        ):
            raise InputError(f"notes {path} are not those of a run: {_FIX}")
        self._parts: dict[str, dict[str, Any]] = {part: value.get(part, {}) for part in _PARTS}

    def result(self, key: str) -> dict[str, Any]:
        """What a step gave; nothing where it has not been done."""
        return dict(self._parts["results"].get(key, {}).get("gave", {}))

    def made_of(self, key: str) -> str | None:
        """The checksum of what a step's result was made of."""
        of: str | None = self._parts["results"].get(key, {}).get("of")
        return of

    def keep(self, key: str, of: str, gave: Mapping[str, Any]) -> None:
        """Write what a step gave."""
        self._parts["results"][key] = {"of": of, "gave": dict(gave)}
        self._write()

    @property
    def seconds(self) -> dict[str, float]:
        """Step → its seconds, over all calls of the run."""
        return dict(self._parts["seconds"])

    def took(self, key: str, seconds: float) -> None:
        """Add to a step's seconds."""
        before = self._parts["seconds"].get(key, 0.0)
        self._parts["seconds"][key] = round(before + seconds, 2)
        self._write()

    def paces(self, of: str) -> dict[str, Any]:
        """What a rehearsal of these settings measured; nothing where there was none."""
        kept = self._parts["paces"]
        return dict(kept["measured"]) if kept.get("of") == of else {}

    def keep_paces(self, of: str, measured: Mapping[str, Any]) -> None:
        """Write what a rehearsal measured."""
        self._parts["paces"] = {"of": of, "measured": dict(measured)}
        self._write()

    def _write(self) -> None:
        write_json(self.path, self._parts)
