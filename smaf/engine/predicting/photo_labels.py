"""What the user says that photographs show: `--labels` of `smaf predict`."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError, MissingInputError, did_you_mean, printable
from smaf.core.files import plain_name
from smaf.core.labels import ImageLabels, read_image_labels
from smaf.core.names import find_class, is_background, split_names
from smaf.engine.predicting.result_files import Photograph

log = logging.getLogger("smaf")
_TABLES = (".csv", ".tsv", ".txt", ".npy", ".json", ".xlsx", ".xls", ".ods")


@dataclass(frozen=True)
class Labels:
    """This holds the labels that the user gives for the photographs.

    The labels are one set for all photographs (`common`) or a table by file stem (`table`);
    where neither is given, the scores decide.
    """

    common: frozenset[int] | None = None
    table: ImageLabels | None = None

    @staticmethod
    def read(text: str | None, class_names: Sequence[str]) -> Labels:
        """Read `--labels`: names separated by commas, or a file with the columns image and labels.

        Names that are no class of the weights are ignored, with one warning for all, if others are.
        """
        if text is None:
            return Labels()
        unknown: set[str] = set()
        names = [name for name in split_names(text, class_names) if not is_background(name)]
        found = [find_class(name, class_names) for name in names]
        common = frozenset(index for index in found if index is not None)
        if os.path.splitext(text)[1].lower() in _TABLES or (
            os.path.isfile(text) and (None in found or not found)
        ):
            labels = Labels(table=read_image_labels(Path(text), class_names, unknown=unknown))
        elif common:
            unknown.update(name for name, index in zip(names, found, strict=True) if index is None)
            labels = Labels(common=common)
        elif os.path.exists(text) or os.sep in text:
            what = "is no file" if os.path.exists(text) else "does not exist"
            raise MissingInputError(
                f"--labels {printable(text)} {what}: name a CSV file with the columns image and "
                "labels, or classes of the weights"
            )
        else:
            raise InputError(
                f"--labels {printable(text)}: none of these is a class of the weights"
                f"{did_you_mean(text, class_names)}, which have {', '.join(class_names)}"
            )
        if unknown:
            words = ", ".join(name + did_you_mean(name, class_names) for name in sorted(unknown))
            log.warning(
                "warning: --labels: %s ignored; the weights have %s", words, ", ".join(class_names)
            )
        return labels

    def check(self, photographs: Sequence[Photograph]) -> None:
        """Raise :class:`InputError` where the table does not give each photograph its own line.

        It may lack a photograph, or have one line that could mean either of two photographs.
        """
        if self.table is None:
            return
        missing = [p.path for p in photographs if plain_name(p.path.stem) not in self.table]
        if missing:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise InputError(
                f"--labels has no line for {printable(missing[0].name)}{more}: add one, leave the "
                "photograph out, or predict without --labels"
            )
        self.table.check(plain_name(p.path.stem) for p in photographs)
        stems: dict[str, Path] = {}
        for photograph in photographs:
            other = stems.setdefault(plain_name(photograph.path.stem), photograph.path)
            if other != photograph.path:
                raise InputError(
                    f"--labels has one line for {printable(other)} and "
                    f"{printable(photograph.path)}: rename one, or predict their folders one by "
                    "one, each with a table of its own"
                )

    def of(self, photograph: Path) -> list[int] | None:
        """Class indices that the photograph shows; None: the scores decide."""
        if self.common is not None:
            return sorted(self.common)
        if self.table is None:
            return None
        return [int(c) for c in np.flatnonzero(self.table[plain_name(photograph.stem)])]
