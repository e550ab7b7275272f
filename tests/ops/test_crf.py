"""Dense CRF against a plain implementation, and its edges; the release's mask is in
test_golden_ops."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from PIL import Image

from smaf.core.compiled import compiled, tell_of_compiling
from smaf.ops import Bilateral, DenseCrf, Gaussian, crf_labels, crf_softmax, dense_crf
from smaf.ops.crf import HARD_LABELS, SOFTMAX, CrfSettings
from smaf.ops.crf.lattice import make_lattice

# Widths that leave no point on an edge of a simplex, where rounding decides
GAUSSIAN, BILATERAL = Gaussian(1, xy=2.2), Bilateral(2, xy=8.1, rgb=20.3)


def halves() -> tuple[np.ndarray, np.ndarray]:
    """A dark and a bright half, and a mask of the bright one with a hole and a speck."""
    image = np.full((24, 32, 3), 20, dtype=np.uint8)
    image[:, 16:] = 230
    mask = np.zeros((24, 32), dtype=np.uint8)
    mask[:, 16:] = 2
    mask[10:12, 24:26] = 0
    mask[5, 4] = 1
    return image, mask


def noise(shape: tuple[int, int], labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A smooth noisy image and energies of labels that follow it a little."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(small).resize(shape[::-1], Image.Resampling.BICUBIC))
    image = np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
    return image, rng.random((labels, *shape)).astype(np.float32) * 3


def corners(point: np.ndarray) -> list[tuple[tuple[int, ...], float]]:
    """The vertices of a point's simplex and its shares in them (Adams et al., 2010)."""
    d = len(point)
    c = [f * np.sqrt(2 / 3) * (d + 1) / np.sqrt((i + 1) * (i + 2)) for i, f in enumerate(point)]
    elevated = [sum(c[j:]) - (j * c[j - 1] if j else 0) for j in range(d + 1)]
    nearest = [round(e / (d + 1)) * (d + 1) for e in elevated]

    def ranked() -> list[int]:
        return sorted(range(d + 1), key=lambda j: nearest[j] - elevated[j])

    turns = round(sum(nearest) / (d + 1))
    for j in ranked()[d + 1 - turns :] if turns > 0 else ranked()[: max(0, -turns)]:
        nearest[j] -= int(np.sign(turns)) * (d + 1)
    away = [(elevated[j] - nearest[j]) / (d + 1) for j in ranked()]
    found = []
    for r in range(d + 1):
        vertex = [x + r for x in nearest]
        for j in ranked()[d + 1 - r :]:
            vertex[j] -= d + 1
        share = away[d - r] - away[d - r + 1] if r else 1 + away[d] - away[0]
        found.append((tuple(vertex), share))
    return found


def plain_filter(features: np.ndarray) -> np.ndarray:
    """Features (d, N) → (N, N): the lattice's filter as a product of matrices."""
    d, n = features.shape
    simplices = [corners(point) for point in features.T]
    vertices = sorted({vertex for simplex in simplices for vertex, _ in simplex})
    number = {vertex: v for v, vertex in enumerate(vertices)}
    splat = np.zeros((len(vertices), n))
    for p, simplex in enumerate(simplices):
        for vertex, share in simplex:
            splat[number[vertex], p] = share
    values = splat
    for axis in range(d + 1):
        blur = np.eye(len(vertices))
        for vertex in vertices:
            beside = tuple(x + 1 - (d + 1) * (j == axis) for j, x in enumerate(vertex))
            if beside in number:
                blur[number[vertex], number[beside]] = blur[number[beside], number[vertex]] = 0.5
        values = blur @ values
    return splat.T @ values / (1 + 2.0**-d)


def features_of(image: np.ndarray, xy: float, rgb: float | None = None) -> np.ndarray:
    place = np.indices(image.shape[:2])[::-1].reshape(2, -1) / xy
    return place if rgb is None else np.concatenate([place, image.reshape(-1, 3).T / rgb])


def plain_crf(image: np.ndarray, unary: np.ndarray, settings: CrfSettings) -> np.ndarray:
    """Mean field in double precision, without any of the shortcuts."""
    near, edges = settings.gaussian, settings.bilateral
    kernels = []
    for weight, features in (
        (near.weight, features_of(image, near.xy)),
        (edges.weight, features_of(image, edges.xy, edges.rgb)),
    ):
        k = plain_filter(features)
        norm = 1 / np.sqrt(k.sum(axis=1) + 1e-20)
        kernels.append(weight * norm[:, None] * k * norm)
    energy = -unary.reshape(len(unary), -1).astype(np.float64)
    q = np.exp(energy) / np.exp(energy).sum(axis=0)
    for _ in range(settings.steps):
        q = np.exp(energy + sum(q @ k.T for k in kernels))
        q /= q.sum(axis=0)
    return q.reshape(unary.shape)


@pytest.mark.parametrize(("xy", "rgb"), [(1, None), (3, None), (7.5, 15), (50, 5), (4, 60)])
def test_the_lattice_filters_as_its_definition_says(xy: float, rgb: float | None) -> None:
    features = features_of(noise((9, 11), 1)[0], xy, rgb)
    lattice = make_lattice(features, 11)
    n = features.shape[1]
    values, out = np.eye(n, dtype=np.float32), np.zeros((n, n), dtype=np.float32)
    ones = np.ones(n, dtype=np.float32)
    for first in range(0, n, 4):  # four columns at a time
        block = np.ascontiguousarray(values[:, first : first + 4])
        part = np.zeros_like(block)
        lattice.add_filtered(block, ones, ones, part)
        out[:, first : first + 4] = part
    np.testing.assert_allclose(out, plain_filter(features), atol=2e-5)
    np.testing.assert_allclose(lattice.weights.sum(axis=1), 1, atol=1e-5)


def test_the_lattice_blurs_as_a_gaussian_does() -> None:
    features = features_of(np.zeros((40, 40, 3), np.uint8), 4.0)
    spot = np.zeros((1600, 1), dtype=np.float32)
    spot[20 * 40 + 20] = 1
    out, ones = np.zeros_like(spot), np.ones(1600, dtype=np.float32)
    make_lattice(features, 40).add_filtered(spot, ones, ones, out)
    apart = features - features[:, [20 * 40 + 20]]
    gaussian = np.exp(-(apart**2).sum(axis=0) / 2)
    assert np.corrcoef(out[:, 0], gaussian)[0, 1] > 0.98


@pytest.mark.parametrize("labels", [2, 3, 5, 6, 12])
@pytest.mark.parametrize("settings", [CrfSettings(GAUSSIAN, BILATERAL, 5), HARD_LABELS, SOFTMAX])
def test_mean_field_is_that_of_a_plain_implementation(labels: int, settings: CrfSettings) -> None:
    image, unary = noise((10, 13), labels, seed=labels)
    before = unary.copy()
    refined = dense_crf(
        image, unary, gaussian=settings.gaussian, bilateral=settings.bilateral, steps=settings.steps
    )
    expected = plain_crf(image, unary, settings)
    np.testing.assert_allclose(refined, expected, atol=2e-4)
    np.testing.assert_array_equal(unary, before)


def test_labels_of_equal_energies_are_worked_on_once_and_come_out_equal() -> None:
    image, unary = noise((10, 13), 4)
    many = unary[[0, 1, 2, 1, 3, 1, 1]]
    settings = CrfSettings(GAUSSIAN, BILATERAL)
    refined = dense_crf(image, many, gaussian=GAUSSIAN, bilateral=BILATERAL)
    np.testing.assert_allclose(refined, plain_crf(image, many, settings), atol=2e-4)
    for same in (3, 5, 6):
        np.testing.assert_array_equal(refined[same], refined[1])


def test_hard_labels_are_the_whole_softmax_of_all_classes() -> None:
    """21 labels, 18 of which no pixel has, against all 21 columns."""
    image, _ = noise((10, 13), 1)
    mask = np.random.default_rng(3).choice([0, 4, 20], (10, 13)).astype(np.uint8)
    unary = np.where(mask == np.arange(21)[:, None, None], -np.log(0.7), -np.log(0.3 / 20))
    expected = plain_crf(image, unary, HARD_LABELS).argmax(axis=0)
    np.testing.assert_array_equal(crf_labels(image, mask, num_classes=21), expected)


@pytest.mark.parametrize("number", [3, 21])
def test_masks_are_those_of_pydensecrf(number: int) -> None:
    """At least 99.99 % of the pixels, where that package happens to be installed."""
    reference = pytest.importorskip("pydensecrf.densecrf")
    image, unary = noise((150, 201), number)
    unary = np.array([np.array(Image.fromarray(u).resize((201, 150))) for u in unary[:, :9, :11]])
    for settings in (HARD_LABELS, SOFTMAX):
        crf = reference.DenseCRF2D(201, 150, number)
        crf.setUnaryEnergy(np.ascontiguousarray(unary.reshape(number, -1)))
        near, edges = settings.gaussian, settings.bilateral
        crf.addPairwiseGaussian(sxy=near.xy, compat=near.weight)
        crf.addPairwiseBilateral(sxy=edges.xy, srgb=edges.rgb, rgbim=image, compat=edges.weight)
        expected = np.array(crf.inference(10)).reshape(unary.shape)
        refined = dense_crf(image, unary, gaussian=near, bilateral=edges)
        assert (refined.argmax(axis=0) == expected.argmax(axis=0)).mean() >= 0.9999
        np.testing.assert_allclose(refined, expected, atol=5e-3)
        assert (refined.argmax(axis=0) != unary.argmin(axis=0)).any()


def test_hole_and_speck_are_mended() -> None:
    image, mask = halves()
    before = mask.copy()
    refined = crf_labels(image, mask, num_classes=3)
    expected = np.zeros_like(mask)
    expected[:, 16:] = 2
    np.testing.assert_array_equal(refined, expected)
    np.testing.assert_array_equal(crf_labels(Image.fromarray(image), mask, num_classes=3), expected)
    np.testing.assert_array_equal(mask, before)


def test_softmax_stays_a_distribution_and_follows_the_edge() -> None:
    image, mask = halves()
    certain = np.full((3, 24, 32), 0.1, dtype=np.float32)
    np.put_along_axis(certain, mask[None].astype(np.int64), np.float32(0.8), axis=0)
    refined = crf_softmax(image, certain)
    np.testing.assert_allclose(refined.sum(axis=0), 1.0, atol=1e-4)
    assert refined.argmax(axis=0)[10, 24] == 2 and refined.argmax(axis=0)[5, 4] == 0


def test_lattices_serve_any_number_of_energies() -> None:
    image, unary = noise((10, 13), 3)
    crf = DenseCrf(image, gaussian=GAUSSIAN, bilateral=BILATERAL)
    for energies in (unary, unary[::-1].copy(), unary[:2]):
        once = dense_crf(image, energies, gaussian=GAUSSIAN, bilateral=BILATERAL)
        np.testing.assert_array_equal(crf(energies), once)


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
@pytest.mark.parametrize("labels", [1, 2, 9])
def test_small_images_and_few_labels(shape: tuple[int, int], labels: int) -> None:
    image = np.zeros((*shape, 3), dtype=np.uint8)
    unary = np.arange(labels, dtype=np.float32)[:, None, None] * np.ones(shape, np.float32)
    refined = dense_crf(image, unary, gaussian=GAUSSIAN, bilateral=BILATERAL)
    assert refined.shape == unary.shape and refined.dtype == np.float32
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-5)
    assert (refined.argmax(axis=0) == 0).all()


def test_no_kernel_is_the_softmax_of_the_energies() -> None:
    image, unary = noise((5, 6), 3)
    softmax = np.exp(-unary) / np.exp(-unary).sum(axis=0)
    np.testing.assert_allclose(dense_crf(image, unary), softmax, atol=1e-6)


def test_wrong_input_is_refused() -> None:
    image, mask = halves()
    with pytest.raises(ValueError, match=r"expected below num_classes = 2"):
        crf_labels(image, mask, num_classes=2)
    for wrong in (image.astype(np.float32), image[:, :, 0]):
        with pytest.raises(ValueError, match="expected an RGB image"):
            crf_labels(wrong, mask, num_classes=3)
    with pytest.raises(ValueError, match=r"expected energies \(T, 24, 31\), got \(3, 24, 32\)"):
        crf_labels(image[:, :-1], mask, num_classes=3)
    unary = np.zeros((2, 24, 32), dtype=np.float32)
    with pytest.raises(ValueError, match="too narrow for this image"):
        dense_crf(image, unary, bilateral=Bilateral(1, xy=1e-4, rgb=1e-4))
    unary[1, 3, 3] = np.inf
    with pytest.raises(ValueError, match="must be finite"):
        dense_crf(image, unary, gaussian=GAUSSIAN)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_kernels_have_widths(value: float) -> None:
    makers: list[Callable[[], Any]] = [
        lambda: Gaussian(1, xy=value),
        lambda: Gaussian(value, xy=1),
        lambda: Bilateral(1, xy=1, rgb=value),
    ]
    for make in makers:
        with pytest.raises(ValueError, match="expected a number above 0"):
            make()


def test_kernels_of_a_smaller_photograph() -> None:
    assert SOFTMAX.scaled(0.5) == CrfSettings(Gaussian(3, xy=1), Bilateral(4, xy=33.5, rgb=3))
    assert HARD_LABELS.scaled(0.5).gaussian.xy == 1.5


_ALL_USES = """
import numpy as np
from numba.core.dispatcher import Dispatcher
from smaf.ops import refine_cams, refine_mask
from smaf.ops.crf import dense, lattice, warm_up
from PIL import Image

def compiled():
    loops = {**vars(dense), **vars(lattice)}.items()
    return {name: len(loop.signatures) for name, loop in loops if isinstance(loop, Dispatcher)}

warm_up.main()
before, some = compiled(), np.random.default_rng(0)
photo = Image.fromarray(some.integers(0, 255, (30, 40, 3), dtype=np.uint8))
for k in (1, 2, 3, 6):
    cams = {c: some.random((30, 40), dtype=np.float32) for c in range(k)}
    refine_cams(photo, cams, backgrounds=[0.3], saliency=photo.convert("L"), saliency_weight=0.6)
    refine_mask(photo, some.integers(0, k + 1, (30, 40)).astype(np.uint8), num_classes=k + 1)
assert sum(before.values()) > 15 and compiled() == before, (before, compiled())
"""


def test_the_warm_up_leaves_nothing_to_compile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALL_USES], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def test_without_a_place_for_its_cache_the_crf_is_compiled_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = numba.njit

    def njit(**options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)

    def double(x: float) -> float:
        return x + x

    assert compiled(double)(21) == 42


def test_compiling_is_told_until_its_code_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "doubling.py").write_text("def doubled(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    doubled = importlib.import_module("doubling").doubled
    function = compiled(doubled)
    caplog.set_level("INFO", "smaf")
    monkeypatch.setattr(logging.getLogger("smaf"), "propagate", True)
    tell_of_compiling(function, "a sum")
    assert caplog.messages == ["compiling a sum: up to half a minute, once"]
    assert function(4) == 8
    tell_of_compiling(function, "a sum")
    tell_of_compiling(doubled, "a sum")  # as with NUMBA_DISABLE_JIT
    assert len(caplog.messages) == 1
