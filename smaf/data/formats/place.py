"""What is imported: a file, a folder or a ZIP archive, and the files in it."""

from __future__ import annotations

import os
import posixpath
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from smaf.core.archives import check_members
from smaf.core.errors import InputError, MissingInputError, printable
from smaf.core.files import read_json
from smaf.core.photo_folders import photo_folders

FIX = "export it from the tool again"
_MOST_BYTES = 1 << 30  # of a member of an archive


@dataclass(frozen=True)
class Place:
    """A file or folder that an annotation tool wrote; made by :meth:`at`."""

    path: Path

    @staticmethod
    def at(path: Path) -> Place:
        """The place at `path`; :class:`InputError` where there is none."""
        if not path.exists():
            raise MissingInputError(
                f"{printable(path)} does not exist: name the file or folder that the tool wrote"
            )
        return Place(path)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @property
    def suffix(self) -> str:
        """Of a file, in lower case; of a folder an empty text."""
        return "" if self.is_folder else self.path.suffix.lower()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The files in a folder or archive, sorted, with forward slashes; of a file none.

        Hidden files are left out.
        """
        if self.is_folder:
            found = [
                (below / name).relative_to(self.path).as_posix()
                for below, names in photo_folders(self.path)
                for name in names
                if not name.startswith(".")
            ]
            return tuple(sorted(found))
        if self.suffix != ".zip":
            return ()
        with self._archive() as archive:
            return tuple(sorted(n for n in archive.namelist() if not n.endswith("/")))

    def named(self, file: str) -> list[str]:
        """Those of :attr:`names` whose last part is `file`."""
        return [name for name in self.names if posixpath.basename(name) == file]

    def beside(self, name: str, other: str) -> str | None:
        """The file that the file `name` calls `other`, in its own folder; None: no such file.

        What lies outside of the place is never found.
        """
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), other))
        return found if found in self.names else None

    def file(self, name: str) -> Path:
        """The path of one of the :attr:`names` of a folder."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """The contents of one of the :attr:`names`; an archive's are read in memory alone."""
        if self.is_folder:
            return self.file(name).read_bytes()
        with self._archive() as archive:
            member = archive.getinfo(name)
            if member.file_size > _MOST_BYTES:
                raise InputError(f"{self}: {name} is larger than 1 GiB: {FIX}")
            try:
                return archive.read(member)
            except Exception as error:  # a damaged archive raises nearly anything
                raise InputError(
                    f"archive {self}: {name} cannot be read ({str(error)[:80]}): {FIX}"
                ) from error

    @cached_property
    def json(self) -> Any:
        """What a JSON file holds; of another place None. Damaged JSON is an error."""
        return read_json(self.path, "file", FIX) if self.suffix == ".json" else None

    def _archive(self) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(self.path)
            check_members(archive, compressed=True)
        except Exception as error:  # a damaged archive raises nearly anything
            raise InputError(
                f"archive {printable(self.path)} cannot be read ({str(error)[:200]}): {FIX}"
            ) from error
        return archive

    def __str__(self) -> str:
        return printable(os.fspath(self.path))
