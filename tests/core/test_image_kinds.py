"""Photographs, masks and saliency maps of every kind: the tables of core/images.py, row by row."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_writing import chunk, packed, write_png, write_tiff
from PIL import Image

from smaf.core import images
from smaf.core.errors import InputError
from smaf.core.images import read_image, read_mask, read_saliency, voc_palette

Array = np.ndarray
GREY = np.array([[0, 50, 100], [150, 200, 255]], dtype=np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
MASK = np.array([[0, 1, 2], [15, 20, 255]], dtype=np.uint8)
BITS = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
QUARTERS = np.array([[0, 1, 2], [3, 2, 1]], dtype=np.uint8)
NIBBLES = np.array([[0, 1, 7], [15, 8, 2]], dtype=np.uint8)
UNIT = (GREY / np.float32(255)).astype(np.float32)


def saved(image: Image.Image | Array, **options: object) -> Callable[[Path], object]:
    """Writes with Pillow."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return lambda path: picture.save(path, **options)  # type: ignore[arg-type]


def png(
    values: Array, bits: int, colours: int = 0, before: bytes = b""
) -> Callable[[Path], object]:
    """Writes a PNG by hand."""
    return lambda path: write_png(path, values, bits=bits, colours=colours, before=before)


def tiff(values: Array, **options: int) -> Callable[[Path], object]:
    """Writes a TIFF by hand."""
    return lambda path: write_tiff(path, values, **options)  # type: ignore[arg-type]


def palette(values: Array, colours: Array, mode: str = "RGB") -> Image.Image:
    image = Image.frombytes(
        "P", (values.shape[1], values.shape[0]), values.astype(np.uint8).tobytes()
    )
    image.putpalette(np.asarray(colours, dtype=np.uint8).ravel().tolist(), mode)
    return image


def indexed(values: Array, bits: int) -> Callable[[Path], object]:
    """Writes a palette PNG of few bits in VOC's colours."""
    return png(values, bits, 3, chunk(b"PLTE", voc_palette()[: 2**bits].tobytes()))


def frames(suffix: str) -> Callable[[Path], object]:
    return saved(
        Image.fromarray(GREY),
        save_all=True,
        append_images=[Image.fromarray(255 - GREY)],
        format=suffix,
    )


def turned(image: Image.Image) -> Callable[[Path], object]:
    """Lies on its side; the tag says that its right is up, so that its bottom left comes to the top
    left."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image, exif=exif)


def damaged_exif(path: Path) -> None:
    """The resolution is of a type that its tag does not have: Pillow cannot write it again."""
    entries = b"\x01\x12\0\x03\0\0\0\x01\0\x01\0\0" + b"\x01\x1a\0\x02\0\0\0\x04abcd"
    exif = b"MM\0*\0\0\0\x08\0\x02" + entries + bytes(40)
    Image.fromarray(COLOUR).save(path, exif=exif)


def claims(width: int, height: int) -> Callable[[Path], object]:
    """Says in its header that it is so large."""

    def write(path: Path) -> None:
        data = bytearray(write_png(path, GREY).read_bytes())
        data[8:33] = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        path.write_bytes(bytes(data))

    return write


def rgb(grey: Array) -> Array:
    return np.repeat(grey[:, :, None], 3, axis=2)


def on_white(colour: Array, alpha: Array) -> Array:
    share = alpha[:, :, None] / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


def grey_bmp_of_4_bits(path: Path) -> None:
    """Its palette is 0..15 in grey; Pillow takes its half bytes for bytes."""
    colours = b"".join(bytes((k, k, k, 0)) for k in range(16))
    rows = b"".join(packed(row, 4).ljust(4, b"\0") for row in NIBBLES[::-1])
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", 54 + len(colours) + len(rows), 0, 0, 54 + len(colours))
        + struct.pack("<IiiHHIIiiII", 40, 3, 2, 1, 4, 0, len(rows), 0, 0, 16, 0)
        + colours
        + rows
    )


ALPHA = np.array([[0, 255, 0], [255, 255, 255]], dtype=np.uint8)
VARIED = np.array([[0, 10, 128], [255, 200, 255]], dtype=np.uint8)
VOC_INDEX = palette(MASK, voc_palette())
CLEAR = np.full((2, 3, 4), 255, dtype=np.uint8)
CLEAR[..., 3] = 0
DEEP = GREY.astype(np.uint16) * 257
TWELVE = np.array([[0, 273, 4095], [16, 2048, 1000]])
WHITE_IS_ZERO = tiff(GREY, photometric=0)
DEEP_WHITE_IS_ZERO = tiff(DEEP, bits=16, photometric=0)
SIGNED = tiff(np.array([[0, 1, -1]]), sample_format=2)

# row of the table, file name, how the file is written, what is read: an array, or words of the
# refusal
PHOTOGRAPHS: list[tuple[str, str, Callable[[Path], object], Array | str]] = [
    ("A1", "x.png", turned(Image.fromarray(COLOUR)), np.rot90(COLOUR, -1)),
    ("A1", "x.png", turned(Image.fromarray(DEEP)), rgb(np.rot90(GREY, -1))),
    ("A1", "x.tif", tiff(DEEP, bits=16, tags=((274, 3, 6),)), rgb(np.rot90(GREY, -1))),
    ("A2", "x.png", damaged_exif, COLOUR),
    ("A3", "x.png", claims(12000, 10001), "is 12000×10001 pixels, at most 120 million are read"),
    ("A3", "x.png", claims(19900, 19900), "has 396010000 pixels, at most 120 million are read"),
    ("A4", "x.tif", frames("TIFF"), rgb(GREY)),
    ("A4", "x.png", frames("PNG"), rgb(GREY)),
    ("A6", "x.tif", DEEP_WHITE_IS_ZERO, "more than 8 bits where white is 0 is not supported"),
    ("A6", "x.tif", SIGNED, "signed bytes is not supported"),
    ("A6", "x.bmp", grey_bmp_of_4_bits, "BMP of 4 bits a pixel in grey is not supported"),
    ("P1", "x.png", saved(COLOUR), COLOUR),
    ("P1", "x.webp", saved(COLOUR, lossless=True), COLOUR),
    ("P1", "x.bmp", saved(COLOUR), COLOUR),
    ("P1", "x.png", saved(VOC_INDEX), voc_palette()[MASK]),
    ("P1", "x.png", png(BITS, 1), rgb(BITS * 255)),
    ("P1", "x.png", png(QUARTERS, 2), rgb(QUARTERS * 85)),
    ("P1", "x.png", png(NIBBLES, 4), rgb(NIBBLES * 17)),
    ("P1", "x.tif", WHITE_IS_ZERO, rgb(255 - GREY)),
    ("P1", "x.tif", saved(Image.fromarray(COLOUR).convert("CMYK")), COLOUR),
    ("P2", "x.png", saved(np.dstack([COLOUR, VARIED])), on_white(COLOUR, VARIED)),
    ("P2", "x.png", saved(np.dstack([GREY, ALPHA])), on_white(rgb(GREY), ALPHA)),
    (
        "P2",
        "x.png",
        saved(VOC_INDEX, transparency=1),
        np.where(rgb(MASK) == 1, 255, voc_palette()[MASK]),
    ),
    (
        "P2",
        "x.png",
        png(NIBBLES, 4, 0, chunk(b"tRNS", b"\0\x07")),
        rgb(np.where(NIBBLES == 7, 255, NIBBLES * 17)),
    ),
    ("P2", "x.png", png(DEEP, 16, 0, chunk(b"tRNS", b"\0\0")), rgb(np.where(GREY == 0, 255, GREY))),
    ("P2", "x.png", saved(CLEAR), "is transparent everywhere"),
    ("P3", "x.png", saved(DEEP), rgb(GREY)),
    ("P3", "x.tif", tiff(DEEP, bits=16), rgb(GREY)),
    ("P3", "x.tif", saved(DEEP.astype(">u2")), rgb(GREY)),
    ("P3", "x.tif", saved(DEEP.astype(np.int32)), rgb(GREY)),
    ("P3", "x.png", saved(np.full((2, 2), 300, np.uint16)), np.ones((2, 2, 3))),
    ("P4", "x.png", saved(GREY.astype(np.uint16)), rgb(GREY)),
    ("P4", "x.tif", saved(GREY.astype(np.int32)), rgb(GREY)),
    (
        "P5",
        "x.tif",
        tiff(np.array([[0, 273, 4095, 2048]]), bits=12),
        rgb(np.array([[0, 17, 255, 128]])),
    ),
    ("P6", "x.png", png(COLOUR.astype(np.uint16) * 257, 16, 2), COLOUR),
    ("P6", "x.png", png(COLOUR, 16, 2), "16 bits a channel and no colour above 255"),
    (
        "P6",
        "x.png",
        png(np.dstack([COLOUR, GREY * 0 + 255]), 16, 6),
        "16 bits a channel and no colour above 255",
    ),
    ("P7", "x.tif", saved(UNIT), rgb(GREY)),
    ("P8", "x.tif", saved(GREY.astype(np.float32) + np.float32(0.25)), rgb(GREY)),
    ("P9", "x.tif", saved(UNIT * np.float32(1.5)), "from 0 to 1.5, expected 0..1 or 0..255"),
    ("P9", "x.tif", saved(np.array([[0, np.nan]], np.float32)), "values from nan to nan"),
    ("P9", "x.tif", saved(np.array([[0, np.inf]], np.float32)), "values from 0 to inf"),
    ("P9", "x.tif", saved(np.array([[-0.5, 0.5]], np.float32)), "values from -0.5"),
    (
        "P9",
        "x.tif",
        saved(np.array([[-1, 200]], np.int32)),
        "from -1 to 200, expected 0..255 or 0..65535",
    ),
    ("P9", "x.tif", saved(np.array([[0, 65536]], np.int32)), "from 0 to 65536"),
]
NO_NUMBERS = "save it as a palette or 8-bit greyscale PNG"
SORTED = palette(np.array([[0, 1, 2]]), np.array([(0, 0, 0), (224, 224, 192), (64, 0, 0)]))
OPAQUE = np.full_like(MASK, 255)
MASKS: list[tuple[str, str, Callable[[Path], object], Array | str]] = [
    ("A1", "x.png", turned(VOC_INDEX), np.rot90(MASK, -1)),
    (
        "A2",
        "x.png",
        lambda path: Image.fromarray(MASK).save(path, exif=b"MM\0*\0\0\0\x08\xff\xff"),
        MASK,
    ),
    ("A3", "x.png", claims(40000, 40000), "has 1600000000 pixels"),
    ("A4", "x.tif", frames("TIFF"), "holds 2 images"),
    ("A4", "x.png", frames("PNG"), "holds 2 images"),
    (
        "A5",
        "x.png",
        lambda path: write_png(path, MASK, after=b"\0\0\0\1tEXtx\0\0\0\0"),
        "part 'tEXt' is wrong",
    ),
    ("A6", "x.tif", SIGNED, "signed bytes is not supported"),
    ("M1", "x.png", saved(VOC_INDEX), MASK),
    ("M1", "x.bmp", saved(VOC_INDEX), MASK),
    ("M1", "x.tif", saved(VOC_INDEX), MASK),
    ("M1", "x.png", saved(palette(MASK, np.zeros((256, 3)))), MASK),
    ("M1", "x.png", saved(VOC_INDEX, transparency=0), MASK),
    ("M1", "x.png", indexed(BITS, 1), BITS),
    ("M1", "x.png", indexed(QUARTERS, 2), QUARTERS),
    ("M1", "x.png", indexed(NIBBLES, 4), NIBBLES),
    (
        "M2",
        "x.png",
        saved(SORTED),
        "VOC's colour of 255 (ignored) as number 1: a tool has sorted its palette",
    ),
    ("M3", "x.png", saved(MASK), MASK),
    ("M3", "x.bmp", saved(MASK), MASK),
    ("M3", "x.tif", saved(MASK), MASK),
    ("M3", "x.png", png(BITS, 1), BITS),
    ("M3", "x.png", png(QUARTERS, 2), QUARTERS),
    ("M3", "x.png", png(NIBBLES, 4), NIBBLES),
    ("M3", "x.tif", tiff(NIBBLES, bits=4), NIBBLES),
    ("M3", "x.bmp", saved(Image.fromarray(BITS > 0)), BITS),
    ("M4", "x.png", saved(MASK.astype(np.uint16)), MASK),
    ("M4", "x.tif", tiff(MASK, bits=16), MASK),
    ("M4", "x.tif", saved(MASK.astype(">u2")), MASK),
    ("M4", "x.tif", saved(MASK.astype(np.int32)), MASK),
    ("M4", "x.tif", saved(MASK.astype(np.float32)), MASK),
    (
        "M5",
        "x.png",
        saved(MASK.astype(np.uint16) + 1),
        "values from 0 to 256, expected whole numbers 0..255",
    ),
    (
        "M5",
        "x.tif",
        saved(MASK.astype(np.int32) - 1),
        "values from -1 to 254, expected whole numbers 0..255",
    ),
    ("M5", "x.tif", saved(MASK.astype(np.float32) / 2), "expected whole numbers 0..255"),
    ("M5", "x.tif", saved(np.array([[0, np.nan]], np.float32)), "expected whole numbers 0..255"),
    ("M6", "x.png", saved(np.dstack([MASK, OPAQUE])), MASK),
    ("M6", "x.png", saved(np.dstack([MASK, MASK])), "is a LA image with transparent pixels"),
    ("M7", "x.png", saved(rgb(MASK)), MASK),
    ("M7", "x.bmp", saved(rgb(MASK)), MASK),
    ("M7", "x.png", saved(np.dstack([rgb(MASK), OPAQUE])), MASK),
    ("M7", "x.png", saved(np.dstack([rgb(MASK), MASK])), "is a RGBA image with transparent pixels"),
    (
        "M7",
        "x.png",
        saved(rgb(MASK) * 0),
        f"is a RGB image, whose colours are no class numbers: {NO_NUMBERS}",
    ),
    (
        "M8",
        "x.png",
        saved(voc_palette()[MASK]),
        f"is a RGB image, whose colours are no class numbers: {NO_NUMBERS}",
    ),
    ("M8", "x.tif", saved(Image.fromarray(COLOUR).convert("CMYK")), "is a CMYK image"),
    ("M8", "x.png", png(rgb(MASK), 16, 2), "is a RGB image"),
    ("M9", "x.jpg", saved(MASK), "is a JPEG file, which does not keep class numbers exactly"),
    ("M9", "x.png", saved(MASK, format="JPEG"), "is a JPEG file"),
    ("M9", "x.webp", saved(rgb(MASK), lossless=True), "is a WEBP file"),
    ("M9", "x.gif", saved(MASK), "is a GIF file"),
    ("M9", "x.tif", saved(MASK, compression="jpeg"), "is a TIFF file, which does not keep"),
    ("M10", "x.tif", WHITE_IS_ZERO, "white is 0"),
]
CUT_OUT = np.dstack([COLOUR, VARIED])
MAP_OF_BITS = BITS * 255
SALIENCY: list[tuple[str, str, Callable[[Path], object], Array | str]] = [
    ("A1", "x.png", turned(Image.fromarray(DEEP)), np.rot90(GREY, -1)),
    ("A3", "x.png", claims(40000, 40000), "has 1600000000 pixels"),
    ("A4", "x.tif", frames("TIFF"), "holds 2 images"),
    (
        "A5",
        "x.png",
        lambda path: write_png(path, GREY, after=b"\0\0\0\1tEXtx\0\0\0\0"),
        "part 'tEXt' is wrong",
    ),
    ("A6", "x.tif", DEEP_WHITE_IS_ZERO, "more than 8 bits where white is 0 is not supported"),
    ("S1", "x.png", saved(GREY), GREY),
    ("S1", "x.jpg", saved(np.full((8, 8), 77, np.uint8), quality=100), np.full((8, 8), 77)),
    ("S1", "x.webp", saved(rgb(GREY), lossless=True), GREY),
    ("S1", "x.png", png(BITS, 1), MAP_OF_BITS),
    ("S1", "x.png", png(QUARTERS, 2), QUARTERS * 85),
    ("S1", "x.png", png(NIBBLES, 4), NIBBLES * 17),
    ("S1", "x.tif", WHITE_IS_ZERO, 255 - GREY),
    ("S2", "x.png", saved(BITS), MAP_OF_BITS),
    ("S2", "x.png", saved(BITS.astype(np.uint16)), MAP_OF_BITS),
    ("S2", "x.tif", saved(BITS.astype(np.float32)), MAP_OF_BITS),
    ("S2", "x.png", saved(rgb(BITS)), MAP_OF_BITS),
    ("S2", "x.png", saved(BITS * 0), BITS * 0),
    ("S2", "x.png", png(BITS, 2), "has 2 bits and holds 0 and 1 alone"),
    ("S2", "x.png", png(BITS, 4), "has 4 bits and holds 0 and 1 alone"),
    ("S3", "x.png", saved(DEEP), GREY),
    ("S3", "x.png", saved(GREY.astype(np.uint16)), GREY),
    ("S3", "x.tif", tiff(np.array([[0, 273, 4095]]), bits=12), np.array([[0, 17, 255]])),
    ("S3", "x.tif", saved(UNIT), GREY),
    ("S3", "x.tif", saved(GREY.astype(np.float32)), GREY),
    ("S3", "x.tif", saved(np.array([[0, np.nan]], np.float32)), "expected 0..1 or 0..255"),
    ("S3", "x.tif", saved(np.array([[0, 70000]], np.int32)), "expected 0..255 or 0..65535"),
    ("S4", "x.png", saved(CUT_OUT), VARIED),
    ("S4", "x.png", saved(np.dstack([GREY * 0 + 255, VARIED])), VARIED),
    ("S4", "x.webp", saved(np.dstack([COLOUR, VARIED]), lossless=True), VARIED),
    (
        "S4",
        "x.png",
        saved(palette(BITS, np.array([(9, 9, 9), (200, 0, 0)])), transparency=0),
        MAP_OF_BITS,
    ),
    ("S5", "x.png", saved(np.dstack([rgb(GREY), OPAQUE])), GREY),
    ("S5", "x.png", saved(np.dstack([GREY, OPAQUE])), GREY),
    ("S5", "x.png", saved(np.dstack([COLOUR, OPAQUE])), "is a RGBA image in colours"),
    ("S6", "x.png", saved(np.dstack([COLOUR, OPAQUE * 0])), GREY * 0),
    ("S6", "x.png", saved(np.zeros((2, 3, 4), np.uint8)), GREY * 0),
    ("S6", "x.png", saved(np.dstack([rgb(GREY), OPAQUE * 0])), "has the same alpha, 0, everywhere"),
    ("S6", "x.png", saved(np.dstack([COLOUR, OPAQUE // 2])), "has the same alpha, 127, everywhere"),
    ("S7", "x.png", saved(rgb(GREY)), GREY),
    ("S7", "x.png", saved(palette(BITS, np.array([(0, 0, 0), (255, 255, 255)]))), MAP_OF_BITS),
    ("S7", "x.png", saved(Image.fromarray(GREY).convert("P")), GREY),
    ("S7", "x.png", saved(Image.fromarray(BITS).convert("P")), MAP_OF_BITS),
    ("S8", "x.png", saved(palette(BITS, voc_palette())), MAP_OF_BITS),
    ("S8", "x.png", saved(voc_palette()[BITS * 4]), MAP_OF_BITS),
    ("S9", "x.png", saved(voc_palette()[QUARTERS]), "is a RGB image in colours"),
    ("S9", "x.png", saved(VOC_INDEX), "is a P image in colours"),
    ("S9", "x.jpg", saved(np.repeat(np.repeat(COLOUR, 8, 0), 8, 1)), "is a RGB image in colours"),
]
READERS: dict[str, Callable[[Path], object]] = {
    "photograph": read_image,
    "mask": read_mask,
    "saliency map": read_saliency,
}
CASES = [
    pytest.param(what, name, write, expected, id=f"{what}-{row}-{number}")
    for what, rows in zip(READERS, (PHOTOGRAPHS, MASKS, SALIENCY), strict=True)
    for number, (row, name, write, expected) in enumerate(rows)
]


@pytest.mark.parametrize(("what", "name", "write", "expected"), CASES)
def test_row_of_the_tables(
    what: str, name: str, write: Callable[[Path], object], expected: Array | str, tmp_path: Path
) -> None:
    path = tmp_path / name
    write(path)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=re.escape(expected)) as refusal:
            READERS[what](path)
        assert str(refusal.value).startswith(f"{what} {path} ")
        return
    read = READERS[what](path)
    if isinstance(read, Image.Image):
        assert read.mode == ("RGB" if what == "photograph" else "L")
    values = np.asarray(read)
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, expected)


def test_each_row_is_tried() -> None:
    told = set(re.findall(r"^\| ([AMPS]\d+) \|", images.__doc__ or "", flags=re.MULTILINE))
    tried = {row for rows in (PHOTOGRAPHS, MASKS, SALIENCY) for row, *_ in rows}
    assert told == tried and len(told) == 34
