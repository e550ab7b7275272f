"""Where files may lie, how they are found, and how they are written.

A file is written under a temporary name first, then renamed.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import shutil
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from smaf.core.errors import InputError, MissingInputError

_PART = re.compile(
    r"\.(smaf-|.+\.)[0-9a-f]{8}\.part"
)  # temporary names; those of version 0.3 held the file's name
_SETTLED = 2.0  # seconds after which a folder's time of change tells every later change
# Encodings by the mark that spreadsheets and Windows' tools put first; the longer mark first
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def plain_name(name: str) -> str:
    """`name` in composed Unicode (NFC): a Mac writes `é` as two characters, most others as one."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def check_id(image_id: str, source: Path | str) -> str:
    """Return `image_id` in composed Unicode where it is a plain name.

    A path in it could leave the data set's folder.

    Raises :class:`InputError` for a path, a control character, or a name that the system's files
    cannot have.
    """
    unsafe = not image_id or image_id in {".", ".."} or any(c in image_id for c in "/\\")
    if unsafe:
        raise InputError(
            f"{source}: {image_id!r} is not an image id: ids are plain names without a path, "
            "such as 2007_000032"
        )
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in image_id):
        raise InputError(
            f"{source}: the name {image_id!r} has a control character, or bytes that are no UTF-8: "
            "rename the file"
        )
    if sys.platform == "win32" and re.search(r'[<>:"|?*]', image_id):
        raise InputError(
            f'{source}: the name {image_id!r} has one of < > : " | ? *, which files cannot have on '
            "Windows: rename it"
        )
    return plain_name(image_id)


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is hidden.

    A Mac leaves `._<name>` beside each file on a foreign disk.
    """
    return path.name.startswith(".")


def require_file(path: Path, what: str, fix: str) -> Path:
    """Return `path` where it is a file, else say which `what` is missing and how to mend it."""
    if not os.path.isfile(path):
        raise MissingInputError(f"{what} {path} does not exist: {fix}")
    return path


@lru_cache(maxsize=32)
def _listing(folder: str, _changed: int) -> Mapping[str, tuple[str, ...]]:
    """Composed stem → names of the folder's files that have it; hidden ones are left out."""
    found: dict[str, list[str]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file():
                found.setdefault(plain_name(os.path.splitext(entry.name)[0]), []).append(entry.name)
    return {stem: tuple(sorted(names)) for stem, names in found.items()}


def files_by_stem(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Stem in composed Unicode → names of the folder's files with that stem, hidden ones left out.

    The listing is kept while the folder does not change, so that looking up 100,000 files takes one
    reading.
    """
    try:
        changed = os.stat(folder).st_mtime_ns
    except OSError:
        return {}
    if not os.path.isdir(folder):
        return {}
    if (
        time.time() - changed / 1e9 < _SETTLED
    ):  # a file made in this very moment would not change the time again
        return _listing.__wrapped__(str(folder), changed)
    return _listing(str(folder), changed)


def find_all_by_stem(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the files `<stem><suffix>` of a folder, in the order of `suffixes`.

    `suffixes` are in lower case, the files' own in any.
    """
    place = {suffix: index for index, suffix in enumerate(suffixes)}
    names = [
        (place[suffix], name)
        for name in files_by_stem(folder).get(plain_name(stem), ())
        if (suffix := os.path.splitext(name)[1].lower()) in place
    ]
    return [folder / name for _, name in sorted(names)]


def find_by_stem(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The first of :func:`find_all_by_stem`, None where there is none."""
    return next(iter(find_all_by_stem(folder, stem, suffixes)), None)


@contextmanager
def atomic_path(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path`, to which it is renamed after the block.

    Where the block raises an error, `path` stays as it was. A reader sees the old file or the whole
    new one, whatever happens while it is written. `durable` brings the bytes to the disk before the
    rename, so that a power cut leaves one of the two, too.
    """
    temporary = path.with_name(f".smaf-{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable and os.name == "posix":  # the rename itself
            _flush(path.parent)
    except OSError as error:
        error.filename, error.filename2 = (
            str(path),
            None,
        )  # a full disk names no file, others the temporary one
        raise
    finally:
        with suppress(OSError):  # the folder cannot be written to: said above
            temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def drop_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed runs left in `folder`.

    Only who holds the folder for himself may call it.
    """
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _PART.fullmatch(entry.name)]:
            (folder / name).unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write `data` to `path`, whole or not at all; `durable` as in :func:`atomic_path`."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def link_or_copy(source: Path, path: Path) -> None:
    """Put the file `source` at `path`, too, whole or not at all.

    As a second name of the same file; as a copy where the system has no such links there.
    """
    with atomic_path(path) as temporary:
        try:
            os.link(os.path.realpath(source), temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all; `durable` as in :func:`atomic_path`."""
    write_bytes(path, text.encode("utf-8"), durable=durable)


def write_json(path: Path, value: Any, *, durable: bool = False, indent: int | None = 2) -> None:
    """Write `value` to `path` as JSON, indented or in one line, whole or not at all.

    Bytes of names that are no UTF-8 are escaped.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    write_text(
        path,
        re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text) + "\n",
        durable=durable,
    )


def read_text(path: Path, what: str, fix: str) -> str:
    """Read a text file: UTF-8, or UTF-16 and UTF-32 where its first bytes say so."""
    data = require_file(path, what, fix).read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} {path} is not a text file in UTF-8 ({error.reason} at byte {error.start}): "
            f"save it as UTF-8; {fix}"
        ) from error


def read_json(path: Path, what: str, fix: str) -> Any:
    """Read a JSON file; a missing or damaged one is an :class:`InputError` that names `fix`."""
    text = read_text(path, what, fix)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise InputError(f"{what} {path} is nested too deeply: {fix}") from error
    except ValueError as error:  # damaged, or a number of thousands of digits
        raise InputError(f"{what} {path} is not valid JSON ({error}): {fix}") from error


def read_lines(path: Path, what: str, fix: str) -> list[str]:
    """Read the non-empty lines of a text file, stripped."""
    return [
        line.strip() for line in re.split(r"\r\n?|\n", read_text(path, what, fix)) if line.strip()
    ]


def output_folder(path: Path) -> Path:
    """Make `path` and check that it can be written to, before work is spent."""
    probe = path / f".smaf-{uuid.uuid4().hex[:8]}.part"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"smaf")
    except OSError as error:
        raise InputError(
            f"output folder {path} is not writable ({error.strerror}): choose another one "
            "or mend its permissions"
        ) from error
    finally:
        with suppress(OSError):  # the folder does not exist, or is no folder: said above
            probe.unlink(missing_ok=True)
    return path
