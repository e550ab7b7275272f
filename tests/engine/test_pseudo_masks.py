"""Stage 3: values, palette, class names, dense CRF, and maps from a folder instead of a
classifier."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_set import CLASSES, PICTURES, good, near_ties, stage3, stamps

from smaf.core.fused_maps import read_fused, write_fused
from smaf.core.images import read_image, read_mask, voc_palette
from smaf.ops import sharpen_cams, vote_proposals
from smaf.ops.refine import cams_to_mask, refine_cams, refine_mask, refined_mask


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    return {image_id: read_mask(folder / f"{image_id}.png") for image_id in PICTURES}


def test_masks_are_argmax_over_background_and_maps(small: Path, cams: Path, tmp_path: Path) -> None:
    good(stage3(small, tmp_path / "masks", "--cam_dir", cams, "--threshold", 0.6))
    for image_id, mask in masks_of(tmp_path / "masks").items():
        planes = np.full((4, *mask.shape), -1.0, dtype=np.float32)
        planes[0] = 0.6
        for c, plane in read_fused(cams / f"{image_id}.npz", num_classes=3).items():
            planes[c + 1] = plane
        assert np.array_equal(mask, planes.argmax(axis=0))
        assert set(np.unique(mask)) <= {0, *(c + 1 for c in PICTURES[image_id][2])}
    image = Image.open(tmp_path / "masks/p0.png")
    assert image.mode == "P" and image.size == (60, 48)
    palette = np.array(image.getpalette()).reshape(-1, 3)
    assert palette[1].tolist() == [128, 0, 0] and palette[2].tolist() == [0, 128, 0]
    assert np.array_equal(palette, voc_palette()[: len(palette)])
    assert (tmp_path / "masks/classes.txt").read_text().split() == ["background", *CLASSES]


def test_hand_made_maps(small: Path, tmp_path: Path) -> None:
    """Values above, at and below the threshold; the map of a class that the label denies has no
    say."""
    cams = tmp_path / "cams"
    for image_id, (w, h, shown) in PICTURES.items():
        plane = np.zeros((h, w), dtype=np.float32)
        plane[0, :3] = 0.21, 0.2, 0.19
        other = np.full((h, w), 0.9, dtype=np.float32)
        absent = next(c for c in range(3) if c not in shown)
        write_fused(cams / f"{image_id}.npz", {shown[0]: plane, absent: other}, (h, w))
    good(stage3(small, tmp_path / "masks", "--cam_dir", cams))
    for image_id, mask in masks_of(tmp_path / "masks").items():
        assert mask[0, :4].tolist() == [PICTURES[image_id][2][0] + 1, 0, 0, 0]
        assert not mask[1:].any()


def test_classifier_and_its_stored_maps_agree(
    small: Path, classifier: Path, cams: Path, tmp_path: Path
) -> None:
    """They differ only where rounding to a thousandth decides, so where two values are that
    close."""
    good(stage3(small, tmp_path / "a", "--weights", classifier))
    good(stage3(small, tmp_path / "b", "--cam_dir", cams))
    ours, stored = masks_of(tmp_path / "a"), masks_of(tmp_path / "b")
    for image_id in PICTURES:
        assert not (ours[image_id] != stored[image_id])[~near_ties(cams / f"{image_id}.npz")].any()
    assert any(mask.any() for mask in ours.values())


def test_masks_that_are_there_stay(small: Path, cams: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    good(stage3(small, out, "--cam_dir", cams))
    (out / "p4.png").unlink()
    before = stamps(out)
    good(stage3(small, out, "--cam_dir", cams))
    after = stamps(out)
    assert all(after[f"{i}.png"] == before[f"{i}.png"] for i in PICTURES if i != "p4")
    refused = stage3(small, out, "--cam_dir", cams, "--threshold", 0.3)
    assert refused.status == 2 and "threshold was 0.2, is 0.3" in refused.lines[0]
    assert "--overwrite" in refused.lines[0]


def test_map_of_another_size_is_refused(small: Path, cams: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cams, tmp_path / "cams"))
    write_fused(folder / "p1.npz", {1: np.zeros((30, 20), dtype=np.float32)}, (30, 20))
    done = stage3(small, tmp_path / "masks", "--cam_dir", folder)
    assert done.status == 2
    assert done.lines[-1].startswith(
        f"error: fused map {folder}/p1.npz is 20×30 pixels, its photograph is 48×60"
    )
    assert not (tmp_path / "masks/p1.png").exists()


def test_crf_keeps_what_was_before(small: Path, cams: Path, tmp_path: Path) -> None:
    good(stage3(small, tmp_path / "plain", "--cam_dir", cams))
    out = tmp_path / "one"
    good(stage3(small, out, "--cam_dir", cams, "--crf", "--num_workers", 1))
    plain, before, refined = (
        masks_of(tmp_path / "plain"),
        masks_of(out / "before_crf"),
        masks_of(out),
    )
    for image_id in PICTURES:
        assert np.array_equal(plain[image_id], before[image_id])
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        assert np.array_equal(
            refined[image_id], refine_mask(photo, before[image_id], num_classes=4)
        )
    assert any((before[i] != refined[i]).any() for i in PICTURES)
    (out / "p2.png").unlink()
    stamp = stamps(out)
    good(stage3(small, out, "--cam_dir", cams, "--crf", "--num_workers", 1))
    assert {name for name, value in stamps(out).items() if stamp.get(name) != value} == {
        "p2.png",
        "run.json",
        "classes.txt",
    }


@pytest.mark.slow
def test_crf_in_two_processes_gives_the_same(small: Path, cams: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        good(
            stage3(
                small, tmp_path / str(workers), "--cam_dir", cams, "--crf", "--num_workers", workers
            )
        )
    for image_id in PICTURES:
        assert (tmp_path / f"1/{image_id}.png").read_bytes() == (
            tmp_path / f"2/{image_id}.png"
        ).read_bytes()


def test_large_photograph_is_refined_at_a_smaller_size() -> None:
    """Two halves of clean colour stay two halves when 40×40 pixels are refined as 20×20."""
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, 20:] = 255
    mask = np.zeros((40, 40), dtype=np.uint8)
    mask[:, 20:] = 1
    refined = refine_mask(Image.fromarray(pixels), mask, num_classes=2, max_pixels=400)
    assert refined.shape == (40, 40) and np.array_equal(refined, mask)


def test_a_run_stopped_before_crf_leaves_no_mask_of_an_older_one(
    small: Path, cams: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = ("--cam_dir", cams, "--crf", "masks", "--num_workers", 0)
    good(stage3(small, out, *options))
    whole = (out / "p1.png").read_bytes()
    raw = out / "before_crf/p1.png"
    raw.write_bytes(raw.read_bytes()[:-20])

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("smaf.engine.stages.gen_pm.write_refined", stopped)
        assert stage3(small, out, *options).status == 130
    assert raw.is_file() and not (out / "p1.png").exists() and (out / "p2.png").is_file()
    good(stage3(small, out, *options))
    assert (out / "p1.png").read_bytes() == whole


def test_crf_works_at_a_side_of_its_own(small: Path, cams: Path, tmp_path: Path) -> None:
    words = ("--cam_dir", cams, "--crf", "maps", "--threshold", 0.3)
    good(stage3(small, tmp_path / "a", *words, "--crf_side", 32))
    for image_id, mask in masks_of(tmp_path / "a").items():
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        kept = read_fused(cams / f"{image_id}.npz", num_classes=3)
        (maps,) = refine_cams(photo, kept, backgrounds=[0.3], long_side=32)
        assert np.array_equal(mask, refined_mask(maps, mask.shape))
    done = stage3(small, tmp_path / "a", *words)
    assert done.status == 2 and "crf_side was 32" in done.lines[0]
    assert stage3(small, tmp_path / "b", *words, "--crf_side", 0).status == 2
    good(stage3(small, tmp_path / "b", "--recipe", "light", *words))
    (entry,) = json.loads((tmp_path / "b/run.json").read_text())
    assert entry["settings"]["crf_side"] == 500  # the recipe's


def test_sharpened_maps_are_cut_and_refined(small: Path, cams: Path, tmp_path: Path) -> None:
    """With CRF the sharpened maps lie beside the masks before it, for a run that is stopped."""
    words = ("--cam_dir", cams, "--sharpen", "par", "--num_workers", 0)
    good(stage3(small, tmp_path / "cut", *words))
    good(stage3(small, tmp_path / "crf", *words, "--crf", "maps"))
    cut, refined = masks_of(tmp_path / "cut"), masks_of(tmp_path / "crf")
    for image_id in PICTURES:
        photo = read_image(small / "JPEGImages" / f"{image_id}.jpg")
        sharp = sharpen_cams(photo, read_fused(cams / f"{image_id}.npz", num_classes=3))
        assert np.array_equal(cut[image_id], cams_to_mask(sharp))
        kept = read_fused(tmp_path / f"crf/before_crf/{image_id}.npz", num_classes=3)
        (maps,) = refine_cams(photo, kept, backgrounds=[0.2])
        assert all(np.abs(kept[c] - sharp[c]).max() < 6e-4 for c in sharp)
        assert np.array_equal(refined[image_id], refined_mask(maps, cut[image_id].shape))
    (tmp_path / "crf/p2.png").unlink()
    good(stage3(small, tmp_path / "crf", *words, "--crf", "maps"))
    assert np.array_equal(masks_of(tmp_path / "crf")["p2"], refined["p2"])
    done = stage3(small, tmp_path / "cut", "--cam_dir", cams)
    assert done.status == 2 and "sharpen was 'par', is 'none'" in done.lines[0]


def propose(folder: Path) -> dict[str, np.ndarray]:
    """Write proposals for all pictures: the left and the right half of each, in both forms."""
    found = {}
    for number, (image_id, (w, h, _)) in enumerate(PICTURES.items()):
        halves = np.arange(w) < w // 2, np.arange(w) >= w // 2
        found[image_id] = np.stack([np.broadcast_to(half, (h, w)) for half in halves])
        if number % 2:
            place = folder / image_id
            place.mkdir(parents=True)
            for index, region in enumerate(found[image_id]):
                Image.fromarray(region.astype(np.uint8) * 255).save(place / f"{index}.png")
            (place / "metadata.csv").write_text("id,area\n0,1\n")
        else:
            left = h * (w // 2)
            counts = ([0, left, h * w - left], [left, h * w - left])
            records = [{"segmentation": {"size": [h, w], "counts": list(c)}} for c in counts]
            folder.mkdir(exist_ok=True)
            (folder / f"{image_id}.json").write_text(json.dumps(records))
    return found


@pytest.mark.parametrize("crf", ["none", "masks"])
def test_masks_choose_among_proposals(small: Path, cams: Path, tmp_path: Path, crf: str) -> None:
    regions = propose(tmp_path / "proposals")
    words = ("--cam_dir", cams, "--threshold", 0.6, "--crf", crf, "--num_workers", 0)
    good(stage3(small, tmp_path / "before", *words))
    voting = (*words, "--proposals", tmp_path / "proposals")
    good(stage3(small, tmp_path / "after", *voting))
    before, after = masks_of(tmp_path / "before"), masks_of(tmp_path / "after")
    for image_id in PICTURES:
        expected = vote_proposals(before[image_id], regions[image_id])
        assert np.array_equal(after[image_id], expected)
    raw = masks_of(tmp_path / "after/before_crf")
    if crf == "none":
        assert all(np.array_equal(raw[i], before[i]) for i in PICTURES)
    assert any((after[i] != before[i]).any() for i in PICTURES)
    (tmp_path / "after/p3.png").unlink()  # a run that is stopped goes on
    good(stage3(small, tmp_path / "after", *voting))
    assert np.array_equal(masks_of(tmp_path / "after")["p3"], after["p3"])
    done = stage3(small, tmp_path / "before", *voting)
    assert done.status == 2 and "(contents of --proposals changed)" in done.lines[0]


def test_proposals_that_do_not_serve_are_named(small: Path, cams: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "proposals", tmp_path / "out"
    words = ("--cam_dir", cams, "--proposals", folder)
    done = stage3(small, out, *words)
    assert done.status == 2 and f"proposals {folder}: there is no such folder" in done.lines[-1]
    propose(folder)
    (folder / "p2.json").unlink()
    done = stage3(small, out, *words)
    assert done.status == 2 and "proposals of p2 (and 0 more) do not exist in" in done.lines[-1]
    (folder / "p2").mkdir()
    Image.new("L", (9, 9), 255).save(folder / "p2/0.png")
    done = stage3(small, out, *words)
    assert done.status == 2 and len(done.lines) == 1
    assert f"{folder}/p2/0.png is 9×9 pixels" in done.lines[0]
    assert not (out / "p2.png").exists()
