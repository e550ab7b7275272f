"""PAR against a loop over pixels and neighbours, and what it keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from smaf.ops import par_maps, sharpen_cams

DILATIONS = (1, 2, 4, 8, 12, 24)


def slow(image: np.ndarray, maps: np.ndarray, rounds: int) -> np.ndarray:
    """The published formula, pixel by pixel, in double precision: (3, H, W), (C, H, W)."""
    (_, h, w), steps = (
        image.shape,
        [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)],
    )
    moves = [(y * d, x * d) for d in DILATIONS for y, x in steps]
    distance = np.array([d * math.hypot(y, x) for d in DILATIONS for y, x in steps])
    near = np.exp(-((distance / (distance.std(ddof=1) + 1e-8) / 0.3) ** 2))
    weights, places = {}, {}
    for y in range(h):
        for x in range(w):
            at = [(min(max(y + v, 0), h - 1), min(max(x + u, 0), w - 1)) for v, u in moves]
            around = np.array([image[:, v, u] for v, u in at])
            scale = (around.std(axis=0, ddof=1) + 1e-8) * 0.3
            like = np.exp(-((np.abs(around - image[:, y, x]) / scale) ** 2).mean(axis=1))
            weights[y, x] = like / like.sum() + 0.01 * near / near.sum()
            places[y, x] = at
    for _ in range(rounds):
        new = np.zeros_like(maps)
        for (y, x), at in places.items():
            for weight, (v, u) in zip(weights[y, x], at, strict=True):
                new[:, y, x] += weight * maps[:, v, u]
        maps = new
    return maps


@pytest.mark.parametrize("shape", [(9, 12), (30, 7), (1, 5)])
def test_the_published_formula(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    image, maps = rng.random((2, 3, *shape)), rng.random((2, 4, *shape))
    image[0, :, :, 3:] *= 0.1
    ours = par_maps(
        torch.tensor(image), torch.tensor(maps, dtype=torch.float32), rounds=3, normalise=False
    )
    for n in range(2):
        assert np.abs(ours[n].numpy() - slow(image[n], maps[n], 3)).max() < 2e-5


def test_on_one_colour_all_neighbours_count_alike() -> None:
    """One round: the mean over the 48, and the share of the position, by hand for its nearest."""
    maps = torch.zeros(1, 1, 61, 61)
    maps[0, 0, 30, 30] = 1.0
    out = par_maps(torch.full((1, 3, 61, 61), 0.5), maps, rounds=1, normalise=False)[0, 0]
    distances = np.array([d * s for d in DILATIONS for s in (1.0, math.sqrt(2)) for _ in range(4)])
    near = np.exp(-((distances / (distances.std(ddof=1) * 0.3)) ** 2))
    for index, pixel in ((0, (30, 31)), (4, (29, 29)), (40, (30, 54)), (44, (54, 6))):
        expected = 1 / 48 + 0.01 * near[index] / near.sum()
        assert out[pixel].item() == pytest.approx(expected, abs=1e-7)
    assert out[30, 30] == 0 and out[27, 30] == 0  # the pixel itself has no say, nor do others
    assert (out > 0).sum() == 48 and out.sum().item() == pytest.approx(1.01, abs=1e-5)


def test_maps_that_sum_to_1_still_do() -> None:
    """Normalised, the default; the published weights let them grow by 1.01 a round."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 20, 30, generator=generator)
    maps = torch.randn(2, 4, 20, 30, generator=generator).softmax(dim=1)
    kept, grown = par_maps(image, maps), par_maps(image, maps, normalise=False)
    assert kept.sum(dim=1) == pytest.approx(torch.ones(2, 20, 30), abs=1e-5)
    assert grown.sum(dim=1) == pytest.approx(torch.full((2, 20, 30), 1.01**10), abs=1e-4)
    assert torch.equal(kept.argmax(dim=1), grown.argmax(dim=1))
    assert torch.equal(par_maps(image, maps, rounds=0), maps)
    assert par_maps(255 * image + 3, maps) == pytest.approx(kept, abs=1e-3)  # any range


def test_an_edge_of_colour_stops_the_averaging() -> None:
    """A map that leaks over an edge: after it the surface is nearly even on either side."""
    image = torch.zeros(1, 3, 40, 40)
    image[..., 20:] = 1.0
    maps = torch.zeros(1, 1, 40, 40)
    maps[..., 17:] = 1.0
    out = par_maps(image, maps)[0, 0]
    assert out[:, 22:].min() > 0.9 and out[:, :12].max() < 0.35
    assert maps.sum() == 40 * 23  # the input is as it was


def test_a_larger_image_is_averaged_to_the_maps() -> None:
    generator = torch.Generator().manual_seed(1)
    image, maps = torch.rand(1, 3, 32, 48, generator=generator), torch.rand(1, 2, 8, 12)
    small = image.reshape(1, 3, 8, 4, 12, 4).mean(dim=(3, 5))
    assert par_maps(image, maps) == pytest.approx(par_maps(small, maps), abs=1e-4)
    with pytest.raises(ValueError, match=r"expected image .*, got \(1, 3, 32, 48\) and \(2, 2,"):
        par_maps(image, torch.rand(2, 2, 8, 12))


def test_class_maps_of_a_photograph() -> None:
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    cams = {c: rng.random((40, 60), dtype=np.float32) for c in (2, 5)}
    sharp = sharpen_cams(photo, cams, long_side=None)
    planes = torch.from_numpy(np.stack([cams[2], cams[5]]))[None]
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    expected = par_maps(image.float(), planes)[0].numpy()
    assert list(sharp) == [2, 5] and np.array_equal(sharp[5], expected[1])
    assert sharpen_cams(photo, {}) == {}
    for bounds in ({"long_side": 30}, {"max_pixels": 600}):
        half = sharpen_cams(photo, cams, **bounds)[2]  # type: ignore[arg-type]
        assert half.shape == (40, 60) and abs(half.mean() - 0.5) < 0.05
    ones = sharpen_cams(photo, {0: np.full((40, 60), 0.25, np.float32)}, long_side=30)
    assert ones[0] == pytest.approx(0.25, abs=1e-5)
