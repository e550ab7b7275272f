"""Files found by the names that label files give them: a path, a part of one, a name or a stem."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from smaf.core.files import plain_name
from smaf.core.images import IMAGE_SUFFIXES


def _key(name: str) -> str:
    return plain_name(name).casefold()


def _stem(name: str) -> str:
    """The name without the suffix of an image file: `img.v1` of `img.v1.jpg`, and of itself."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def path_parts(name: str) -> list[str]:
    """The folders and the name in a path or address, with slashes of either kind.

    Example:
        >>> path_parts(r"..\\data\\a.jpg"), path_parts("https://x.org/b%20c.jpg?size=2")
        (['data', 'a.jpg'], ['x.org', 'b c.jpg'])
    """
    if "://" in name:
        name = unquote(re.sub(r"[?#].*", "", name.split("://", 1)[1]))
    return [part for part in re.split(r"[/\\]", name) if part not in {"", ".", ".."}]


class FileIndex:
    """Looks up files, which are paths below one folder with forward slashes.

    A name means a file where one of the two paths is the end of the other: `a.jpg` and
    `raw/a.jpg` mean `summer/raw/a.jpg`, and so does `/home/me/summer/raw/a.jpg`; `b/a.jpg` does
    not. The suffix may be missing or another one, and the case may differ, where no file fits
    better.
    """

    def __init__(self, files: Iterable[str]) -> None:
        self._paths: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        for file in files:
            last = file.rsplit("/", 1)[-1]
            self._paths.setdefault(_key(file), []).append(file)
            self._names.setdefault(_key(last), []).append(file)
            self._stems.setdefault(_key(_stem(last)), []).append(file)

    def find(self, name: str, *, below: Sequence[str] = ()) -> list[str]:
        """The files that `name` may mean: none, one, or several that fit equally well.

        `below` are folders that the name may start from, the likeliest first.
        """
        parts = path_parts(name)
        if not parts:
            return []
        for folder in below:
            found = self._fitting([*path_parts(folder), *parts])
            if len(found) == 1:
                return found
        return self._fitting(parts)

    def _fitting(self, parts: Sequence[str]) -> list[str]:
        whole = self._paths.get(_key("/".join(parts)), [])
        if len(whole) == 1:  # nothing fits better; folders may hold thousands of one name
            return whole
        named = self._names.get(_key(parts[-1]), [])
        found = _best(parts, named, stems=False)
        return found or _best(parts, self._stems.get(_key(_stem(parts[-1])), []), stems=True)


def _best(parts: Sequence[str], files: Sequence[str], *, stems: bool) -> list[str]:
    """Of `files` those that agree with `parts` best: wholly, then by length, then in case."""
    scores: dict[str, tuple[bool, int, bool]] = {}
    for file in files:
        theirs, ours = file.split("/"), list(parts)
        if stems:
            theirs[-1], ours[-1] = _stem(theirs[-1]), _stem(ours[-1])
        shared = min(len(theirs), len(ours))
        if list(map(_key, theirs[-shared:])) == list(map(_key, ours[-shared:])):
            same_case = [*map(plain_name, theirs[-shared:])] == [*map(plain_name, ours[-shared:])]
            scores[file] = len(theirs) == len(ours), shared, same_case
    best = max(scores.values(), default=None)
    return [file for file, score in scores.items() if score == best]
