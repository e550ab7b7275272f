"""Photographs of every mode become the same upright RGB; masks and saliency maps keep their
values."""

from __future__ import annotations

import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_writing import chunk, write_png, write_tiff
from PIL import Image, PngImagePlugin

from smaf.core.errors import InputError, MissingInputError
from smaf.core.images import (
    MASK_SUFFIXES,
    find_image,
    read_image,
    read_mask,
    read_saliency,
    voc_palette,
    write_mask,
)
from smaf.core.png import read_plain_png

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
    np.testing.assert_array_equal(
        read(bits, tmp_path / "1.png"), repeated(np.where(GREY > 120, 255, 0))
    )
    np.testing.assert_array_equal(read(Image.fromarray(COLOUR), tmp_path / "rgb.png"), COLOUR)


def test_16_bit_greyscale(tmp_path: Path) -> None:
    deep = GREY.astype(np.uint16) * 257
    for name in ("16.png", "16.tif"):
        np.testing.assert_array_equal(read(Image.fromarray(deep), tmp_path / name), repeated(GREY))
    dark = read(Image.fromarray(np.full((2, 2), 300, dtype=np.uint16)), tmp_path / "dark.png")
    np.testing.assert_array_equal(dark, 1)  # 300 / 257, not 255


def test_16_bit_colour(tmp_path: Path) -> None:
    """Pillow does not write these: the PNG is put together by hand."""
    path = write_png(tmp_path / "48.png", COLOUR.astype(np.uint16) * 257, bits=16, colours=2)
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
    for name, image, base in (
        ("rgba.png", np.dstack([COLOUR, alpha]), COLOUR),
        ("la.png", np.dstack([GREY, alpha]), repeated(GREY)),
    ):
        result = read(Image.fromarray(image), tmp_path / name)
        np.testing.assert_allclose(result, base * share + 255 * (1 - share), atol=1)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 40, 90), dtype=np.uint8)
    result = read(Image.fromarray(flat).convert("CMYK"), tmp_path / "c.jpg", quality=100)
    np.testing.assert_allclose(result, flat, atol=4)


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (6, lambda a: np.rot90(a, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation(tmp_path: Path, orientation: int, turn: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = read(Image.fromarray(COLOUR), tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(result, turn(COLOUR))  # type: ignore[operator]
    if (
        orientation == 6
    ):  # the camera's right is up: 3×2 pixels become 2×3, bottom left goes to top left
        assert read_image(tmp_path / "a.png").size == (2, 3)
        np.testing.assert_array_equal(result[0, 0], COLOUR[1, 0])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_large_jpegs_are_unpacked_smaller(tmp_path: Path, mode: str, orientation: int) -> None:
    """Never below twice the size that is needed, upright, and like the whole one made smaller."""
    x, y = np.meshgrid(np.arange(640), np.arange(480))
    colours = np.stack([x * 255 // 640, y * 255 // 480, (x + y) * 255 // 1120], axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(colours.astype(np.uint8)).convert(mode)
    image.save(tmp_path / "a.jpg", quality=95, exif=exif)
    image.convert("RGB").save(tmp_path / "a.png", exif=exif)
    upright = (480, 640) if orientation > 4 else (640, 480)
    whole = read_image(tmp_path / "a.jpg")
    assert whole.size == upright
    for share, divided in ((1, 1), (3.9, 1), (4, 2), (7.9, 2), (8, 4), (30, 8)):
        told: list[tuple[int, int]] = []

        def needed(size: tuple[int, int], share: float = share, told: list = told) -> tuple:
            told.append(size)
            return math.ceil(size[0] / share), math.ceil(size[1] / share)

        smaller = read_image(tmp_path / "a.jpg", needed=needed)
        assert smaller.size == tuple(-(-side // divided) for side in upright)
        size = (48, 64) if orientation > 4 else (64, 48)
        pair = [np.asarray(i.resize(size, Image.Resampling.BICUBIC), int) for i in (whole, smaller)]
        np.testing.assert_allclose(pair[1][1:-1, 1:-1], pair[0][1:-1, 1:-1], atol=4)
        assert read_image(tmp_path / "a.png", needed=needed).size == upright
        assert told == [upright, upright]


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
        Image.fromarray(pixels).save(
            stream, kind, **({"exif": exif} if kind in {"JPEG", "PNG"} else {})
        )
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
    for image in (
        Image.fromarray(COLOUR),
        Image.fromarray(np.dstack([COLOUR, GREY])),
        Image.fromarray(GREY.astype(np.uint16) + 1),
    ):
        image.save(path)
        with pytest.raises(InputError, match=rf"m\.png is a {image.mode[0]}"):
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
    np.testing.assert_array_equal(
        np.asarray(read_saliency(tmp_path / "1.png")), np.where(GREY > 120, 255, 0)
    )


@pytest.mark.filterwarnings("ignore")  # Pillow's
def test_flipped_bytes_of_pngs_are_noticed(tmp_path: Path) -> None:
    """Of masks and saliency maps, whichever byte it is; what comes after the last chunk is of no
    account."""
    rng = np.random.default_rng(1)
    mask = np.kron(rng.integers(0, 4, (9, 11)), np.ones((7, 5))).astype(np.uint8)
    path = tmp_path / "m.png"
    write_mask(path, mask)
    whole = path.read_bytes()
    path.write_bytes(whole + b"more")
    np.testing.assert_array_equal(read_mask(path), mask)
    for read in (read_mask, read_saliency):
        for place in [*range(30), *rng.integers(30, len(whole), 60)]:
            broken = bytearray(whole)
            broken[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(broken))
            with pytest.raises(InputError, match=r"m\.png (cannot be read|is \d+×)"):
                read(path)
        for length in (
            8,
            20,
            40,
            len(whole) // 2,
            len(whole) - 20,
            len(whole) - 12,
            len(whole) - 1,
        ):
            path.write_bytes(whole[:length])
            with pytest.raises(InputError, match=r"m\.png cannot be read"):
                read(path)


def test_pixels_of_pngs_are_whole(tmp_path: Path) -> None:
    """Checksums of the chunks are right, what is in them is not."""
    path = write_png(tmp_path / "m.png", GREY)
    start, end = path.read_bytes()[:33], chunk(b"IEND", b"")
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in GREY))
    cases = {
        "end early|broken|truncated": pixels[:-4],
        "incorrect data check": pixels[:-1] + b"x",
        "more than its pixels": zlib.compress(bytes(10_000_000)),
        "damaged": b"x" + pixels,
    }
    for words, data in cases.items():
        path.write_bytes(start + chunk(b"IDAT", data) + end)
        with pytest.raises(InputError, match=rf"m\.png cannot be read .*({words})"):
            read_mask(path)
    path.write_bytes(
        start + b"".join(chunk(b"IDAT", pixels[i : i + 5]) for i in range(0, len(pixels), 5)) + end
    )
    np.testing.assert_array_equal(read_mask(path), GREY)


def test_plain_pngs_are_read_as_pillow_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Palettes of any length and grey without filters are read by themselves, the rest is not."""
    values = np.random.default_rng(0).integers(0, 9, (5, 7)).astype(np.uint8)
    write_mask(tmp_path / "palette.png", values)
    write_png(tmp_path / "grey.png", values)
    whole = (tmp_path / "palette.png").read_bytes()
    short = whole[:33] + chunk(b"PLTE", bytes(range(6))) + whole[33 + 12 + 768 :]
    (tmp_path / "short.png").write_bytes(short)
    Image.fromarray(np.cumsum(values, axis=1, dtype=np.uint8)).save(tmp_path / "filtered.png")
    exif, info = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    info.add_text("where", "from")
    with Image.open(tmp_path / "palette.png") as image:
        image.save(tmp_path / "noted.png", pnginfo=info)
        image.save(tmp_path / "turned.png", exif=exif)
    plain = {path: read_plain_png(path, most=35) for path in tmp_path.iterdir()}
    assert {path.stem for path, found in plain.items() if found} == {"palette", "grey", "short"}
    assert read_plain_png(tmp_path / "grey.png", most=34) is None
    fast = {path: read_mask(path) for path in plain}
    monkeypatch.setattr("smaf.core.masks._plain_mask", lambda *_: None)
    for path, mask in fast.items():
        slow = read_mask(path)
        assert mask.dtype == slow.dtype and mask.flags.writeable and mask.flags.c_contiguous
        np.testing.assert_array_equal(mask, slow)
    assert np.array_equal(fast[tmp_path / "turned.png"], np.rot90(values, -1))


def test_interlaced_pngs(tmp_path: Path) -> None:
    """Seven passes, put together by hand."""
    values = np.arange(11 * 13, dtype=np.uint8).reshape(11, 13)
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in passes
        for row in values[top::down, left::right]
        if row.size
    )
    header = struct.pack(">IIBBBBB", 13, 11, 8, 0, 0, 0, 1)
    (tmp_path / "m.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), values)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack("<HHI4s", 0x010F, 4, 1, b"abcd"),
        struct.pack("<HHI4s", 0x011A, 2, 4, b"abcd"),
        struct.pack("<HHI4s", 0x011A, 7, 4, b"abcd"),
        struct.pack("<HHII", 0x011A, 10, 1, 40),
    ],
)
def test_orientation_beside_damage(entry: bytes, tmp_path: Path) -> None:
    """An entry whose type does not fit its tag: the orientation is read, nothing else."""
    path = tmp_path / "a.jpg"
    image = Image.fromarray(np.kron(COLOUR, np.ones((16, 16, 1), np.uint8)))
    image.save(path, quality=95)
    plain = np.asarray(read_image(path))
    block = (
        b"Exif\0\0II*\0"
        + struct.pack("<IH", 8, 2)
        + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
        + entry
        + bytes(68)
    )
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:])
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.rot90(plain, -1))


def test_plain_tiffs_that_lie_on_their_side(tmp_path: Path) -> None:
    for bits, values in ((8, GREY), (16, GREY.astype(np.uint16) * 257)):
        path = write_tiff(tmp_path / "a.tif", values, bits=bits, tags=((274, 3, 8),))
        np.testing.assert_array_equal(np.asarray(read_image(path)), repeated(np.rot90(GREY)))
    np.testing.assert_array_equal(
        read_mask(write_tiff(path, GREY, tags=((274, 3, 6),))), np.rot90(GREY, -1)
    )


def test_want_of_memory_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    path = write_png(tmp_path / "a.png", GREY)
    monkeypatch.setattr(Image.Image, "load", full)
    with pytest.raises(InputError, match=r"photograph .*a\.png does not fit into the memory"):
        read_image(path)


def test_dark_files_of_16_bits_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "ab":
        Image.fromarray(np.array([[0, 4095]], dtype=np.uint16)).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(
            np.asarray(read_image(tmp_path / f"{name}.png")), repeated(np.array([[0, 16]]))
        )
    assert (
        len(caplog.records) == 1
        and f"a photograph in {tmp_path} has 16 bits and no value above 4095" in caplog.text
    )


def test_find_image_takes_the_first_folder_that_has_it(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    assert find_image(folders, "x") == tmp_path / "a" / "x.jpg"
    (tmp_path / "b" / "x.PNG").write_bytes(b"")
    assert find_image(folders, "x") == tmp_path / "b" / "x.PNG"
    (tmp_path / "a" / "x.jpeg").write_bytes(b"")
    assert find_image(folders, "x") == tmp_path / "a" / "x.jpeg"
    (tmp_path / "a" / "._x.png").write_bytes(b"")  # a Mac's
    (tmp_path / "a" / "x.txt").write_bytes(b"")
    assert find_image(folders, "x") == tmp_path / "a" / "x.jpeg"


def test_two_files_of_one_id_are_named(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.TIF", "y.png", "y.PNG"):
        (tmp_path / name).write_bytes(b"")
    if len(list(tmp_path.iterdir())) < 4:
        pytest.skip("the file system does not tell cases apart")
    with pytest.raises(
        InputError, match=r"has x\.TIF and x\.jpg, both of the id x: move one of them away"
    ):
        find_image([tmp_path], "x")
    with pytest.raises(InputError, match=r"has y\.PNG and y\.png"):
        find_image([tmp_path], "y", suffixes=MASK_SUFFIXES)
    assert find_image([tmp_path], "x", suffixes=MASK_SUFFIXES) == tmp_path / "x.TIF"


@pytest.mark.parametrize("suffix", [".Jpg", ".JPEG", ".TIF", ".Tiff", ".BMP", ".WEBP", ".PNG"])
def test_suffixes_of_any_case(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_bytes(b"")
    assert find_image([tmp_path], "x").name == f"x{suffix}"
