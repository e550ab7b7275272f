"""The store of fused CAMs: one `<id>.npz` an image, labelled classes only, without pickle.

Values are kept to 1/1000 (error at most 5e-4) as differences between neighbours, whose high bytes
are nearly all zero: 3.4 % of the bytes of the published pickled float32 maps on 1,263 VOC
photographs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from os.path import splitext
from pathlib import Path

import numpy as np

from smaf.core.archives import StoredArray, open_arrays
from smaf.core.class_maps import ClassMaps
from smaf.core.errors import InputError
from smaf.core.fields import shown
from smaf.core.files import files_by_stem, find_by_stem, plain_name, require_file, write_bytes
from smaf.core.pickles import read_pickled_dict, write_pickled_dict

LEVELS = 1000
MAX_VALUES = 500_000_000  # of all maps of an image, where the photograph's size is not known
_SUFFIXES = (".npz", ".npy")
_ARRAYS = ("classes", "size", "low", "high")
_TOLERANCE = 1e-3  # of published maps
Shape = tuple[int, int]  # (H, W)
_FIX = "delete it and run stage 1 (gen_fusion) again"


def write_fused(path: Path, cams: ClassMaps, shape: Shape) -> None:
    """Write the maps of an image, class index → (H, W) float32 in [0, 1], to the `.npz` `path`.

    `shape` is (H, W), which the file holds also where `cams` is empty. Raises ValueError where the
    maps have another shape.
    """
    classes = np.array(sorted(cams), dtype=np.uint8)
    stack = (
        np.stack([cams[int(c)] for c in classes])
        if cams
        else np.zeros((0, *shape), dtype=np.float32)
    )
    if stack.shape[1:] != tuple(shape):
        raise ValueError(f"maps of {stack.shape[1:]} do not have the size {shape}")
    zigzag = np.zeros(stack.shape, dtype=np.uint16)
    for plane, code in zip(stack, zigzag, strict=True):  # one by one: photographs may be large
        levels = np.rint(np.clip(plane, 0.0, 1.0) * LEVELS).astype(np.int16)
        delta = np.diff(np.diff(levels, axis=0, prepend=np.int16(0)), axis=1, prepend=np.int16(0))
        code[:] = np.where(delta < 0, -2 * delta - 1, 2 * delta)  # |delta| is at most 4·LEVELS
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        classes=classes,
        size=np.array(shape, dtype=np.int32),
        low=(zigzag & 0xFF).astype(np.uint8),
        high=(zigzag >> 8).astype(np.uint8),
    )
    write_bytes(path, stream.getvalue())


def fused_path(folder: Path, image_id: str) -> Path:
    """Return the fused map of an image: `.npz`, or the published `.npy` where only that exists."""
    return find_by_stem(folder, image_id, _SUFFIXES) or folder / f"{image_id}.npz"


def fused_paths(folder: Path, ids: Sequence[str]) -> dict[str, Path]:
    """Id → :func:`fused_path`'s file, of the ids that have one; the folder is read once."""
    stems = files_by_stem(folder)
    names = ((i, {splitext(n)[1].lower(): n for n in stems.get(plain_name(i), ())}) for i in ids)
    return {
        image_id: folder / named[suffix]
        for image_id, named in names
        for suffix in _SUFFIXES[::-1]  # the later one, .npz, stays
        if suffix in named
    }


def stored_values(cams: Mapping[int, np.ndarray]) -> ClassMaps:
    """Return the maps as :func:`read_fused` gives them back: float32, rounded to 1/1000 in 0..1.

    Example:
        >>> stored_values({3: np.array([[0.12345, 1.5]], dtype=np.float32)})[3].tolist()
        [[0.123, 1.0]]
    """
    return {
        c: np.rint(np.clip(cam, 0.0, 1.0) * LEVELS).astype(np.float32) / np.float32(LEVELS)
        for c, cam in cams.items()
    }


def _shape_by_headers(
    path: Path, arrays: Mapping[str, StoredArray], expected: Shape | None, against: str = ""
) -> Shape:
    """Return (H, W) of an archive whose headers fit each other, before its planes are unpacked.

    `expected` is the (H, W) that it must have, where that is known.
    """
    classes, size = arrays["classes"], arrays["size"]
    if (
        len(classes.shape) != 1
        or size.shape != (2,)
        or {a.dtype.kind for a in (classes, size)} - {"u", "i"}
    ):
        raise InputError(
            f"fused map {path} has classes {classes.shape} {classes.dtype} and size {size.shape} "
            f"{size.dtype}, expected (n,) and (2,) integers: {_FIX}"
        )
    count = classes.shape[0]
    height, width = size.read().tolist()
    low, high, shape = arrays["low"], arrays["high"], (count, height, width)
    if low.shape != shape or high.shape != shape or low.dtype != np.uint8 or high.dtype != np.uint8:
        raise InputError(
            f"fused map {path} has planes of {low.shape} {low.dtype} and {high.shape} "
            f"{high.dtype}, expected {shape} uint8: {_FIX}"
        )
    _check_shape_is(expected, path, (height, width), against)
    if expected is None and count * height * width > MAX_VALUES:
        raise InputError(
            f"fused map {path} is {width}×{height} pixels for {count} classes, more than "
            f"{MAX_VALUES // 10**6} million values: {_FIX}"
        )
    return height, width


def _check_shape_is(expected: Shape | None, path: Path, shape: Shape, against: str) -> None:
    """Raise :class:`InputError` where `shape` is another (H, W) than the expected one, if known."""
    if expected is not None and shape != expected:
        raise InputError(
            f"fused map {path} is {shape[1]}×{shape[0]} pixels, {against} "
            f"{expected[1]}×{expected[0]}: make it again from the same photographs (gen_fusion "
            "--overwrite)"
        )


def _check_classes_of_task(path: Path, classes: Sequence[int], num_classes: int) -> None:
    """Raise :class:`InputError` for a class that the task lacks, and for one that comes twice."""
    outside = [c for c in classes if not 0 <= c < num_classes]
    if outside:
        raise InputError(
            f"fused map {path} has the classes {outside[:5]}, the task has {num_classes}: it was "
            "made with another class list; run stage 1 (gen_fusion) again with --overwrite"
        )
    if len(set(classes)) < len(classes):
        raise InputError(f"fused map {path} has a class twice: {_FIX}")


def _decode(path: Path, num_classes: int, expected: Shape | None, against: str) -> ClassMaps:
    """Read the maps of a `.npz`, whose headers are compared with the task before it is unpacked."""
    require_file(path, "fused map", "run stage 1 (gen_fusion) on this list")
    with open_arrays(path, _ARRAYS, "fused map", _FIX) as arrays:
        _shape_by_headers(path, arrays, expected, against)
        if arrays["classes"].shape[0] > num_classes:
            raise InputError(
                f"fused map {path} has {arrays['classes'].shape[0]} classes, the task has "
                f"{num_classes}: {_FIX}"
            )
        classes = arrays["classes"].read().tolist()
        _check_classes_of_task(path, classes, num_classes)
        low, high = arrays["low"].read(), arrays["high"].read()
    from smaf.core.fused_levels import decode_levels  # Numba takes a moment to load

    cams = {}
    for c, low_plane, high_plane in zip(classes, low, high, strict=True):
        cams[c] = np.empty(low_plane.shape, dtype=np.float32)
        if not decode_levels(low_plane, high_plane, cams[c], LEVELS):
            raise InputError(f"fused map {path} has values outside 0..1: {_FIX}")
    return cams


def read_fused(
    path: Path,
    *,
    num_classes: int,
    size: tuple[int, int] | None = None,
    against: str = "its photograph is",
) -> ClassMaps:
    """Read the maps of an image, class index → (H, W) float32 in [0, 1], from `.npz` or `.npy`.

    A `.npy` has the published format. `size` is the photograph's (width, height), or that of what
    `against` names; size and classes are compared before the maps are unpacked.

    Raises :class:`InputError` where the file is damaged (checksums are verified), has another size
    (or, where none is given, more than :data:`MAX_VALUES`), or names a class outside 0..C - 1.
    """
    expected = None if size is None else (size[1], size[0])
    if path.suffix == ".npy":
        return _read_published(path, num_classes, expected, against)
    return _decode(path, num_classes, expected, against)


def fused_shape(path: Path) -> Shape:
    """Return (H, W) of a stored `.npz` map, also where it holds no class."""
    require_file(path, "fused map", "run stage 1 (gen_fusion) on this list")
    with open_arrays(path, _ARRAYS, "fused map", _FIX) as arrays:
        return _shape_by_headers(path, arrays, None)


def _read_published(
    path: Path, num_classes: int, expected: Shape | None, against: str
) -> ClassMaps:
    """Read a published `cam_npy/<id>.npy`, a pickled dict of maps, without running its code."""
    planes = {}
    for key, value in read_pickled_dict(path, "fused map", _FIX).items():
        if not str(key).isdecimal() and not isinstance(key, int):
            raise InputError(
                f"fused map {path}, class {key!r}: expected a class index and an array: {_FIX}"
            )
        if not isinstance(value, np.ndarray) or value.ndim != 2:
            got = str(value.shape) if isinstance(value, np.ndarray) else shown(value)
            raise InputError(
                f"fused map {path}, class {key}: expected values (H, W), got {got}: {_FIX}"
            )
        if int(key) in planes:
            raise InputError(f"fused map {path} has the class {int(key)} twice: {_FIX}")
        planes[int(key)] = value
    if len({plane.shape for plane in planes.values()}) > 1:
        raise InputError(f"fused map {path} has planes of different sizes: {_FIX}")
    _check_classes_of_task(path, list(planes), num_classes)
    for plane in planes.values():
        _check_shape_is(expected, path, plane.shape, against)
        low, high = plane.min(initial=0), plane.max(initial=0)  # NaN where there is one
        if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):
            raise InputError(
                f"fused map {path} has values outside 0..1 ({low:g} to {high:g}): {_FIX}"
            )
    return {c: np.asarray(plane, dtype=np.float32) for c, plane in planes.items()}


def write_published(path: Path, cams: ClassMaps) -> None:
    """Write maps in the published format (`.npy`, pickled dict), for tools that expect it."""
    write_pickled_dict(path, {int(c): np.asarray(cam, dtype=np.float32) for c, cam in cams.items()})
