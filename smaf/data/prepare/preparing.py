"""What `smaf prepare` shares between VOC and COCO: names, lists, labels, and the summary."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import check_id, is_hidden, output_folder, write_text
from smaf.core.labels import read_image_labels, write_image_labels
from smaf.data.layout import LABEL_FILES, NAME_FILES

log = logging.getLogger("smaf")

LISTS = Path("ImageSets", "Segmentation")


@dataclass(frozen=True)
class Summary:
    """What a data set has after `smaf prepare`, and what this run wrote.

    It counts the images, and the images of each class. `masks_missing` images have no mask since
    nothing says where their objects are.
    """

    images: int
    unlabelled: int
    per_class: Mapping[str, int]
    lists: Mapping[str, int]
    masks_written: int = 0
    masks_kept: int = 0
    masks_missing: int = 0

    @staticmethod
    def of(
        labels: Mapping[str, np.ndarray],
        names: Sequence[str],
        lists: Mapping[str, int],
        *,
        masks_written: int = 0,
        masks_kept: int = 0,
        masks_missing: int = 0,
    ) -> Summary:
        """Count `labels`, which are image id → (C,).

        Images that show no class are told: training takes all that they show for background.
        """
        table = np.stack(list(labels.values())) > 0
        counts = {name: int(n) for name, n in zip(names, table.sum(axis=0), strict=True)}
        empty = np.flatnonzero(~table.any(axis=1))
        if empty.size:
            log.info(
                "%d of %d images show no class, %s for one: training takes them for background",
                empty.size,
                len(table),
                list(labels)[int(empty[0])],
            )
        return Summary(
            len(labels), empty.size, counts, dict(lists), masks_written, masks_kept, masks_missing
        )

    def __str__(self) -> str:
        rarest = min(self.per_class, key=self.per_class.__getitem__)
        commonest = max(self.per_class, key=self.per_class.__getitem__)
        lines = [
            f"images with labels: {self.images} ({self.unlabelled} of them show no class)",
            f"images a class: {self.per_class[rarest]} ({rarest}) to {self.per_class[commonest]} "
            f"({commonest})",
        ]
        lines += [f"list written: {path}, {count} ids" for path, count in self.lists.items()]
        if self.masks_written or self.masks_kept:
            lines.append(f"masks: {self.masks_written} written, {self.masks_kept} were there")
        elif self.masks_missing:
            lines.append("masks: none, the annotations have boxes but no outlines")
        return "\n".join(lines)


def wants(path: Path, *, overwrite: bool) -> bool:
    """Whether `path` is to be written: it does not exist, or `overwrite` says so.

    Raises :class:`InputError` where its folder is not writable.
    """
    if path.exists() and not overwrite:
        log.info("kept %s (--overwrite makes it anew)", path)
        return False
    output_folder(path.parent)
    return True


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write text lines, whole or not at all."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_class_names(path: Path, names: Sequence[str]) -> None:
    """Write class names as the field's `labels.txt` has them: `0 background`, `1 aeroplane`, …"""
    write_lines(path, (f"{index} {name}" for index, name in enumerate(("background", *names))))


def find_name_file(root: Path) -> Path | None:
    """The class-name file that the commands take for `root`, None where there is none."""
    return next((path for pattern in NAME_FILES for path in sorted(root.glob(pattern))), None)


def store_labels(
    path: Path,
    root: Path,
    names: Sequence[str],
    make: Callable[[], dict[str, np.ndarray]],
    *,
    overwrite: bool,
) -> Mapping[str, np.ndarray]:
    """Write the labels that `make` returns to `path`, or read them where `path` is kept.

    Labels are image id → (C,) float32.
    """
    labels: Mapping[str, np.ndarray]
    if wants(path, overwrite=overwrite):
        labels = make()
        write_image_labels(path, labels, names)
    else:
        try:
            labels = read_image_labels(path, names)
        except InputError as error:
            raise InputError(f"{error}; or let --overwrite make it anew") from error
    taken = next((found for pattern in LABEL_FILES for found in sorted(root.glob(pattern))), None)
    if taken is None or taken.resolve() != path.resolve():
        log.info("commands take %s unless you name %s with --labels", taken or "no labels", path)
    return labels


def files_by_id(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return id → file of the files that have one of `suffixes`, sorted by id.

    `suffixes` are in lower case, the files' own in any. Hidden files are left out: a Mac leaves
    `._<id>.jpg`. Two files of one id are an :class:`InputError`.
    """
    found: dict[str, Path] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        path = folder / name
        if path.suffix.lower() in suffixes and not is_hidden(path) and path.is_file():
            other = found.setdefault(check_id(path.stem, folder), path)
            if other != path:
                raise InputError(
                    f"{other} and {path.name} have one id, {path.stem}: rename one of them, or "
                    "move it away"
                )
    return dict(sorted(found.items()))
