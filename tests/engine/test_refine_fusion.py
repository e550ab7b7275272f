"""Between stages 1 and 2: fused maps refined by edges and saliency; and stage 3's CRF on maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_set import PICTURES, good, run, stage2, stage3, stamps

from smaf import refine_fusion
from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_image, read_mask
from smaf.ops import DenseCrf, crf_cams, sharpen_cams
from smaf.ops.crf import CrfSettings, crf_of
from smaf.ops.refine import crf_photo, refine_cams, refined_mask


def refine(small: Path, cams: Path, out: Path, *extra: object):
    return run(
        refine_fusion.main,
        "--data_root",
        small,
        "--list",
        "all",
        "--cam_dir",
        cams,
        "--out",
        out,
        "--num_workers",
        0,
        *extra,
    )


def test_files_are_what_the_operation_gives(small: Path, cams: Path, tmp_path: Path) -> None:
    good(refine(small, cams, tmp_path / "r", "--background", 0.3, "--saliency_weight", 0.6))
    for image_id, (w, h, shown) in PICTURES.items():
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        saliency = (
            np.array(Image.open(small / "SALImages" / f"{image_id}.png"), dtype=np.float32) / 255
        )
        expected = crf_cams(
            photo,
            read_fused(cams / f"{image_id}.npz", num_classes=3),
            background=0.3,
            saliency=saliency,
            saliency_weight=0.6,
        )
        refined = read_fused(tmp_path / "r" / f"{image_id}.npz", num_classes=3)
        assert set(refined) == set(shown) and refined[shown[0]].shape == (h, w)
        for c in shown:
            assert np.abs(refined[c] - expected[c]).max() < 6e-4
    before = stamps(tmp_path / "r")
    good(refine(small, cams, tmp_path / "r", "--background", 0.3, "--saliency_weight", 0.6))
    assert {k: v for k, v in stamps(tmp_path / "r").items() if k.endswith(".npz")} == {
        k: v for k, v in before.items() if k.endswith(".npz")
    }
    done = refine(small, cams, tmp_path / "r", "--background", 0.4)
    assert done.status == 2 and "other settings" in done.lines[0]


def test_refined_maps_train_the_student(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    good(refine(small, cams, tmp_path / "r"))
    good(
        stage2(
            small,
            classifier,
            tmp_path / "r",
            tmp_path / "s",
            "--steps",
            2,
            "--soft_background",
            "--cells",
            "centres",
        )
    )
    assert (tmp_path / "s/classifier.pth").is_file()


def test_stage3_on_maps(small: Path, classifier: Path, cams: Path, tmp_path: Path) -> None:
    """From stored maps and from the classifier: the same masks but where rounding decides."""
    good(stage3(small, tmp_path / "a", "--cam_dir", cams, "--threshold", 0.3, "--crf", "maps"))
    good(
        stage3(small, tmp_path / "b", "--weights", classifier, "--threshold", 0.3, "--crf", "maps")
    )
    for image_id, (w, h, _) in PICTURES.items():
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        expected = refined_mask(
            refine_cams(
                photo, read_fused(cams / f"{image_id}.npz", num_classes=3), backgrounds=[0.3]
            )[0],
            (h, w),
        )
        assert np.array_equal(read_mask(tmp_path / "a" / f"{image_id}.png"), expected)
        assert np.array_equal(read_mask(tmp_path / "b" / f"{image_id}.png"), expected)
    assert (tmp_path / "b/before_crf/p0.npz").is_file()


def test_missing_saliency_is_named(small: Path, cams: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "set"
    shutil.copytree(small, root)
    (root / "SALImages/p2.png").unlink()
    done = refine(root, cams, tmp_path / "r", "--saliency_weight", 1)
    assert (
        done.status == 2 and "p2.png" in done.lines[0] and not list((tmp_path / "r").glob("*.npz"))
    )
    good(refine(root, cams, tmp_path / "r"))  # without saliency it is not needed


def test_smaller_size_shrinks_the_kernels() -> None:
    """At half the side the refined map is about the whole one: the square's edge is found in
    both."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 20, (80, 120, 3)).astype(np.uint8)
    pixels[20:60, 30:90] += 150
    cam = np.zeros((80, 120), dtype=np.float32)
    cam[12:68, 22:98] = 0.7
    photo = Image.fromarray(pixels)
    whole = refined_mask(refine_cams(photo, {1: cam}, backgrounds=[0.5])[0], (80, 120))
    (half,) = refine_cams(photo, {1: cam}, backgrounds=[0.5], long_side=60)
    assert half[1].shape == (80, 120)
    assert (refined_mask(half, (80, 120)) != whole).mean() < 0.05


def test_kernels_are_those_of_a_photograph_of_500_pixels() -> None:
    for size, side, factor in (
        ((500, 375), 250, 0.5),
        ((240, 180), 250, 1),
        ((300, 200), 250, 250 / 300),
        ((4000, 3000), 250, 0.5),
        ((4000, 3000), 1000, 2),
        ((999, 700), 1000, 1.998),
        ((1001, 700), 1000, 2),
    ):
        smaller, kernels = crf_photo(Image.new("RGB", size), long_side=side)
        assert max(smaller.size) == min(side, max(size))
        assert kernels.bilateral.xy == pytest.approx(67 * factor)
        assert kernels.gaussian.xy == max(1, factor)
    smaller, kernels = crf_photo(Image.new("RGB", (4000, 20)), long_side=100)
    assert smaller.size == (100, 1)


@pytest.mark.parametrize("long_side", [None, 200, 60])
def test_no_longer_side_exceeds_the_size_cap(
    long_side: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer side than the photograph's enlarges nothing; a shorter one is bounded, too."""
    sizes = []

    def noting(image: Image.Image, settings: CrfSettings) -> DenseCrf:
        sizes.append((*image.size, settings.bilateral.xy))
        return crf_of(image, settings)

    monkeypatch.setattr("smaf.ops.refine.crf_of", noting)
    photo = Image.fromarray(np.zeros((80, 120, 3), dtype=np.uint8))
    cam = np.full((80, 120), 0.7, dtype=np.float32)
    (maps,) = refine_cams(photo, {1: cam}, backgrounds=[0.5], long_side=long_side, max_pixels=2400)
    assert maps[1].shape == (80, 120)
    (w, h, xy), scaled = sizes[0], long_side is not None
    assert w * h <= 2400 * 1.02 and xy == pytest.approx(67 * (w / 120 if scaled else 1))


def test_saliency_speaks_for_classes_and_never_against() -> None:
    photo = Image.fromarray(np.full((20, 30, 3), 90, dtype=np.uint8))
    cam = np.full((20, 30), 0.3, dtype=np.float32)
    plain = crf_cams(photo, {0: cam}, background=0.3)[0]
    quiet = crf_cams(
        photo, {0: cam}, background=0.3, saliency=np.zeros((20, 30), dtype=np.float32)
    )[0]
    loud = crf_cams(photo, {0: cam}, background=0.3, saliency=np.ones((20, 30), dtype=np.float32))[
        0
    ]
    assert np.array_equal(plain, quiet) and plain == pytest.approx(0.5, abs=1e-3)
    assert (loud > 0.9).all()
    assert crf_cams(photo, {}, background=0.3) == {}


def test_saliency_alone_needs_no_crf(small: Path, cams: Path, tmp_path: Path) -> None:
    """Probabilities of [0.25, map · odds^weight]: where saliency is 1 (odds at most 19), by
    hand."""
    good(
        refine(
            small, cams, tmp_path / "r", "--no_crf", "--saliency_weight", 0.5, "--background", 0.25
        )
    )
    saliency = np.array(Image.open(small / "SALImages/p0.png")) > 0
    cam = read_fused(cams / "p0.npz", num_classes=3)[0]
    refined = read_fused(tmp_path / "r/p0.npz", num_classes=3)[0]
    strength = np.maximum(cam, 1e-4) * np.where(saliency, 19.0**0.5, 1.0)
    assert np.abs(refined - strength / (strength + 0.25)).max() < 6e-4
    done = refine(small, cams, tmp_path / "n", "--no_crf")
    assert done.status == 2 and "--sharpen refines nothing" in done.lines[0]


def test_par_in_the_place_of_crf(small: Path, cams: Path, tmp_path: Path) -> None:
    """Probabilities of [0.25, sharpened map], at the size that is asked for."""
    good(refine(small, cams, tmp_path / "r", "--no_crf", "--sharpen", "par", "--background", 0.25))
    words = ("--no_crf", "--sharpen", "par", "--background", 0.25, "--long_side", 30)
    good(refine(small, cams, tmp_path / "half", *words))
    for image_id in ("p0", "p3"):
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        stored = read_fused(cams / f"{image_id}.npz", num_classes=3)
        for name, side in (("r", None), ("half", 30)):
            sharp = sharpen_cams(photo, stored, long_side=side)
            total = 0.25 + sum(np.maximum(cam, 1e-4) for cam in sharp.values())
            refined = read_fused(tmp_path / name / f"{image_id}.npz", num_classes=3)
            for c, cam in sharp.items():
                expected = np.maximum(cam, 1e-4) / total
                assert np.abs(refined[c] - expected).max() < (6e-4 if side is None else 0.1)
        assert np.abs(stored[0] - sharp[0]).max() > 0.02


def test_label_and_size_are_held_before_the_crf(small: Path, cams: Path, tmp_path: Path) -> None:
    """A map of a class that the label denies has no say; one of another size is an error that names
    it."""
    import shutil

    folder = tmp_path / "cams"
    shutil.copytree(cams, folder)
    (w, h, (shown,)) = PICTURES["p0"]
    own = read_fused(cams / "p0.npz", num_classes=3)[shown]
    write_fused(folder / "p0.npz", {shown: own, 2: np.ones((h, w), dtype=np.float32)}, (h, w))
    good(refine(small, folder, tmp_path / "a"))
    good(refine(small, cams, tmp_path / "b"))
    a, b = (read_fused(tmp_path / name / "p0.npz", num_classes=3) for name in "ab")
    assert set(a) == set(b) == {shown} and np.array_equal(a[shown], b[shown])
    for name, source in (("c", folder), ("d", cams)):
        good(
            stage3(small, tmp_path / name, "--cam_dir", source, "--threshold", 0.3, "--crf", "maps")
        )
    assert np.array_equal(*(read_mask(tmp_path / name / "p0.png") for name in "cd"))
    write_fused(folder / "p0.npz", {shown: own[:-1]}, (h - 1, w))
    done = refine(small, folder, tmp_path / "e")
    assert done.status == 2 and "p0.npz is 60×47 pixels, its photograph is 60×48" in done.lines[-1]


def test_saliency_in_stage_3(small: Path, tmp_path: Path) -> None:
    """Salient pixels multiply the classes' values: without CRF by hand, with CRF as the function
    has it. Maps of 0.3 that a threshold of 0.4 denies everywhere win where pixels are salient."""
    cams = tmp_path / "cams"
    for image_id, (w, h, shown) in PICTURES.items():
        maps = {c: np.full((h, w), 0.3 - 0.01 * n, np.float32) for n, c in enumerate(shown)}
        write_fused(cams / f"{image_id}.npz", maps, (h, w))
    words = ("--cam_dir", cams, "--threshold", 0.4, "--saliency_weight", 0.5)
    good(stage3(small, tmp_path / "plain", *words))
    good(stage3(small, tmp_path / "crf", *words, "--crf", "maps"))
    for image_id, (w, h, shown) in PICTURES.items():
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        saliency = Image.open(small / f"SALImages/{image_id}.png")
        mask = read_mask(tmp_path / f"plain/{image_id}.png")
        assert np.array_equal(mask, np.where(np.asarray(saliency) > 0, shown[0] + 1, 0))
        assert 0 < mask.astype(bool).mean() < 1
        (refined,) = refine_cams(
            photo,
            read_fused(cams / f"{image_id}.npz", num_classes=3),
            backgrounds=[0.4],
            saliency=saliency,
            saliency_weight=0.5,
        )
        crf = read_mask(tmp_path / f"crf/{image_id}.png")
        assert np.array_equal(crf, refined_mask(refined, (h, w)))
        assert np.array_equal(read_mask(tmp_path / f"crf/before_crf/{image_id}.png"), mask)


def test_stage_3_without_a_saliency_map(small: Path, cams: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "set"
    shutil.copytree(small, root)
    (root / "SALImages/p2.png").unlink()
    words = ("--cam_dir", cams, "--saliency_weight", 0.5)
    done = stage3(root, tmp_path / "masks", *words)
    assert done.status == 2 and "p2.png" in done.lines[0]
    assert "smaf saliency" in done.lines[0] and "gen_pm --saliency_weight 0" in done.lines[0]
    assert not list((tmp_path / "masks").glob("*.png"))
    good(stage3(root, tmp_path / "masks", "--cam_dir", cams))
