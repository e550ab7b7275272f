"""The one reader and writer of photographs, masks and saliency maps: what is read of which file.

All three are opened by what is in the file, whatever its suffix: BMP, GIF, JPEG, JPEG 2000, PNG,
TIFF, WebP (AVIF). What can be meant in one way is converted exactly; the rest is an
:class:`InputError` that names the file, what came and what was expected. "n bits" are those of a
sample in the file, not those that Pillow makes of it.

| row | every file | what happens |
| --- | --- | --- |
| A1 | orientation tag (EXIF, XMP, TIFF) | turned before all else |
| A2 | EXIF that cannot be parsed | counts as upright |
| A3 | more than `MAX_PIXELS` pixels | refused before anything is unpacked |
| A4 | several frames or pages | photograph: the first; mask, saliency map: refused |
| A5 | PNG whose checksums do not fit | mask, saliency map: refused |
| A6 | TIFF of signed bytes, or deep with white as 0; grey BMP of 2 or 4 bits | refused: misread |

| row | photograph | read as 8-bit RGB |
| --- | --- | --- |
| P1 | RGB, palette, grey of 1 to 8 bits, CMYK, YCbCr, LAB | its colours |
| P2 | alpha, or a transparent colour | laid on white; refused where nothing is opaque |
| P3 | grey, 16 or 32 bits, a value above 255 | value / 257; with none above 4,095 that is told |
| P4 | grey, 16 or 32 bits, no value above 255 | value |
| P5 | grey, 12 bits (TIFF) | value · 255 / 4,095 |
| P6 | colours of 16 bits | the upper 8 bits; refused where no value is above 255 |
| P7 | floating point, 0..1 | value · 255 |
| P8 | floating point, 0..16 up to 0..255 | value |
| P9 | other numbers: negative, NaN, above 65,535, up to 1.5 | refused |

| row | mask | read as class numbers |
| --- | --- | --- |
| M1 | palette, 1 to 8 bits | index, whatever colours and transparency are |
| M2 | palette that has VOC's colour of 255 in another place | refused: a tool has sorted it |
| M3 | grey, 1 to 8 bits | value in the file: 0..1, 0..3, 0..15, 0..255 |
| M4 | grey, 16 or 32 bits, or floating point: whole numbers 0..255 | value |
| M5 | the same with another value | refused |
| M6 | grey or palette with alpha | without alpha where that is opaque, else refused |
| M7 | RGB with three equal channels, opaque, not all black | one channel |
| M8 | other colours | refused: a colour is no number |
| M9 | JPEG, WebP, GIF and others, TIFF with lossy compression | refused: they do not keep numbers |
| M10 | TIFF where white is 0 | refused |

| row | saliency map | read as 0..255, 255 most salient |
| --- | --- | --- |
| S1 | grey, 1 to 8 bits | brightness, of the largest value that the bits can have |
| S2 | grey that holds 0 and 1 alone, 8 bits or more | 0 and 255; of 2 or 4 bits refused |
| S3 | grey, 12, 16 or 32 bits, floating point | as in P3 to P5 and P7 to P9 |
| S4 | alpha that varies (a cut-out) | alpha, whatever the colours |
| S5 | alpha that is opaque | what the colours are, see S7 to S9 |
| S6 | alpha that is 0 everywhere | all 0; refused beside a grey map, or for another constant |
| S7 | RGB or palette in grey | brightness, then S2 |
| S8 | black and one other colour | 0 and 255 |
| S9 | other colours | refused |
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from functools import cache
from os.path import splitext
from pathlib import Path

import numpy as np
from PIL import Image

from smaf.core.errors import InputError
from smaf.core.files import files_by_stem, plain_name, write_bytes
from smaf.core.image_files import MAX_PIXELS
from smaf.core.masks import read_mask
from smaf.core.photographs import read_image
from smaf.core.saliency_maps import read_saliency

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_SUFFIXES",
    "MAX_PIXELS",
    "SALIENCY_SUFFIXES",
    "find_image",
    "find_images",
    "read_image",
    "read_mask",
    "read_saliency",
    "voc_palette",
    "write_mask",
]

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
)  # compare with a suffix in lower case
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
SALIENCY_SUFFIXES = (".png", *(suffix for suffix in IMAGE_SUFFIXES if suffix != ".png"))


@cache
def voc_palette() -> np.ndarray:
    """Return PASCAL VOC's colour map, (256, 3) uint8 RGB.

    The bits of the index are spread over the channels.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    for index in range(256):
        rest = index
        for bit in range(7, -1, -1):
            for channel in range(3):
                palette[index, channel] |= ((rest >> channel) & 1) << bit
            rest >>= 3
    palette.setflags(write=False)
    return palette


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write (H, W) uint8 class values as a palette PNG in VOC's colours, whole or not at all."""
    values = np.ascontiguousarray(mask, dtype=np.uint8)
    image = Image.frombytes("P", (values.shape[1], values.shape[0]), values.tobytes())
    image.putpalette(voc_palette().ravel().tolist())
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    write_bytes(path, stream.getvalue())


def find_image(
    folders: Sequence[Path], image_id: str, *, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> Path:
    """The file `<id>.<suffix>` of the first of `folders` that has one, whatever the suffix's case.

    Where none has it, the place where it would lie. Raises :class:`InputError` where a folder has
    two.
    """
    found = find_images(folders, (image_id,), suffixes=suffixes)
    return found.get(image_id, folders[0] / f"{image_id}{suffixes[0]}")


def find_images(
    folders: Sequence[Path], image_ids: Iterable[str], *, suffixes: Sequence[str] = IMAGE_SUFFIXES
) -> dict[str, Path]:
    """Id → :func:`find_image`'s file, of the ids that have one. Each folder is read once."""
    found: dict[str, Path] = {}
    left = list(image_ids)
    for folder in folders:
        stems = files_by_stem(folder) if left else {}
        for image_id in left:
            names = [
                name
                for name in stems.get(plain_name(image_id), ())
                if splitext(name)[1].lower() in suffixes
            ]
            if len(names) > 1:
                raise InputError(
                    f"{folder} has {' and '.join(names)}, both of the id {image_id}: move one of "
                    "them away"
                )
            if names:
                found[image_id] = folder / names[0]
        left = [image_id for image_id in left if image_id not in found]
    return found
