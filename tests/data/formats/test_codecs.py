"""Run lengths and outlines, worked out by hand and held against pycocotools."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from handing_over import iou, noise
from PIL import Image
from pycocotools import mask as mask_api

from smaf.core.inner_png import binary_of, binary_text, open_png
from smaf.data.formats.brush import decode_brush, encode_brush
from smaf.data.formats.coco import encode
from smaf.data.formats.cvat import pixels_of, run_lengths
from smaf.data.formats.drawing import draw_polygons, flat, inside, outline, simplified
from smaf.data.formats.format import Region
from smaf.data.formats.outlines import connected_parts, polygons
from smaf.data.prepare.coco_masks import decode_region

# .##
# ..#
MASK = np.array([[False, True, True], [False, False, True]])


def test_cocos_code_goes_down_the_columns() -> None:
    """Columns 00 10 11: two of 0, one, one of 0, two; the fourth less the second is 1."""
    code = encode(Region(0, 0, 0, MASK), (3, 2))
    assert code == {"size": [2, 3], "counts": "2111"}
    np.testing.assert_array_equal(decode_region({**code, "counts": code["counts"].encode()}), MASK)


def test_cocos_code_of_small_objects_is_that_of_large_ones() -> None:
    rng = np.random.default_rng(2)
    for x, y in ((0, 0), (37, 26), (12, 9), (0, 26), (37, 0)):
        pixels = noise(rng, (4, 3)) > 0
        pixels[0, 0] = pixels[-1, -1] = True
        region = Region(0, x, y, pixels)
        whole = np.asfortranarray(region.whole((40, 30)), dtype=np.uint8)
        assert encode(region, (40, 30))["counts"] == mask_api.encode(whole)["counts"].decode()


def test_cvats_code_goes_along_the_rows_and_begins_with_zeros() -> None:
    assert run_lengths(MASK) == [1, 2, 2, 1]
    assert run_lengths(MASK[:, 1:]) == [0, 2, 1, 1]  # 11, 01
    np.testing.assert_array_equal(pixels_of("0, 2,1,1", (2, 2)), MASK[:, 1:])
    for text in ("1,2", "1,2,2,-1,2", "x", "", "1,2,2,1,1"):
        with pytest.raises(ValueError, match="run lengths"):
            pixels_of(text, (3, 2))


def test_label_studios_code_bit_by_bit() -> None:
    """Two pixels, the first one set: 8 values; 8 bits each; sizes 3, 4, 8, 16; two runs of 4."""
    bits = (
        f"{8:032b}" + f"{7:05b}" + "0010" + "0011" + "0111" + "1111"
        "1" + "00" + "011" + "11111111"  # the same, size 3, length 4, 255
        "1" + "00" + "011" + "00000000"
    )  # fmt: skip
    bits += "0" * (-len(bits) % 8)
    expected = [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]
    assert encode_brush(np.array([[True, False]])) == expected
    assert decode_brush(expected, (2, 1)).tolist() == [[True, False]]


def test_label_studios_code_of_values_that_differ() -> None:
    """Its own editor writes runs of single values: 1, 2, 3, 0 is a pixel without alpha."""
    bits = f"{4:032b}" + f"{7:05b}" + "0010" + "0011" + "0111" + "1111" + "0" + "00" + "011"
    bits += "".join(f"{value:08b}" for value in (1, 2, 3, 0))
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]
    assert decode_brush(code, (1, 1)).tolist() == [[False]]


def test_long_runs_are_several() -> None:
    whole = np.ones((300, 260), dtype=bool)  # 312,000 values
    np.testing.assert_array_equal(decode_brush(encode_brush(whole), (260, 300)), whole)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ([255] * 12, "are of 4294967295 values, expected 2·1·4"),
        ([0, 0, 0, 8, 57, 27, 252, 127], "cut short"),
        ([0, 0, 0, 8, 57, 27, 255, 255, 255, 255], "more than the picture has values"),
        ([0, 300], "no list of bytes"),
        ("AAAA", "cut short"),
    ],
)
def test_damaged_run_lengths_are_refused(code: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode_brush(code, (2, 1))


def test_a_png_in_a_text() -> None:
    np.testing.assert_array_equal(binary_of(binary_text(MASK)), MASK)
    stream = io.BytesIO()
    Image.fromarray(MASK).save(stream, format="PNG")  # of one bit
    np.testing.assert_array_equal(binary_of(base64.b64encode(stream.getvalue()).decode()), MASK)
    for text, told in (("???", "no base64|not base64"), ("AAAA", "no PNG")):
        with pytest.raises(ValueError, match=told):
            binary_of(text)
    with pytest.raises(ValueError, match="cannot be read"):
        open_png(stream.getvalue()[:45])
    huge = bytearray(stream.getvalue())
    huge[16:24] = struct.pack(">II", 12_000, 12_000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    with pytest.raises(ValueError, match="12000×12000 pixels, more than are read"):
        open_png(bytes(huge))


def test_a_ring_becomes_two_pieces_or_more_without_holes() -> None:
    ring = np.ones((5, 5), dtype=bool)
    ring[2, 2] = False
    found = polygons(ring)
    assert len(found) == 2
    np.testing.assert_array_equal(draw_polygons([flat(p) for p in found], (5, 5)), ring)


def test_pixels_that_touch_in_a_corner_are_two_parts() -> None:
    assert polygons(np.eye(2, dtype=bool)) == [
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(1, 1), (2, 1), (2, 2), (1, 2)],
    ]
    u = np.array([[1, 0, 1], [1, 0, 1], [1, 1, 1]], dtype=bool)
    assert len(connected_parts(u)) == 1
    assert polygons(u) == [[(0, 0), (1, 0), (1, 2), (2, 2), (2, 0), (3, 0), (3, 3), (0, 3)]]


def test_polygons_cover_the_same_pixels_and_nothing_twice() -> None:
    rng = np.random.default_rng(5)
    for share in np.linspace(0.05, 1.0, 40):
        shape = (int(rng.integers(1, 16)), int(rng.integers(1, 16)))
        region = noise(rng, shape, share=share) > 0
        if not region.any():
            continue
        assert sum(part.pixels.sum() for part in connected_parts(region)) == region.sum()
        lines = [flat(points) for points in polygons(region)]
        drawn = sum(mask_api.decode(mask_api.frPyObjects([line], *shape))[..., 0] for line in lines)
        np.testing.assert_array_equal(drawn, region.astype(int))


def test_fewer_points_within_the_tolerance() -> None:
    y, x = np.mgrid[:60, :60]
    disc = (x - 30) ** 2 + (y - 30) ** 2 < 400
    exact, fewer = outline(disc)[0], outline(disc, tolerance=0.8)[0]
    assert len(fewer) < len(exact) / 2
    assert iou(draw_polygons([flat(fewer)], (60, 60)), disc) > 0.95
    assert outline(np.ones((1, 1), dtype=bool), tolerance=9.0) == [
        [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    ]  # never less than three points: then all
    assert simplified([(0, 0), (2, 0), (2, 2)], 0.0) == [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0)]


def test_points_that_are_none() -> None:
    for points in (None, [[1]], [["a", 1]], [[1, float("nan")]], 3):
        with pytest.raises(ValueError, match="no list of x, y"):
            flat(points)
    assert inside([-1, 5, 99, 99], (10, 20)) == [0.0, 5.0, 10.0, 20.0]
    with pytest.raises(ValueError, match="covers no pixel"):
        draw_polygons([[1, 1, 2, 2]], (5, 5))
