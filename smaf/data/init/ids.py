"""Ids of photographs in nested folders: plain names that every reader takes as they are."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable

from smaf.core.files import plain_name
from smaf.core.images import IMAGE_SUFFIXES

MOST_BYTES = 200  # of an id; file systems take 255 for a name, and outputs add to it
# Not in ids: white space (VOC's lists have columns), what tables, globs and Windows' files take
# otherwise
_UNSAFE = re.compile(r"""[\s<>:"'|?*;,#%&$\[\]{}()`!\\]+""")


def make_ids(files: Iterable[str]) -> dict[str, str]:
    """File (a path with forward slashes) → id; no two ids differ in case alone.

    An id does not depend on the order of the files. Files whose ids would be the same get a few
    characters of their path's checksum.

    Example:
        >>> make_ids(["a/b c.JPG", "d.png"])
        {'a/b c.JPG': 'a__b_c', 'd.png': 'd'}
    """
    plain = {file: _plain(file) for file in files}
    times = Counter(name.casefold() for name in plain.values())
    ids = {
        file: name if times[name.casefold()] == 1 else f"{name}_{_digest(file, 8)}"
        for file, name in plain.items()
    }
    return (
        ids
        if len({name.casefold() for name in ids.values()}) == len(ids)
        else {file: f"{name}_{_digest(file, 16)}" for file, name in plain.items()}
    )


def _plain(file: str) -> str:
    stem, suffix = os.path.splitext(file)
    name = plain_name(stem if suffix.lower() in IMAGE_SUFFIXES else file).replace("/", "__")
    name = _UNSAFE.sub("_", name)
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in IMAGE_SUFFIXES:  # a.jpg.png: readers would take the suffix off
        name = f"{stem}_{suffix[1:]}"
    if len(name.encode()) > MOST_BYTES - 17:
        kept = name.encode()[: MOST_BYTES - 34].decode(errors="ignore")
        name = f"{kept}_{_digest(file, 16)}"
    return name


def _digest(file: str, characters: int) -> str:
    return hashlib.sha256(plain_name(file).encode("utf-8", "surrogateescape")).hexdigest()[
        :characters
    ]
