"""The store of fused CAMs: one `<id>.npz` an image, labelled classes only, without pickle.

Values are kept to 1/1000 (error at most 5e-4) as differences between neighbours, whose high bytes are nearly
all zero: 3.4 % of the bytes of the published pickled float32 maps on 1,263 VOC photographs.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from smaf.core.errors import InputError
from smaf.core.files import require_file, write_bytes
from smaf.core.pickles import read_pickled_dict, write_pickled_dict

LEVELS = 1000
_FIX = "delete it and run stage 1 (gen_fusion) again"


def write_fused(path: Path, cams: dict[int, np.ndarray], size: tuple[int, int]) -> None:
    """Write `{class index: (H, W) float32 in [0, 1]}` to `path`; `size` is (H, W), needed where `cams` is empty."""
    classes = np.array(sorted(cams), dtype=np.uint8)
    stack = np.stack([cams[int(c)] for c in classes]) if cams else np.zeros((0, *size), dtype=np.float32)
    if stack.shape[1:] != tuple(size):
        raise ValueError(f"maps of {stack.shape[1:]} do not have the size {size}")
    zigzag = np.zeros(stack.shape, dtype=np.uint16)
    for plane, code in zip(stack, zigzag, strict=True):  # one by one: photographs may be large
        levels = np.rint(np.clip(plane, 0.0, 1.0) * LEVELS).astype(np.int16)
        delta = np.diff(np.diff(levels, axis=0, prepend=np.int16(0)), axis=1, prepend=np.int16(0))
        code[:] = np.where(delta < 0, -2 * delta - 1, 2 * delta)  # |delta| is at most 4·LEVELS
    stream = io.BytesIO()
    np.savez_compressed(stream, classes=classes, size=np.array(size, dtype=np.int32),
                        low=(zigzag & 0xFF).astype(np.uint8), high=(zigzag >> 8).astype(np.uint8))
    write_bytes(path, stream.getvalue())


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    require_file(path, "fused map", "run stage 1 (gen_fusion) on this list")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("classes", "size", "low", "high")}
    except Exception as error:  # a damaged archive raises nearly anything; each is the same fault of the file
        raise InputError(f"fused map {path} cannot be read ({error}): {_FIX}") from error
    classes, size, low, high = arrays.values()
    if classes.ndim != 1 or size.shape != (2,) or {a.dtype.kind for a in (classes, size)} - {"u", "i"}:
        raise InputError(f"fused map {path} has classes {classes.shape} {classes.dtype} and size {size.shape} "
                         f"{size.dtype}, expected (n,) and (2,) integers: {_FIX}")
    shape = (len(classes), *size.tolist())
    if low.shape != shape or high.shape != shape or low.dtype != np.uint8 or high.dtype != np.uint8:
        raise InputError(f"fused map {path} has planes of {low.shape} {low.dtype} and {high.shape} {high.dtype}, "
                         f"expected {shape} uint8: {_FIX}")
    return arrays


def _decode(path: Path) -> dict[int, np.ndarray]:
    arrays = _read_arrays(path)
    zigzag = arrays["low"].astype(np.int32) | (arrays["high"].astype(np.int32) << 8)
    delta = (zigzag >> 1) ^ -(zigzag & 1)
    levels = delta.cumsum(axis=1, dtype=np.int32).cumsum(axis=2, dtype=np.int32)
    if levels.min(initial=0) < 0 or levels.max(initial=0) > LEVELS:
        raise InputError(f"fused map {path} has values outside 0..1: {_FIX}")
    maps = levels.astype(np.float32) / np.float32(LEVELS)
    return {int(c): plane for c, plane in zip(arrays["classes"], maps, strict=True)}


def read_fused(path: Path, *, num_classes: int, size: tuple[int, int] | None = None) -> dict[int, np.ndarray]:
    """Read `{class index: (H, W) float32 in [0, 1]}` from `path` (`.npz`, or the published `.npy`).

    `size` is the photograph's (width, height). Raises :class:`InputError` where the file is damaged, has another size,
    or names a class outside 0..num_classes - 1.
    """
    cams = read_published(path) if path.suffix == ".npy" else _decode(path)
    outside = [c for c in cams if not 0 <= c < num_classes]
    if len({cam.shape for cam in cams.values()}) > 1:
        raise InputError(f"fused map {path} has planes of different sizes: {_FIX}")
    if cams and size is not None and (shape := next(iter(cams.values())).shape) != size[::-1]:
        raise InputError(f"fused map {path} is {shape[1]}×{shape[0]} pixels, its photograph is {size[0]}×{size[1]}: "
                         "run stage 1 (gen_fusion) again with --overwrite")
    if outside:
        raise InputError(f"fused map {path} has the classes {outside}, the task has {num_classes}: it was made with "
                         "another class list; run stage 1 (gen_fusion) again with --overwrite")
    return cams


def fused_size(path: Path) -> tuple[int, int]:
    """Return (H, W) of a stored `.npz` map, also where it holds no class."""
    size = _read_arrays(path)["size"]
    return int(size[0]), int(size[1])


def read_published(path: Path) -> dict[int, np.ndarray]:
    """Read a published `cam_npy/<id>.npy`: a pickled dict, class index → (H, W) float32; no code is run."""
    cams = {}
    for key, value in read_pickled_dict(path, "fused map", _FIX).items():
        try:
            c, plane = int(key), np.asarray(value, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise InputError(f"fused map {path}, class {key!r}: expected a class index and an array ({error}): "
                             f"{_FIX}") from error
        if plane.ndim != 2 or not np.isfinite(plane).all():
            raise InputError(f"fused map {path}, class {key}: expected finite values (H, W), got {plane.shape}: {_FIX}")
        cams[c] = plane
    return cams


def write_published(path: Path, cams: dict[int, np.ndarray]) -> None:
    """Write maps in the published format (`.npy`, pickled dict), for tools that expect it."""
    write_pickled_dict(path, {int(c): np.asarray(cam, dtype=np.float32) for c, cam in cams.items()})
