"""A data set in VOC layout: its lists, photographs, labels, masks and saliency maps.

```
ROOT/ImageSets/Segmentation/<list>.txt   ids, one a line (or as smaf/data/lists.py has it)
ROOT/JPEGImages/<id>.jpg                 photographs (or in COCO's train2014/ … val2017/)
ROOT/SALImages/<id>.png                  saliency maps, 0..255
ROOT/SegmentationClassAug/<id>.png       true masks, for evaluation (or SegmentationClass/)
ROOT/CorrectedMasks/<id>.png             masks that people corrected, in the true masks' values:
                                         for training (--corrected), never for evaluation
ROOT/metadata/<name>/labels.txt          class names
ROOT/metadata/<name>/cls_labels.npy      labels (or image_labels.csv; or ROOT/labels.csv)
```
Suffixes may be in upper case, and others: those of photographs and saliency maps are
IMAGE_SUFFIXES, those of masks MASK_SUFFIXES of core/images.py. Photographs and masks may lie
elsewhere: `ROOT/dataset.json` and `ROOT/files.csv`, which come before these folders, say where
(smaf/data/pointers.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from smaf.core.classes import VOC_CLASSES, ClassMap, read_class_names
from smaf.core.errors import InputError, MissingInputError
from smaf.core.image_files import Needed
from smaf.core.images import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    SALIENCY_SUFFIXES,
    find_image,
    find_images,
    read_image,
    read_mask,
    read_saliency,
)
from smaf.core.labels import ImageLabels, read_image_labels
from smaf.core.options import Options, option
from smaf.data.lists import read_ids
from smaf.data.pointers import FILES, Pointers, read_pointers

PHOTO_FOLDERS = ("JPEGImages", "train2014", "val2014", "train2017", "val2017")
# What messages say to do where saliency maps do not serve
WITHOUT_SALIENCY = "do without (train_eps --no_saliency; refine_fusion, gen_pm --saliency_weight 0)"
MASK_FOLDERS = ("SegmentationClassAug", "SegmentationClass")
CORRECTED_FOLDER = "CorrectedMasks"
LABEL_FILES = (
    "metadata/*/cls_labels.npy",
    "metadata/*/image_labels.csv",
    "metadata/cls_labels.npy",
    "metadata/image_labels.csv",
    "labels.csv",
)
NAME_FILES = ("metadata/*/labels.txt", "metadata/labels.txt")


def _first(root: Path, patterns: Sequence[str]) -> Path | None:
    return next((path for pattern in patterns for path in sorted(root.glob(pattern))), None)


def _named(root: Path, name: str | Path) -> Path:
    """A file that an option names: as it is, or below the data set's folder."""
    path = Path(name)
    return (
        path if path.exists() or path.is_absolute() or not (root / path).exists() else root / path
    )


@dataclass(frozen=True)
class DataRoot:
    """One data set and the classes that the task keeps of it; made by :func:`open_data`.

    `gained` are (id, class) pairs that image-level labels have beside those of their file, as
    corrected masks show them.
    """

    root: Path
    classes: ClassMap
    label_file: Path | None = None
    mask_folders: tuple[str, ...] = MASK_FOLDERS
    saliency_folder: str = "SALImages"
    gained: tuple[tuple[str, int], ...] = ()

    @property
    def num_classes(self) -> int:
        """Number of kept foreground classes, C."""
        return len(self.classes)

    def list_path(self, name: str | Path) -> Path:
        """Return the file of the list `name`.

        `name` lies below ImageSets/Segmentation, with or without .txt, or is a path to a file.
        """
        folder, given = self.root / "ImageSets" / "Segmentation", Path(name)
        if given.suffix.lower() == ".txt":
            places, default = (given, self.root / given, folder / given), given
        else:
            default = folder / f"{given}.txt"
            places = (default, given, self.root / given)
        return next((place for place in places if place.is_file()), default)

    def ids(self, name: str | Path) -> list[str]:
        """The ids of a list, in its order; see :func:`smaf.data.lists.read_ids`."""
        return read_ids(self.list_path(name))

    @cached_property
    def all_labels(self) -> ImageLabels:
        """Image-level labels of every image, over the kept classes: id → (C,) float32."""
        if self.label_file is None:
            raise MissingInputError(
                f"{self.root} has no image-level labels ({', '.join(LABEL_FILES)}): run "
                "`smaf prepare` on it, or name the file with --labels"
            )
        labels = read_image_labels(self.label_file, self.classes.source)
        kept = {image_id: self.classes.map_label(label) for image_id, label in labels.items()}
        for image_id, c in self.gained:
            kept[labels.key(image_id) or image_id][c] = 1.0
        return ImageLabels(kept, self.label_file)

    def labels_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the (N, C) float32 labels of `ids`; zeros where none of the classes is shown.

        Raises :class:`InputError` for an id that the label file does not have.
        """
        self.all_labels.check(ids)
        missing = [i for i in ids if i not in self.all_labels]
        if missing:
            raise InputError(
                f"image-label file {self.label_file} has no labels for {missing[0]}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: add them, or take "
                "the ids off the list"
            )
        return np.array([self.all_labels[i] for i in ids], dtype=np.float32).reshape(
            len(ids), self.num_classes
        )

    def shown(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that show a class; the others are background alone."""
        return [i for i, label in zip(ids, self.labels_of(ids), strict=True) if label.any()]

    def _salient(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that may need a saliency map: all but those that show no class."""
        labels = {} if self.label_file is None else self.all_labels
        return [i for i in ids if i not in labels or labels[i].any()]

    def require_labels(self, ids: Sequence[str]) -> None:
        """Raise :class:`InputError` where none of `ids`, a whole list, shows a class."""
        if not self.shown(ids):
            raise InputError(
                f"image-label file {self.label_file}: {ids[0]}"
                f"{f' and {len(ids) - 1} more' if len(ids) > 1 else ''} of the list show none of "
                f"the classes {', '.join(self.classes.names)}: name a list of which some do, the "
                "right labels (--labels), or keep more classes (--classes)"
            )

    def _places(self, what: str) -> tuple[list[Path], Sequence[str]]:
        """Return the folders where files of a kind lie, and these files' suffixes."""
        folders, suffixes = {
            "photograph": (PHOTO_FOLDERS, IMAGE_SUFFIXES),
            "mask": (self.mask_folders, MASK_SUFFIXES),
            "corrected mask": ((CORRECTED_FOLDER,), MASK_SUFFIXES),
            "saliency map": ((self.saliency_folder,), SALIENCY_SUFFIXES),
        }[what]
        return [self.root / folder for folder in folders], suffixes

    @cached_property
    def pointers(self) -> Pointers | None:
        """Where photographs and masks lie that are not in the data set; read once."""
        return read_pointers(self.root)

    def _pointers_of(self, what: str) -> Pointers | None:
        """What `files.csv` names; None where it does not, or another folder of masks was chosen."""
        chosen = what == "mask" and self.mask_folders != MASK_FOLDERS
        return None if chosen else self.pointers

    def _pointed(self, what: str, image_id: str) -> Path | None:
        pointers = self._pointers_of(what)
        return None if pointers is None else pointers.path(what, image_id)

    def _path(self, what: str, image_id: str) -> Path:
        pointed = self._pointed(what, image_id)
        if pointed is not None:
            return pointed
        folders, suffixes = self._places(what)
        return find_image(folders, image_id, suffixes=suffixes)

    def photo_path(self, image_id: str) -> Path:
        """Where the photograph lies (or would lie)."""
        return self._path("photograph", image_id)

    def photo(self, image_id: str, *, needed: Needed | None = None) -> Image.Image:
        """The photograph, 8-bit RGB, upright.

        `needed` as in :func:`smaf.core.images.read_image`.
        """
        return read_image(self.photo_path(image_id), needed=needed)

    def photo_size(self, image_id: str) -> tuple[int, int]:
        """The photograph's (width, height), upright."""
        sizes: list[tuple[int, int]] = []

        def note(size: tuple[int, int]) -> tuple[int, int]:
            sizes.append(size)
            return 1, 1  # a JPEG is then unpacked at an eighth

        self.photo(image_id, needed=note)
        return sizes[0]

    def mask_path(self, image_id: str) -> Path:
        """Where the true mask lies (or would lie)."""
        return self._path("mask", image_id)

    def mask(self, image_id: str, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """The true mask in the task's values, (H, W) uint8; for evaluation only."""
        path = self.mask_path(image_id)
        return self.classes.map_mask(read_mask(path, size=size), path)

    @property
    def corrected_folder(self) -> Path:
        """Where masks lie that people corrected."""
        return self.root / CORRECTED_FOLDER

    def corrected_ids(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that have a corrected mask, in their order."""
        without = set(self.missing("corrected mask", ids))
        return [i for i in ids if i not in without]

    def corrected_path(self, image_id: str) -> Path:
        """Where the corrected mask lies (or would lie)."""
        return self._path("corrected mask", image_id)

    def corrected(self, image_id: str, *, size: tuple[int, int] | None = None) -> np.ndarray:
        """The corrected mask in the task's values, (H, W) uint8; read as a true mask is."""
        path = self.corrected_path(image_id)
        return self.classes.map_mask(read_mask(path, size=size), path)

    def saliency_path(self, image_id: str) -> Path:
        """Where the saliency map lies (or would lie)."""
        return self._path("saliency map", image_id)

    def saliency(self, image_id: str, *, size: tuple[int, int] | None = None) -> Image.Image:
        """The saliency map, 8-bit greyscale."""
        return read_saliency(self.saliency_path(image_id), size=size)

    def missing(self, what: str, ids: Sequence[str]) -> list[str]:
        """Return the ids that have no file.

        `what` is "photograph", "mask", "corrected mask" or "saliency map".
        """
        folders, suffixes = self._places(what)
        pointers = self._pointers_of(what)
        there = {} if pointers is None else pointers.there(what, ids)
        found = find_images(folders, [i for i in ids if i not in there], suffixes=suffixes)
        return [i for i in ids if not there.get(i, i in found)]

    def require(
        self,
        ids: Sequence[str],
        *,
        labels: bool = False,
        saliency: bool = False,
        masks: bool = False,
    ) -> None:
        """Raise :class:`InputError` where a photograph, label, saliency map or mask is missing.

        Labels must show a class somewhere on the list. A photograph that shows none needs no
        saliency map.
        """
        if labels:
            self.require_labels(ids)
        fixes = {"photograph": "put it there or take its id off the list"}
        if saliency:
            fixes["saliency map"] = (
                f"run `smaf saliency --data_root {self.root}` on the same --list, or "
                + WITHOUT_SALIENCY
            )
        if masks:
            fixes["mask"] = fixes["photograph"]
        for what, fix in fixes.items():
            missing = self.missing(what, self._salient(ids) if what == "saliency map" else ids)
            if missing:
                more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
                if self._pointed(what, missing[0]) is not None:
                    fix = f"{self.root / FILES} names it: put it back, or run `smaf init` again"
                raise MissingInputError(
                    f"{what} {self._path(what, missing[0])}{more} does not exist: {fix}"
                )


def open_data(
    root: str | Path,
    *,
    classes: str | Path | None = None,
    class_names: str | Path | None = None,
    labels: str | Path | None = None,
    mask_folder: str | None = None,
) -> DataRoot:
    """Open a data set in VOC layout.

    `classes` is a file of class names to keep (a subset); `class_names` the file of the data set's
    own names (default: `metadata/*/labels.txt`, else PASCAL VOC's 20); `labels` the image-level
    labels. Each may be a path, or a path below `root`.
    """
    root = Path(root)
    if not root.is_dir():
        raise MissingInputError(f"data set {root} does not exist: name its folder (--data_root)")
    name_file = _named(root, class_names) if class_names else _first(root, NAME_FILES)
    names = read_class_names(name_file) if name_file else VOC_CLASSES
    keep_file = _named(root, classes) if classes else None
    kept = ClassMap.of(
        names, read_class_names(keep_file) if keep_file else None, keep_file=keep_file or ""
    )
    label_file = _named(root, labels) if labels else _first(root, LABEL_FILES)
    folders = (mask_folder,) if mask_folder else MASK_FOLDERS
    return DataRoot(root, kept, label_file, folders)


@dataclass(frozen=True)
class DataOptions(Options):
    """Which data set, and which of its classes."""

    GROUP: ClassVar[str] = "data set"

    data_root: str = option("dataset/VOC2012", "data set in VOC layout")
    class_names: str | None = option(
        None,
        "file of the data set's class names, instead of metadata/*/labels.txt, else PASCAL VOC's",
    )
    classes: str | None = option(
        None, "file of class names to keep; other labels are dropped, their pixels ignored"
    )
    labels: str | None = option(
        None,
        "image-level labels (.npy or .csv), instead of metadata/*/cls_labels.npy, image_labels.csv "
        "or labels.csv",
    )

    def open(self, *, mask_folder: str | None = None) -> DataRoot:
        """Open the data set; `mask_folder` as in :func:`open_data`."""
        return open_data(
            self.data_root,
            classes=self.classes,
            class_names=self.class_names,
            labels=self.labels,
            mask_folder=mask_folder,
        )
