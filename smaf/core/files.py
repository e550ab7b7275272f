"""Where files may lie and how they are written: under a temporary name first, then renamed."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, MissingInputError


def check_id(image_id: str, source: Path | str) -> str:
    """Return `image_id` where it is a plain name; a path in it could leave the data set's folder."""
    unsafe = not image_id or image_id in {".", ".."} or any(c in image_id for c in "/\\\0:")
    if unsafe:
        raise InputError(f"{source}: {image_id!r} is not an image id: ids are plain names without a path, "
                         "such as 2007_000032")
    return image_id


def require_file(path: Path, what: str, fix: str) -> Path:
    """Return `path` where it is a file, else say which `what` is missing and how to mend it."""
    if not path.is_file():
        raise MissingInputError(f"{what} {path} does not exist: {fix}")
    return path


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends without an error.

    A reader sees the old file or the whole new one, whatever happens while it is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk says nothing of the file, others name the temporary one
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path, what: str, fix: str) -> Any:
    """Read a JSON file; a missing or damaged one is an :class:`InputError` that names `fix`."""
    require_file(path, what, fix)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{what} {path} is not valid JSON ({error}): {fix}") from error


def read_lines(path: Path, what: str, fix: str) -> list[str]:
    """Read the non-empty lines of a UTF-8 text file, stripped."""
    require_file(path, what, fix)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is not a text file ({error.reason}): {fix}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def output_folder(path: Path) -> Path:
    """Make `path` and check that it can be written to, before work is spent."""
    probe = path / f".{uuid.uuid4().hex[:8]}.probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"smaf")
    except OSError as error:
        raise InputError(f"output folder {path} is not writable ({error.strerror}): choose another one "
                         "or mend its permissions") from error
    finally:
        with suppress(OSError):  # the folder does not exist, or is no folder: said above
            probe.unlink(missing_ok=True)
    return path
