"""What `smaf prepare` shares between VOC and COCO: names, lists, labels, and the summary."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import check_id, output_folder, write_text
from smaf.core.labels import read_image_labels, write_image_labels
from smaf.data.layout import LABEL_FILES, NAME_FILES

log = logging.getLogger("smaf")

LISTS = Path("ImageSets", "Segmentation")


@dataclass(frozen=True)
class Summary:
    """What a data set has after `smaf prepare`: images, images of each class, and what this run wrote."""

    images: int
    unlabelled: int
    per_class: Mapping[str, int]
    lists: Mapping[str, int]
    masks_written: int = 0
    masks_kept: int = 0

    @staticmethod
    def of(labels: Mapping[str, np.ndarray], names: Sequence[str], lists: Mapping[str, int], *,
           masks_written: int = 0, masks_kept: int = 0) -> Summary:
        """Count `labels`, image id → (C,)."""
        table = np.stack(list(labels.values())) > 0
        counts = {name: int(n) for name, n in zip(names, table.sum(axis=0), strict=True)}
        return Summary(len(labels), int((~table.any(axis=1)).sum()), counts, dict(lists), masks_written, masks_kept)

    def __str__(self) -> str:
        rarest = min(self.per_class, key=self.per_class.__getitem__)
        commonest = max(self.per_class, key=self.per_class.__getitem__)
        lines = [f"images with labels: {self.images} ({self.unlabelled} of them show no class)",
                 f"images a class: {self.per_class[rarest]} ({rarest}) to {self.per_class[commonest]} ({commonest})"]
        lines += [f"list written: {path}, {count} ids" for path, count in self.lists.items()]
        if self.masks_written or self.masks_kept:
            lines.append(f"masks: {self.masks_written} written, {self.masks_kept} were there")
        return "\n".join(lines)


def wants(path: Path, *, overwrite: bool) -> bool:
    """Whether `path` is to be written: it is not there, or `overwrite` says so. Its folder must be writable."""
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


def check_names(names: Sequence[str], source: Path) -> None:
    """A separator in a class name would split it in two where the CSV table is read."""
    unfit = [name for name in names if re.search(r"[;,|]", name)]
    if unfit:
        raise InputError(f"{source}: class name {unfit[0]!r} has one of ; , | in it, which separate names in label "
                         "tables: rename it")


def store_labels(path: Path, root: Path, names: Sequence[str], make: Callable[[], dict[str, np.ndarray]], *,
                 overwrite: bool) -> dict[str, np.ndarray]:
    """Write the labels that `make` returns to `path`, or read them where `path` is kept. Id → (C,) float32."""
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


def file_ids(folder: Path, suffixes: Sequence[str]) -> list[str]:
    """Sorted ids of the files with one of `suffixes`; hidden files (a Mac leaves `._<id>.jpg`) are left out."""
    if not folder.is_dir():
        return []
    return sorted({check_id(path.stem, folder) for path in folder.iterdir()
                   if path.suffix in suffixes and not path.name.startswith(".")})
