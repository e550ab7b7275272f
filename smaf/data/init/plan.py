"""The options of `smaf init`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from smaf.core.classes import read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.names import check_names
from smaf.core.options import NOT_NEGATIVE, Options, Range, Role, option

SHARE = Range(lambda value: 0 <= value < 1, "a value from 0 to below 1")


@dataclass(frozen=True)
class InitPlan(Options):
    """What is made of a folder of photographs."""

    GROUP: ClassVar[str] = "data set"

    val_share: float = option(
        0.2,
        "share of the photographs kept for validation, split by their combinations of labels; 0: "
        "no list val; without effect where the labels come in files or folders train and val",
        within=SHARE,
    )
    seed: int = option(0, "seed of the split")
    classes: str | None = option(
        None,
        "classes to keep: cat,dog or a file of names; photographs of others then show none of the "
        "classes, their pixels in masks become 255 (ignored)",
    )
    class_names: str | None = option(
        None,
        "file of all class names, in the order of the masks' values (default: those in the labels, "
        "by the alphabet; COCO's by category id)",
    )
    masks: str | None = option(
        None,
        "folder of true masks, for scores and the background threshold: PNGs whose values are "
        "class numbers, with the photographs' paths or names",
    )
    min_side: int = option(32, "a photograph with a shorter side is tiny", within=NOT_NEGATIVE)
    strict: bool = option(
        False, "stop at any fault, also at those that are left out or kept", role=Role.RUN
    )
    overwrite: bool = option(
        False,
        "make a data set that `smaf init` made with other options anew; what else is in its "
        "folder stays",
        role=Role.RUN,
    )
    num_workers: int = option(
        min(4, os.cpu_count() or 1),
        "processes that read photographs; 0 or 1: none beside this one",
        within=NOT_NEGATIVE,
        role=Role.RUN,
    )

    def kept(self) -> tuple[tuple[str, ...], str] | None:
        """The classes to keep and where they are named; None: all."""
        if self.classes is None:
            return None
        path = Path(self.classes)
        if os.path.isfile(path):  # a list may be longer than any name of a file
            return read_class_names(path), str(path)
        if path.suffix.lower() in {".txt", ".csv", ".json", ".yaml", ".yml"}:
            raise MissingInputError(f"--classes {path} does not exist: name a file, or cat,dog")
        names = tuple(name.strip() for name in self.classes.split(",") if name.strip())
        if not names:
            raise InputError("--classes is empty: name classes, such as cat,dog, or a file")
        check_names(names, "--classes")
        return names, "--classes"

    def names(self) -> tuple[str, ...] | None:
        """All the classes as `class_names` has them; None: those in the labels."""
        return read_class_names(Path(self.class_names)) if self.class_names else None

    def decisive(self) -> dict[str, Any]:
        """The options that decide the data set, by name."""
        return {
            declared.name: declared.value
            for declared in self.options()
            if declared.about.role is not Role.RUN
        }
