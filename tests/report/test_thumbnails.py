"""The gallery's small pictures, read back."""

from __future__ import annotations

import base64
import io

import matplotlib
import numpy as np
from PIL import Image

from smaf.report.thumbnails import (
    MAP_SIDE,
    SIDE,
    fitted,
    grey_uri,
    map_uri,
    mask_uri,
    photo_uri,
    picture_uri,
)


def read(uri: str) -> Image.Image:
    kind, data = uri.split(",")
    assert kind in {f"data:image/{k};base64" for k in ("webp", "jpeg", "png")}
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_photograph_is_made_small_and_stays_itself() -> None:
    photo = Image.new("RGB", (500, 375), (200, 40, 90))
    small = read(photo_uri(photo))
    assert small.size == (SIDE, 216) == fitted(photo.size)
    assert np.abs(np.asarray(small.convert("RGB")).astype(int) - (200, 40, 90)).max() < 8
    assert read(photo_uri(Image.new("RGB", (30, 20)))).size == (30, 20)


def test_a_mask_keeps_its_colours_and_background_is_clear() -> None:
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, :10], mask[:, 10:20] = 2, 255
    picture = np.asarray(read(mask_uri(mask)).convert("RGBA"))
    assert picture[0, 0].tolist() == [0, 128, 0, 255]
    assert picture[0, 15].tolist() == [224, 224, 224, 255] and picture[0, 25, 3] == 0
    assert np.asarray(read(mask_uri(mask[:, 20:])).convert("RGBA"))[..., 3].max() == 0


def test_a_map_is_turbo_and_clear_at_zero() -> None:
    values = np.zeros((192, 384), dtype=np.float32)
    values[:, 192:] = 1.0
    picture = read(map_uri(values)).convert("RGBA")
    assert picture.size == (MAP_SIDE, 48)
    pixels = np.asarray(picture)
    assert pixels[0, 0, 3] == 0
    assert pixels[0, -1].tolist() == list(matplotlib.colormaps["turbo"](1.0, bytes=True))


def test_greys_and_flat_pictures() -> None:
    grey = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 40, axis=1))
    assert np.asarray(read(grey_uri(grey)).convert("RGBA"))[0, [0, -1], 0].tolist() == [0, 255]
    flat = np.zeros((10, 12, 3), dtype=np.uint8)
    flat[:, 6:] = (128, 0, 0)
    assert np.array_equal(np.asarray(read(picture_uri(flat)).convert("RGB")), flat)


def test_2000_photographs_fit_into_a_page() -> None:
    """A photograph of noise over a gradient, eight masks and maps of it: at most 25 KB."""
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(375)[:, None] / 40) + np.cos(np.arange(500)[None] / 60)
    pixels = 128 + 50 * waves[..., None] + rng.normal(0, 12, (375, 500, 3))
    photo = photo_uri(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    mask = (waves > 0.5).astype(np.uint8) + 2 * (waves < -1).astype(np.uint8)
    layers = [mask_uri(mask)] * 5 + [map_uri((waves + 2) / 4)] * 3
    assert len(photo) + sum(map(len, layers)) < 25_000
