"""The random geometry does the same to photograph, saliency map and fused maps; the colours change
in bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from smaf.core.tensors import planes_of, resize_planes
from smaf.data import colours
from smaf.data.augment import Augmentation, Geometry, jitter_colours


def ramps(w: int, h: int) -> Tensor:
    """(2, h, w): x and y of each pixel's centre as a share of the image's size."""
    x = (torch.arange(w) + 0.5) / w
    y = (torch.arange(h) + 0.5) / h
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])


def test_cut_by_hand() -> None:
    plane = torch.arange(1.0, 7.0).reshape(1, 2, 3)  # 1 2 3 / 4 5 6
    assert Geometry((3, 2), False, 1, 0, 2).cut(plane)[0].tolist() == [[2, 3], [5, 6]]
    assert Geometry((3, 2), True, 1, 0, 2).cut(plane)[0].tolist() == [[2, 1], [5, 4]]
    padded = Geometry((3, 2), False, -1, -1, 4).cut(plane)
    assert padded[0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 4, 5, 6], [0, 0, 0, 0]]
    assert Geometry((3, 2), False, 2, -1, 3).cut(torch.zeros(1, 2, 5)).shape == (1, 3, 3)


@pytest.mark.parametrize("centres", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_grid_cut_and_planes_agree_on_a_ramp(seed: int, centres: bool) -> None:
    """Sampling the whole image by `grid` gives what resizing and cutting gives, flip and padding
    included."""
    rng = np.random.default_rng(seed)
    w, h = int(rng.integers(30, 120)), int(rng.integers(30, 120))
    geometry = Geometry.draw(
        rng, (w, h), Augmentation(long_side=(40, 130), crop=64, centres=centres)
    )
    side = 16
    planes = geometry.apply_planes(ramps(w, h), side)
    grid = geometry.grid(side)
    sampled = F.grid_sample(ramps(w, h)[None], grid[None], mode="bilinear", align_corners=False)[0]
    position = (grid.permute(2, 0, 1) + 1) / 2  # a ramp's value is its position
    margin = torch.tensor([2.0 / min(w, geometry.size[0]), 2.0 / min(h, geometry.size[1])])[
        :, None, None
    ]
    inside = ((position > margin) & (position < 1 - margin)).all(dim=0)
    outside = ((position < -margin) | (position > 1 + margin)).any(dim=0)
    assert inside.sum() > 10
    for values in (planes, sampled):
        torch.testing.assert_close(values[:, inside], position[:, inside], atol=1e-4, rtol=0)
        assert not values[:, outside].any()


@pytest.mark.parametrize("flip", [False, True])
def test_photograph_map_and_planes_show_the_same_place(flip: bool) -> None:
    """A bright square: its centre lands on the same place of the crop in all three."""
    pixels = np.zeros((60, 90), dtype=np.uint8)
    pixels[20:30, 60:76] = 255
    geometry = Geometry((120, 80), flip, 10 if not flip else -6, -8, 96)
    image = Image.fromarray(pixels)
    planes = (
        geometry.cut(resize_planes(torch.from_numpy(pixels)[None], geometry.size).float() / 255),
        geometry.apply_map(image),
        geometry.apply_planes(torch.from_numpy(pixels / 255.0).float()[None], 24),
    )
    centres = []
    for plane in planes:
        grey = plane[0].clamp(0, 1)
        side = len(grey)
        share = torch.arange(side) / (side - 1)
        centres.append(
            (
                float((grey.sum(0) * share).sum() / grey.sum()),
                float((grey.sum(1) * share).sum() / grey.sum()),
            )
        )
    # the square's middle is (68, 25): (90.67 - 0.5, 33.33 - 0.5) in the resized image
    x = 90.67 - 0.5
    expected = ((119 - x + 6) / 95 if flip else (x - 10) / 95, (33.33 - 0.5 + 8) / 95)
    for centre in centres:
        np.testing.assert_allclose(centre, expected, atol=0.01)


def test_draws_stay_in_their_ranges() -> None:
    rng = np.random.default_rng(0)
    ranges = Augmentation(long_side=(20, 60), crop=40, flip=0.25)
    drawn = [Geometry.draw(rng, (100, 50), ranges) for _ in range(2000)]
    assert {max(g.size) for g in drawn} == set(range(20, 61))
    assert all(g.size == (g.size[0], max(1, round(g.size[0] / 2))) for g in drawn)
    for g in drawn:
        assert min(0, g.size[0] - 40) <= g.left <= max(0, g.size[0] - 40)
        assert min(0, g.size[1] - 40) <= g.top <= max(0, g.size[1] - 40)
        assert g.cut(torch.zeros(1, g.size[1], g.size[0])).shape == (1, 40, 40)
    assert 0.21 < np.mean([g.flip for g in drawn]) < 0.29
    wide = [
        (g.left, g.size[0] - 40) for g in drawn if g.size[0] > 40
    ]  # both ends are reached, and no more
    assert min(left / end for left, end in wide) == 0 and max(left / end for left, end in wide) == 1


def test_thin_images_keep_a_pixel() -> None:
    geometry = Geometry.draw(
        np.random.default_rng(0), (1000, 1), Augmentation(long_side=(16, 16), crop=8)
    )
    assert geometry.size == (16, 1)
    assert geometry.apply_planes(torch.ones(2, 1, 1000), 2).shape == (2, 2, 2)


def jittered(seed: int, pixels: np.ndarray, strengths: tuple[float, ...]) -> np.ndarray:
    """Jittered (H, W, 3) uint8 pixels."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1)
    changed = jitter_colours(np.random.default_rng(seed), planes, strengths)
    return changed.permute(1, 2, 0).numpy()


def test_jitter_is_seeded_bounded_and_leaves_its_input() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    before = pixels.copy()
    a, b, c = (jittered(seed, pixels, (0.3, 0.3, 0.3, 0.1)) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.array_equal(before, pixels)
    still = jittered(3, pixels, (0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(
        still.astype(int), pixels.astype(int), atol=8
    )  # hue goes through HSV in bytes
    flat = np.full((2, 2, 3), 100, dtype=np.uint8)
    for seed in range(20):  # grey stays grey; brightness alone moves it
        grey = jittered(seed, flat, (0.3, 0.3, 0.3, 0.1))
        assert np.ptp(grey) == 0 and 69 <= grey[0, 0, 0] <= 130


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_colours_change_as_torchvision_changes_them(name: str) -> None:
    """Every grey, and 100,000 random colours; one level where a machine fuses sum and product."""
    rng = np.random.default_rng(0)
    greys = np.repeat(np.arange(256)[:, None], 3, axis=1)
    pixels = np.concatenate([greys, rng.integers(0, 256, (100_000, 3))]).astype(np.uint8)
    for factor in (-0.1, -0.043, 0.0, 0.02, 0.1) if name == "hue" else (0.0, 0.7, 0.91, 1.0, 1.3):
        planes = np.ascontiguousarray(pixels.T)
        getattr(colours, f"adjust_{name}")(planes, factor)
        expected = getattr(functional, f"adjust_{name}")(Image.fromarray(pixels[:, None]), factor)
        far = np.abs(planes.T.astype(int) - np.asarray(expected)[:, 0])
        assert far.max() <= 1 and (far > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("size", "most"), [((64, 40), 0.02), ((120, 90), 0.02), ((17, 200), 0.02), ((150, 1), 0.3)]
)
def test_photographs_are_resized_as_pillow_resizes_them(size: tuple[int, int], most: float) -> None:
    """By one grey level at most, and that seldom; more often where 60 lines become one."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (60, 90, 3)).astype(np.uint8)
    for image in (
        Image.fromarray(rough),
        Image.fromarray(rough).resize((90, 60), box=(0, 0, 9, 6)),
    ):
        resized = resize_planes(planes_of(image), size).permute(1, 2, 0).numpy().astype(int)
        far = np.abs(resized - np.asarray(image.resize(size, Image.Resampling.BICUBIC)))
        assert far.max() <= 1 and far.mean() < most


def test_masks_follow_the_photograph() -> None:
    """Nearest pixels, the photograph's flip and place, 255 as padding; the scale is of its own
    size."""
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:, :10] = 3
    cut = Geometry((30, 20), True, -5, 0, 40).apply_mask(mask)
    assert cut.shape == (40, 40) and cut.dtype == torch.int64
    assert (cut[:20, 5:25] == 0).all() and (cut[:20, 25:35] == 3).all()
    assert (cut[20:] == 255).all() and (cut[:, :5] == 255).all() and (cut[:, 35:] == 255).all()
    sizes = {
        Geometry.draw(
            np.random.default_rng(k), (100, 60), Augmentation(scale=(0.5, 1.5), crop=32)
        ).size[0]
        for k in range(200)
    }
    assert 50 <= min(sizes) < 55 and 145 < max(sizes) <= 150
