"""Photographs of every mode become the same upright RGB; masks and saliency maps keep their values."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import find_image, read_image, read_mask, read_saliency, voc_palette, write_mask

GREY = np.array([[0, 50, 100], [150, 200, 255]], dtype=np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def read(image: Image.Image, path: Path, **options: object) -> np.ndarray:
    image.save(path, **options)  # type: ignore[arg-type]
    result = read_image(path)
    assert result.mode == "RGB"
    return np.asarray(result)


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def test_greyscale_and_bits(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(Image.fromarray(GREY), tmp_path / "l.png"), repeated(GREY))
    bits = Image.fromarray(GREY).point(lambda v: 255 * (v > 120)).convert("1")
    np.testing.assert_array_equal(read(bits, tmp_path / "1.png"), repeated(np.where(GREY > 120, 255, 0)))
    np.testing.assert_array_equal(read(Image.fromarray(COLOUR), tmp_path / "rgb.png"), COLOUR)


def test_16_bit_greyscale(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    for name in ("16.png", "16.tif"):
        np.testing.assert_array_equal(read(Image.fromarray(deep), tmp_path / name), repeated(GREY))
    dark = read(Image.fromarray(np.full((2, 2), 300, dtype=np.uint16)), tmp_path / "dark.png")
    np.testing.assert_array_equal(dark, 1)  # 300 / 257, not 255


def test_16_bit_colour(tmp_path: Path) -> None:
    """Pillow does not write these: the PNG is put together by hand."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    h, w = COLOUR.shape[:2]
    rows = b"".join(b"\0" + (row.astype(">u2") * 257).tobytes() for row in COLOUR)
    path = tmp_path / "48.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    np.testing.assert_array_equal(np.asarray(read_image(path)), COLOUR)


def test_palette(tmp_path: Path) -> None:
    palette = Image.fromarray(GREY // 50).convert("L")
    indexed = Image.frombytes("P", palette.size, palette.tobytes())
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(read(indexed, tmp_path / "p.png"), table[GREY // 50])
    clear = read(indexed, tmp_path / "t.png", transparency=1)
    np.testing.assert_array_equal(clear[0, 1], [255, 255, 255])
    np.testing.assert_array_equal(clear[0, 2], [70, 80, 90])


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    alpha = np.array([[0, 255, 0], [255, 128, 255]], dtype=np.uint8)
    share = alpha[:, :, None] / 255.0
    for name, image, base in (("rgba.png", np.dstack([COLOUR, alpha]), COLOUR),
                              ("la.png", np.dstack([GREY, alpha]), repeated(GREY))):
        result = read(Image.fromarray(image), tmp_path / name)
        np.testing.assert_allclose(result, base * share + 255 * (1 - share), atol=1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), dtype=np.uint8)
    result = read(Image.fromarray(flat).convert("CMYK"), tmp_path / "c.jpg", quality=100)
    np.testing.assert_allclose(result, flat, atol=4)


@pytest.mark.parametrize(("orientation", "turn"), [
    (1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (4, np.flipud), (6, lambda a: np.rot90(a, -1)),
    (8, np.rot90)])
def test_exif_orientation(tmp_path: Path, orientation: int, turn: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = read(Image.fromarray(COLOUR), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(result, turn(COLOUR))  # type: ignore[operator]
    if orientation == 6:  # the camera's right is up: 3×2 pixels become 2×3, bottom left goes to top left
        assert read_image(tmp_path / "a.png").size == (2, 3)
        np.testing.assert_array_equal(result[0, 0], COLOUR[1, 0])


def test_what_is_no_photograph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with pytest.raises(MissingInputError, match=r"photograph .*a\.jpg does not exist"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="it is empty"):
        read_image(path)
    path.write_text("no picture")
    with pytest.raises(InputError, match=r"photograph .*a\.jpg cannot be read"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")  # Pillow's and NumPy's, about the damage
def test_truncation_and_damage(tmp_path: Path) -> None:
    """A cut file is refused; a damaged one is read or refused, and raises nothing else."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (24, 31, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP"):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind, **({"exif": exif} if kind in {"JPEG", "PNG"} else {}))
        whole = stream.getvalue()
        path = tmp_path / f"a.{kind.lower()}"
        for length in (1, 10, 40, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:length])
            with pytest.raises(InputError, match="cannot be read"):
                read_image(path)
        for _ in range(40):
            broken = bytearray(whole)
            for place in rng.integers(0, min(len(whole), 400), 3):
                broken[place] = int(rng.integers(0, 256))
            path.write_bytes(bytes(broken))
            try:
                assert read_image(path).mode == "RGB"
            except InputError as error:
                assert path.name in str(error)


def test_masks_keep_their_values(tmp_path: Path) -> None:
    mask = np.array([[0, 1, 15], [254, 255, 20]], dtype=np.uint8)
    write_mask(tmp_path / "p.png", mask)
    with Image.open(tmp_path / "p.png") as image:
        assert image.mode == "P" and image.size == (3, 2)
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), voc_palette()[mask])
    Image.fromarray(mask).save(tmp_path / "l.png")
    for name in ("p.png", "l.png"):
        read_back = read_mask(tmp_path / name, size=(3, 2))
        assert read_back.dtype == np.uint8 and read_back.flags.writeable
        np.testing.assert_array_equal(read_back, mask)
    Image.fromarray(mask > 14).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "1.png"), [[0, 0, 1], [1, 1, 1]])


def test_colour_masks_and_other_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.png"
    for image in (Image.fromarray(COLOUR), Image.fromarray(np.dstack([COLOUR, GREY])),
                  Image.fromarray(GREY.astype(np.uint16))):
        image.save(path)
        with pytest.raises(InputError, match=rf"m\.png is a {image.mode}"):
            read_mask(path)
    Image.fromarray(GREY).save(path)
    with pytest.raises(InputError, match=r"m\.png is 3×2 pixels, its photograph is 2×3"):
        read_mask(path, size=(2, 3))
    with pytest.raises(InputError, match=r"saliency map .*m\.png is 3×2"):
        read_saliency(path, size=(4, 4))
    with pytest.raises(MissingInputError, match="mask"):
        read_mask(tmp_path / "none.png")


def test_saliency(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "l.png")
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(repeated(GREY)).save(tmp_path / "rgb.png")
    Image.fromarray(GREY > 120).save(tmp_path / "1.png")
    for name in ("l.png", "16.png", "rgb.png"):
        image = read_saliency(tmp_path / name, size=(3, 2))
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), GREY)
    np.testing.assert_array_equal(np.asarray(read_saliency(tmp_path / "1.png")), np.where(GREY > 120, 255, 0))


def test_find_image_takes_the_first_folder_that_has_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    assert find_image(folders, "x") == tmp_path / "a" / "x.jpg"
    (tmp_path / "b" / "x.PNG").write_bytes(b"")
    assert find_image(folders, "x") == tmp_path / "b" / "x.PNG"
    (tmp_path / "a" / "x.jpeg").write_bytes(b"")
    assert find_image(folders, "x") == tmp_path / "a" / "x.jpeg"
