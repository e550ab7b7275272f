"""The demo's photographs: rendered scenes with exact masks, as a plain folder or in VOC layout.

In VOC layout they have saliency maps, with the faults of a real detector's.
"""

from __future__ import annotations

import io
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.files import read_json, write_bytes, write_json, write_text
from smaf.core.images import write_mask
from smaf.core.labels import write_image_labels
from smaf.core.parallel import map_parallel
from smaf.data.demo.fields import Field, blur, noise, resize, step
from smaf.data.demo.scenes import CLASSES, render_scene
from smaf.data.demo.stage import Layer, Scene

MARKER, PHOTOGRAPHS_MARKER = "metadata/demo/made.json", "photographs.json"
MIN_SIDE = 64
_VERSION = 1  # raise it where the renderer's pictures change: sets of another version are made anew
# the first test scene, so that the test list is the same beside any number of training scenes
_TEST_FROM = 1_000_000
_CHUNK = 8  # scenes that a process renders at a time
_SMALL = 0.07  # objects below this share of the picture are often overlooked


def _contrast(photo: np.ndarray, background: Field) -> Field:
    """Return (H, W) distances of each pixel's colour from the mean colour of the background.

    `photo` is (H, W, 3) uint8; `background` is (H, W), 1 where a pixel belongs to it.
    """
    rgb = photo.astype(np.float32) / 255
    mean = (rgb * background[..., None]).sum(axis=(0, 1)) / max(float(background.sum()), 1.0)
    return np.linalg.norm(rgb - mean, axis=-1)


def _answer(layer: Layer, contrast: Field, rng: np.random.Generator) -> Field:
    """Return (H, W), what a saliency detector sees of one layer.

    It may miss parts and small objects, and take in shadow and clutter.
    """
    h, w = layer.visible.shape
    if not layer.label:
        taken = rng.uniform(0.7, 1.0) if rng.random() < 0.3 else rng.uniform(0.0, 0.3)
        return layer.visible * taken
    if rng.random() < (0.3 if layer.visible.mean() < _SMALL else 0.03):
        return layer.visible * rng.uniform(0.0, 0.2)
    missed = step(noise((h, w), rng, 0.3 * h, 2), rng.uniform(0.22, 0.65), 0.12)
    level = layer.evidence * np.clip(0.72 + 0.9 * contrast, 0, 1) * rng.uniform(0.9, 1.15)
    return np.maximum(
        layer.visible * level * (1 - 0.7 * missed), layer.shadow * rng.uniform(0.1, 0.8)
    )


def detect_saliency(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return an (H, W) uint8 saliency map of `scene`, as a trained detector might give it.

    It is soft, coarse and not quite right.
    """
    h, w = scene.mask.shape
    contrast = _contrast(scene.photo, (scene.mask == 0).astype(np.float32))
    answers = [_answer(layer, contrast, rng) for layer in scene.layers]
    seen = np.maximum.reduce(answers) + 0.06 * noise((h, w), rng, 0.25 * h)
    reduced = (h * 2 // 7, w * 2 // 7)  # detectors predict on a coarse grid
    coarse = blur(resize(seen, reduced, Image.Resampling.HAMMING), rng.uniform(0.7, 1.5))
    sharp = 1 / (
        1 + np.exp(-rng.uniform(8, 13) * (resize(coarse, (h, w)) - rng.uniform(0.4, 0.52)))
    )
    sharp += 0.04 * noise((h, w), rng, 0.1 * h) + rng.normal(0, 0.012, (h, w))
    return np.rint(np.clip(sharp, 0, 1) * 255).astype(np.uint8)


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    """The bytes of (H, W) or (H, W, 3) uint8 as a PNG, or as a JPEG of quality 92."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=kind, **({"quality": 92} if kind == "JPEG" else {}))
    return stream.getvalue()


def _label(scene: Scene) -> np.ndarray:
    """The (C,) float32 image-level label of a scene."""
    return (np.bincount(scene.mask.ravel(), minlength=len(CLASSES) + 1)[1:] > 0).astype(np.float32)


def _write_scene(
    root: Path, image_id: str, seed: int, index: int, size: tuple[int, int]
) -> np.ndarray:
    """Render scene `index` and write its three files; return its label."""
    scene = render_scene(seed, index, size=size)
    saliency = detect_saliency(scene, np.random.default_rng((seed, index, 1)))
    write_bytes(root / "JPEGImages" / f"{image_id}.jpg", _encode(scene.photo, "JPEG"))
    write_bytes(root / "SALImages" / f"{image_id}.png", _encode(saliency, "PNG"))
    write_mask(root / "SegmentationClass" / f"{image_id}.png", scene.mask)
    return _label(scene)


def _check_arguments(root: Path, train: int, test: int, size: tuple[int, int], seed: int) -> None:
    if not (0 < train <= _TEST_FROM and test > 0):
        raise InputError(
            f"demo set: {train} training and {test} test images asked for: each needs at least "
            f"one, and at most {_TEST_FROM} are for training"
        )
    if min(size) < MIN_SIDE or seed < 0:
        raise InputError(
            f"demo set: size {size[0]}×{size[1]} and seed {seed}: sides start at {MIN_SIDE}, seeds "
            "at 0"
        )
    if (root / "ImageSets").exists() and not (root / "metadata" / "demo").exists():
        raise InputError(f"{root} holds another data set: choose an empty folder for the demo set")


def _is_made(marker: Path, made: dict[str, Any]) -> bool:
    """Whether a marker says that a set of these arguments is complete."""
    fix = "delete the file and make the demo set again"
    return marker.is_file() and read_json(marker, "demo marker", fix) == made


def _write_photograph(
    index: int, *, folder: Path, size: tuple[int, int], seed: int
) -> tuple[str, np.ndarray]:
    """Render scene `index` and write its two files; return its photograph's name and label."""
    scene, name = render_scene(seed, index, size=size), f"scene_{index:04d}"
    write_bytes(folder / "photographs" / f"{name}.jpg", _encode(scene.photo, "JPEG"))
    write_mask(folder / "masks" / f"{name}.png", scene.mask)
    return f"{name}.jpg", _label(scene)


def render_photographs(
    folder: Path,
    *,
    count: int,
    size: tuple[int, int] = (256, 192),
    seed: int = 0,
    num_workers: int = 0,
) -> None:
    """Write scenes as somebody's photographs, unless these very ones are there.

    `folder` gets `photographs/` of JPEG files, `labels.csv`, and `masks/` of the same names, whose
    values are the classes in the order of the alphabet, from 1 on. `size` is (width, height).
    The same pictures come from any number of processes.
    """
    _check_arguments(folder, count, 1, size, seed)
    made = {"count": count, "size": list(size), "seed": seed, "version": _VERSION}
    marker = folder / PHOTOGRAPHS_MARKER
    if _is_made(marker, made):
        return
    if marker.is_file():  # what this function made, of other arguments
        marker.unlink()
        for below in ("photographs", "masks"):
            shutil.rmtree(folder / below, ignore_errors=True)
    render = partial(_write_photograph, folder=folder, size=size, seed=seed)
    labels = map_parallel(
        render, range(count), num_workers=num_workers, what="rendering", chunk=_CHUNK
    )
    write_image_labels(folder / "labels.csv", dict(labels), CLASSES)
    write_json(marker, made)


def render_demo_set(
    root: Path,
    *,
    train: int = 120,
    test: int = 40,
    size: tuple[int, int] = (256, 192),
    seed: int = 0,
) -> None:
    """Write the demo data set to `root` in VOC layout, unless this very set is complete there.

    `size` is (width, height). The lists are `train` and `test`; the same arguments give the same
    bytes. Raises :class:`InputError` for arguments out of range, and where `root` holds another
    data set.
    """
    root = Path(root)
    _check_arguments(root, train, test, size, seed)
    made = {"train": train, "test": test, "size": list(size), "seed": seed, "version": _VERSION}
    marker = root / MARKER
    if _is_made(marker, made):
        return
    marker.unlink(missing_ok=True)
    names = ["background", *CLASSES]
    write_text(
        root / "metadata" / "demo" / "labels.txt",
        "".join(f"{i} {name}\n" for i, name in enumerate(names)),
    )
    labels: dict[str, np.ndarray] = {}
    for name, count, first in (("train", train, 0), ("test", test, _TEST_FROM)):
        ids = [f"{name}_{i:04d}" for i in range(count)]
        for i, image_id in enumerate(ids):
            labels[image_id] = _write_scene(root, image_id, seed, first + i, size)
        write_text(
            root / "ImageSets" / "Segmentation" / f"{name}.txt",
            "".join(f"{image_id}\n" for image_id in ids),
        )
    write_image_labels(root / "metadata" / "demo" / "image_labels.csv", labels, CLASSES)
    write_json(marker, made)
