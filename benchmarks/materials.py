"""A data set to measure on, in VOC layout, 20 classes: rendered, or with photographs from a folder.

Beside photographs, masks and saliency maps it has made-up fused maps, in this project's format
(`cams`) and the published one (`cams_published`), and made-up masks to evaluate (`predictions`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.classes import IGNORE, VOC_CLASSES
from smaf.core.errors import MissingInputError
from smaf.core.files import write_text
from smaf.core.fused_maps import write_fused, write_published
from smaf.core.images import write_mask
from smaf.core.labels import write_image_labels
from smaf.data.demo.demo_set import detect_saliency
from smaf.data.demo.scenes import render_scene

SIZE = (500, 375)  # most of PASCAL VOC's photographs
LIST = "all"
CAMS, CAMS_PUBLISHED, PREDICTIONS = "cams", "cams_published", "predictions"


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cell: int = 32) -> np.ndarray:
    """(H, W) float32 of about 0 to 1 that changes over `cell` pixels; `size` is (W, H)."""
    coarse = rng.random((size[1] // cell + 2, size[0] // cell + 2), dtype=np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))


def photographs_in(folder: Path) -> list[Path]:
    """The JPEG files of a folder, by name."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg"})
    if not found:
        raise MissingInputError(f"--photographs {folder}: there is no .jpg file in it")
    return found


def make_set(
    root: Path, *, count: int, size: tuple[int, int] = SIZE, photographs: Path | None = None
) -> str:
    """Write the data set to `root`; return what its photographs are, in words.

    Photographs of a folder keep their bytes; their masks and maps are the rendered scenes'.
    """
    paths = None if photographs is None else photographs_in(photographs)[:count]
    labels: dict[str, np.ndarray] = {}
    sizes = set()
    for index in range(count if paths is None else len(paths)):
        name = f"photo_{index:03d}"
        photo = root / "JPEGImages" / f"{name}.jpg"
        photo.parent.mkdir(parents=True, exist_ok=True)
        labels[name] = _write(root, name, index, size, None if paths is None else paths[index])
        with Image.open(photo) as image:
            sizes.add(image.size)
    write_text(root / f"ImageSets/Segmentation/{LIST}.txt", "".join(f"{i}\n" for i in labels))
    write_image_labels(root / "metadata/benchmark/image_labels.csv", labels, VOC_CLASSES)
    return f"{len(labels)} {'rendered' if paths is None else 'given'}, {_said(sorted(sizes))}"


def _said(sizes: Sequence[tuple[int, int]]) -> str:
    if len(sizes) > 3:
        return f"{len(sizes)} sizes from {min(map(min, sizes))} to {max(map(max, sizes))} pixels"
    return ", ".join(f"{w}×{h}" for w, h in sizes)


def _write(
    root: Path, name: str, index: int, size: tuple[int, int], source: Path | None
) -> np.ndarray:
    """Write the files of one photograph; return its (20,) label."""
    scene = render_scene(0, index, size=size)
    rng = np.random.default_rng((0, index))
    saliency = Image.fromarray(detect_saliency(scene, rng))
    mask = Image.fromarray(_voc_values(scene.mask, index))
    photo = root / "JPEGImages" / f"{name}.jpg"
    if source is None:
        Image.fromarray(scene.photo).save(photo, quality=92)
    else:
        shutil.copyfile(source, photo)
        with Image.open(source) as image:
            size = image.size
        saliency = saliency.resize(size, Image.Resampling.BILINEAR)
        mask = mask.resize(size, Image.Resampling.NEAREST)
    (root / "SALImages").mkdir(exist_ok=True)
    saliency.save(root / "SALImages" / f"{name}.png")
    values = np.asarray(mask)
    found = np.roll(values, (size[1] // 40, size[0] // 40), axis=(0, 1))
    write_mask(root / PREDICTIONS / f"{name}.png", found)
    write_mask(root / "SegmentationClass" / f"{name}.png", np.where(_edges(values), IGNORE, values))
    label = np.zeros(len(VOC_CLASSES), dtype=np.float32)
    label[np.unique(values[values > 0]) - 1] = 1.0
    _write_maps(root, name, label, size, rng)
    return label


def _voc_values(mask: np.ndarray, index: int) -> np.ndarray:
    """The scene's classes as classes of VOC, others in each scene."""
    moved = (mask.astype(np.int64) + 5 * index - 1) % len(VOC_CLASSES) + 1
    return np.where(mask == 0, 0, moved).astype(np.uint8)


def _edges(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the outlines, which VOC's true masks leave out."""
    near = [np.roll(mask, step, axis) != mask for step in (-2, 2) for axis in (0, 1)]
    return np.asarray(np.logical_or.reduce(near))


def _write_maps(
    root: Path, name: str, label: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> None:
    cams = {}
    for c in np.flatnonzero(label).tolist():
        plane = np.clip(smooth_noise(rng, size), 0.0, 1.0) ** 2
        cams[c] = (plane / (plane.max() + 1e-5)).astype(np.float32)
    write_fused(root / CAMS / f"{name}.npz", cams, (size[1], size[0]))
    write_published(root / CAMS_PUBLISHED / f"{name}.npy", cams)
